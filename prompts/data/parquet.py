"""Rows from a Parquet file, through pyarrow where that is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.prompts.data.rows import Row, Rows


def read_parquet(path: Path) -> Rows:
    """Return the rows of a Parquet file.

    Columns of bytes, lists and structures, such as pictures and tokens, are left in the file.

    Raises:
        EnvironmentUnavailableError: If pyarrow is not installed.
        MindportError: If the file cannot be read as Parquet.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise EnvironmentUnavailableError(
            f"{path} needs pyarrow, which cannot be imported: {error}.",
            "pip install 'mindport[data]', or save the data as .jsonl.",
        ) from None
    try:
        file = parquet.ParquetFile(path)
        columns = [item.name for item in file.schema_arrow if _is_plain(pyarrow.types, item.type)]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise MindportError(f"{path} cannot be read as Parquet: {_first(error)}.") from None
    return Rows(str(path), "row", _rows(path, file, columns, pyarrow.ArrowException))


def _rows(path: Path, file: Any, columns: list[str], failure: type[Exception]) -> Iterator[Row]:
    number = 0
    try:
        for batch in file.iter_batches(batch_size=1024, columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (failure, OSError, ValueError) as error:
        raise MindportError(f"{path}, after row {number}: {_first(error)}.") from None
    finally:
        file.close()


def _is_plain(types: Any, kind: Any) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    names = ("string", "large_string", "integer", "floating", "boolean", "null")
    return any(getattr(types, f"is_{name}")(kind) for name in names)


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
