"""In which line of a TOML file a key stands; the reader of TOML does not tell."""

from __future__ import annotations

import re

Key = tuple[str, int, str]  # table, which of several tables of that name, key; "" for the table

_TABLE = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-]+)\s*\]\]?")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-]+)\s*=")


def find_lines(text: str) -> dict[Key, int]:
    """Return the line of every table and of every key that begins a line, counted from 1."""
    found: dict[Key, int] = {}
    counts: dict[str, int] = {}
    table, number = "", 0
    for line, content in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(content):
            table = header[2]
            number = counts.get(table, 0) if header[1] == "[[" else 0
            counts[table] = number + 1
            found.setdefault((table, number, ""), line)
        elif key := _KEY.match(content):
            found.setdefault((table, number, key[1]), line)
    return found
