"""The folder that the environments share.

::

    reference/matrix.json          columns, code, cost
    reference/COLUMN/case/         what is run
    reference/COLUMN/DTYPE/        a recorded reference, or DTYPE.json: why there is none
    rows/ROW/row.json              code, cost
    rows/ROW/CELL/verdict.json     what came of it
    rows/ROW/CELL/cell.json        which recorded sides it is about, by sha256
    rows/ROW/CELL/recorded/        what the row ran
    rows/ROW/reference/            the same in a row that makes references

A row appears whole or not at all; an environment writes its own row alone.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from mindport.migrate.manifest import sha256_of
from mindport.validate.recording.record import RECORD
from mindport.validate.verdict import Verdict
from tests.matrix.cells import Cell

FOLDER = Path("build/matrix")
REFERENCE, ROWS = "reference", "rows"
MATRIX, ROW, CELL_FILE, VERDICT = "matrix.json", "row.json", "cell.json", "verdict.json"


def code_digest() -> str:
    """Return sha256 of the installed mindport's code: what other code made proves nothing."""
    digest = hashlib.sha256()
    for name in ("migrate", "prompts", "validate"):
        root = Path(import_module(f"mindport.{name}").__path__[0])
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, which takes the place of another one at the end, or vanishes."""
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    part.mkdir(parents=True)
    try:
        yield part
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def recorded_place(row: Path, cell: Cell) -> Path:
    """Return where a row keeps the candidate of a cell."""
    return row / cell.name / "recorded"


def identify(recorded: Path) -> str:
    """Return the sha256 that stands for a recorded side; empty if there is none."""
    record = recorded / RECORD
    return sha256_of(record) if record.is_file() else ""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a file.

    Raises:
        OSError: If it is not there.
        ValueError: If it is no JSON object.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no object")
    return content


def write_cell(folder: Path, verdict: Verdict, sides: Mapping[str, str]) -> None:
    """Write what came of a cell.

    Args:
        folder: The cell's, in its row.
        verdict: On it.
        sides: sha256 of each recorded side, by its path below the shared folder.
    """
    write_json(folder / VERDICT, verdict.to_dict())
    known = {"verdict": sha256_of(folder / VERDICT), "sides": dict(sides)}
    write_json(folder / CELL_FILE, known)
