"""The options that the programs of the matrix share."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.matrix.store import FOLDER


def parser(description: str | None, *, row: bool = False) -> argparse.ArgumentParser:
    """Return a parser; the first line of a docstring describes the program."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    if row:
        made.add_argument("row", help="name of the row: the environment's")
    made.add_argument("--folder", type=Path, default=FOLDER, help="shared by all environments")
    return made
