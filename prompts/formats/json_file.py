"""A JSON file as plain data, with the checks that hand-written files need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mindport.migrate.errors import MindportError
from mindport.prompts.formats.files import read_text


def parse_json(path: Path, *, lines: bool = False) -> Any:
    """Return a file's content.

    Args:
        path: The file.
        lines: Whether it may hold one value a line instead of a single one.

    Raises:
        MindportError: If it is not JSON, or holds a key twice or half a character.
    """
    text = read_text(path)
    try:
        return _parse(path, text)
    except MindportError:
        rows = [(n, row) for n, row in enumerate(text.split("\n"), 1) if row.strip()]
        if not lines or len(rows) < 2:
            raise
        return [_parse(path, row, number) for number, row in rows]


def json_text(content: Any) -> str:
    """Return data as indented JSON that ends with a line break."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _parse(path: Path, text: str, line: int = 1) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for name, value in pairs:
            if name in content:
                raise MindportError(f"{path}: the key {name!r} stands there twice.")
            content[name] = value
        return content

    try:
        content = json.loads(text, object_pairs_hook=unique)
        json.dumps(content, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        where = f"{path}, line {line + error.lineno - 1}"
        raise MindportError(f"{where}: this is not JSON: {error.msg}.") from None
    except UnicodeEncodeError:
        raise MindportError(f"{path}: a text holds half a character (a surrogate).") from None
    except (ValueError, RecursionError) as error:
        raise MindportError(f"{path}: this is not JSON: {error}.") from None
    return content
