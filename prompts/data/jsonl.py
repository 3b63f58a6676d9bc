"""Rows from JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mindport.migrate.errors import MindportError
from mindport.prompts.data.rows import Row, Rows, read_utf8


def read_jsonl(path: Path) -> Rows:
    """Return the rows of a file with one JSON object a line; blank lines are skipped.

    Raises:
        MindportError: If the file cannot be read. What is wrong with a line is raised when the
            line is reached.
    """
    return Rows(str(path), "line", _rows(path, read_utf8(path)))


def _rows(path: Path, content: str) -> Iterator[Row]:
    # Not splitlines(): U+2028 and its like may stand inside a JSON string.
    for line, raw in enumerate(content.split("\n"), 1):
        if not raw.strip():
            continue
        try:
            row = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise MindportError(f"{path}, line {line}: this is not JSON: {error}.") from None
        if not isinstance(row, dict):
            raise MindportError(
                f"{path}, line {line}: a row must be a JSON object, not {type(row).__name__}.",
                'Write {"text": "…", "label": "…"}.',
            )
        yield line, row
