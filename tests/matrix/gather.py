"""Read what every row left behind, and trust none of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mindport.migrate.errors import CheckpointError
from mindport.migrate.manifest import sha256_of
from tests.matrix.cells import Cell, Column, list_cells
from tests.matrix.store import (
    CELL_FILE,
    MATRIX,
    REFERENCE,
    ROW,
    ROWS,
    VERDICT,
    code_digest,
    identify,
    read_json,
)

Status = Literal["pass", "fail", "not run"]
_STATUS: Mapping[str, Status] = {
    "pass": "pass",
    "fail": "fail",
    "uninformative": "fail",
    "not-run": "not run",
}


@dataclass(frozen=True)
class Found:
    """What is known of a cell.

    Attributes:
        status: Not run, whatever the verdict says, if that cannot be relied on.
        says: The verdict's headline, or why there is none.
        tap: The first faulty one; empty if none is.
        identity: What really ran, by side.
    """

    status: Status
    says: str
    tap: str = ""
    identity: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What is known of a row.

    Attributes:
        name: The environment's.
        state: ``recorded``; ``skipped``: its interpreter is not here; ``missing``: nothing of use
            was recorded although it could run.
        says: Why it is not recorded.
        cells: By name.
        cost: What it says that it took.
    """

    name: str
    state: Literal["recorded", "skipped", "missing"]
    says: str = ""
    cells: Mapping[str, Found] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Matrix:
    """Everything.

    Attributes:
        columns: In order.
        rows: In order.
        cost: Of the references.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    cost: Mapping[str, Any]

    @property
    def cells(self) -> list[Cell]:
        """The cells of a row, in order."""
        return list_cells(self.columns)


def gather(folder: Path, rows: Sequence[str], lacks: Callable[[str], str]) -> Matrix:
    """Read the whole matrix.

    Args:
        folder: That the environments share.
        rows: Names of those that should be there.
        lacks: Tells which interpreter a row lacks; empty if none.

    Raises:
        CheckpointError: If there is no reference that this code made.
    """
    again = "Run: tox -m matrix."
    try:
        matrix = read_json(folder / REFERENCE / MATRIX)
        columns = [Column(**column) for column in matrix["columns"]]
        code, cost = matrix["code"], matrix["cost"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} holds no reference: {error}.", again) from None
    if code != code_digest():
        raise CheckpointError(f"The reference in {folder} is of another mindport.", again)
    cells = list_cells(columns)
    return Matrix(columns, [_read_row(folder, row, code, cells, lacks) for row in rows], cost)


def _read_row(
    folder: Path, name: str, code: str, cells: Sequence[Cell], lacks: Callable[[str], str]
) -> Row:
    place = folder / ROWS / name
    if not place.is_dir():
        why = lacks(name)
        if why:
            return Row(name, "skipped", why)
        return Row(name, "missing", f"nothing was recorded: tox -e {name}")
    try:
        known = read_json(place / ROW)
        if known["code"] != code:
            return Row(name, "missing", f"another mindport recorded it: tox -e {name}")
        cost = dict(known["cost"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Row(name, "missing", f"damaged, {ROW}: {error}: tox -e {name}")
    found = {cell.name: read_cell(folder, place, cell) for cell in cells}
    return Row(name, "recorded", "", found, cost)


def read_cell(folder: Path, row: Path, cell: Cell) -> Found:
    """Return what came of a cell, if it is about recorded sides that lie there still.

    Args:
        folder: That the environments share.
        row: The row's folder.
        cell: Which.
    """
    place = row / cell.name
    if not place.is_dir():
        return Found("not run", "nothing was recorded")
    try:
        known, verdict = read_json(place / CELL_FILE), read_json(place / VERDICT)
        if sha256_of(place / VERDICT) != known["verdict"]:
            raise ValueError(f"{VERDICT} is not what was written")
        status, sides = _STATUS[verdict["verdict"]], dict(known["sides"])
        identity = {side: dict(what) for side, what in verdict["identity"].items()}
        says, tap = str(verdict["headline"]), str(verdict["first_faulty_tap"] or "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Found("not run", f"damaged: {error}")
    for side, digest in sides.items():
        if not digest or identify(folder / side) != digest:
            what = "reference" if side.startswith(REFERENCE) else "recorded side"
            return Found("not run", f"stale: the {what} in {side} is another one")
    if status != "not run":
        ran = identity["candidate"]
        if len(sides) != 2 or (ran["mode"], ran["dtype"]) != (cell.mode, cell.dtype):
            return Found("not run", "damaged: it is not about this cell")
    return Found(status, says, tap, identity)
