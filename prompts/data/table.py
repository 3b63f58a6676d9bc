"""Rows from comma- and tab-separated files with a line of names."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from mindport.migrate.errors import MindportError
from mindport.prompts.data.rows import Row, Rows, read_utf8


def read_csv(path: Path) -> Rows:
    """Return the rows of a comma-separated file, quoted as in RFC 4180.

    Raises:
        MindportError: If the file cannot be read. What is wrong with a line is raised when the
            line is reached.
    """
    lines = StringIO(read_utf8(path), newline="")
    hint = "Quote a cell that holds the separator."
    return Rows(str(path), "line", _rows(path, csv.reader(lines, strict=True), hint))


def read_tsv(path: Path) -> Rows:
    """Return the rows of a tab-separated file, which never quotes.

    Raises:
        MindportError: As for :func:`read_csv`.
    """
    lines = StringIO(read_utf8(path), newline="")
    reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return Rows(str(path), "line", _rows(path, reader, ""))


def _rows(path: Path, reader: Any, hint: str) -> Iterator[Row]:
    names: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [cell.strip() for cell in cells]
                if "" in names or len(set(names)) < len(names):
                    raise MindportError(
                        f"{path}, line {reader.line_num}: the names of the columns must be there "
                        f"and differ, but they are {names}."
                    )
                continue
            if len(cells) != len(names):
                raise MindportError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells under {len(names)} names "
                    f"({', '.join(names)}).",
                    hint,
                )
            yield reader.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise MindportError(f"{path}, line {reader.line_num}: {error}.") from None
