"""What every source of data gives: rows, and how to say where one stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindport.migrate.errors import MindportError

Row = tuple[int, dict[str, Any]]  # its number in the source, its fields


@dataclass(frozen=True)
class Rows:
    """The rows of one source, read as they are asked for.

    Attributes:
        source: What error messages call it: the file, as a rule.
        unit: What a row's number counts: ``line`` or ``row``.
        rows: Number, from 1, and fields.
        class_names: For a column of class indices whose names the source knows: the names in the
            order of their index.
    """

    source: str
    unit: str
    rows: Iterable[Row]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_utf8(path: Path) -> str:
    """Return a data file's text, without a byte order mark.

    Raises:
        MindportError: If it cannot be read or is not UTF-8; the message gives the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise MindportError(f"The data file {path} cannot be read: {reason}.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MindportError(
            f"{path}, line {line}: this is not UTF-8 text.", "Save the file as UTF-8."
        ) from None
