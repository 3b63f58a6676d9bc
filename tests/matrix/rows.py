"""Which rows there are (``tox.ini`` says so), and why one may have nothing to show."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.validate.environments.interpreters import find_interpreter

TOX = Path("tox.ini")
LABEL = "matrix"
NOT_ROWS = ("parity-reference", "parity-report")


def read_rows(tox: Path = TOX) -> list[str]:
    """Return the environments of tox's label that are rows, in its order.

    Raises:
        MindportError: If there are none.
    """
    parser = ConfigParser(interpolation=None)
    parser.read(tox, encoding="utf-8")
    labels = parser.get("tox", "labels", fallback="").replace("\\\n", " ")
    for line in labels.splitlines():
        name, _, environments = line.partition("=")
        if name.strip() == LABEL:
            listed = [word.strip() for word in environments.split(",")]
            rows = [word for word in listed if word and word not in NOT_ROWS]
            if rows:
                return rows
    raise MindportError(f"{tox} has no label {LABEL!r} with rows.", "Run this from the root.")


def missing_interpreter(row: str) -> str:
    """Return why a row could not run for want of a Python; empty if it could.

    Args:
        row: Its name, with a part like ``py310``.
    """
    found = re.search(r"\bpy3(\d+)\b", row)
    if found is None:
        return ""
    series = f"3.{found[1]}"
    try:
        find_interpreter((series,))
    except EnvironmentUnavailableError:
        return f"there is no Python {series} here"
    return ""
