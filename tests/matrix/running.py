"""Run every cell of a row, several at once, and write the row."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from mindport.migrate.errors import EXIT_ENVIRONMENT, EXIT_PASS, EXIT_USAGE
from mindport.validate.launch import NotRun
from mindport.validate.recording.comparing import compare_recorded
from mindport.validate.verdict import Verdict
from tests.matrix.cells import Cell, Column, list_cells
from tests.matrix.cost import Meter
from tests.matrix.sides import Side
from tests.matrix.store import (
    MATRIX,
    REFERENCE,
    ROW,
    ROWS,
    code_digest,
    identify,
    read_json,
    replaced_folder,
    write_cell,
    write_json,
)

Item, Result = TypeVar("Item"), TypeVar("Result")
Sides = tuple[Side, Side]  # reference and candidate
_AT_ONCE = 4  # workers, each of which may take 1 GB


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do something with each item, several at once."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _AT_ONCE)) as pool:
        return list(pool.map(work, items))


def run_row(
    row: str,
    folder: Path,
    prepare: Callable[[Sequence[Cell], Path], Sequence[Sides]],
    first: Callable[[Sequence[Cell], Path], object] = lambda _cells, _part: None,
    *,
    apart: bool = False,
) -> int:
    """Run and judge every cell of a row.

    Args:
        row: Its name.
        folder: That the environments share.
        prepare: Given cells that may share a worker and the row's folder, returns both recorded
            sides of each.
        first: Is given all cells and the row's folder before that.
        apart: Whether no two cells may share a worker.

    Returns:
        The exit code: 0, 2 if there is nothing to compare with, 3 if no cell ran. Whether what
        came out is right is judged by the report.
    """
    meter = Meter()
    try:
        matrix = read_json(folder / REFERENCE / MATRIX)
    except (OSError, ValueError):
        print(f"There is no reference in {folder}: tox -e parity-reference.", file=sys.stderr)
        return EXIT_USAGE
    if matrix["code"] != code_digest():
        print(f"The reference in {folder} is of another mindport: tox -e parity-reference.",
              file=sys.stderr)  # fmt: skip
        return EXIT_USAGE
    cells = list_cells([Column(**column) for column in matrix["columns"]])
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        key = (cell.name,) if apart else (cell.column.name, cell.mode)
        groups.setdefault(key, []).append(cell)
    place = folder / ROWS / row
    with replaced_folder(place) as part:
        first(cells, part)

        def run(group: Sequence[Cell]) -> set[str]:
            came = set()
            for cell, sides in zip(group, prepare(group, part), strict=True):
                verdict = _judge(cell, sides)
                known = {} if _lack(sides) else _known(sides, folder, part, place)
                write_cell(part / cell.name, verdict, known)
                print(f"{row}: {cell.name}: {verdict.verdict}", flush=True)
                came.add(verdict.verdict)
            return came

        came = set().union(*in_parallel(run, groups.values()))
        write_json(part / ROW, {"code": matrix["code"], "cost": meter.read()})
    return EXIT_ENVIRONMENT if came == {"not-run"} else EXIT_PASS


def _lack(sides: Sides) -> NotRun | None:
    """Return why a side is not there; the candidate first, which the row is about."""
    return next((side for side in reversed(sides) if isinstance(side, NotRun)), None)


def _judge(cell: Cell, sides: Sides) -> Verdict:
    lack = _lack(sides)
    if lack is None:
        try:
            return compare_recorded(*(Path(str(side)) for side in sides))
        except Exception as error:  # a row with one broken cell is worth more than none
            lack = NotRun("candidate", f"{type(error).__name__}: {error}")
    return Verdict(
        "not-run",
        lack.reason,
        cell.column.architecture,
        cell.column.head,
        not_run=(asdict(lack),),
    )


def _known(sides: Sides, folder: Path, part: Path, place: Path) -> dict[str, str]:
    """Name each side as it will be called when the row is in its place."""
    known = {}
    for side in sides:
        here = Path(str(side))
        final = place / here.relative_to(part) if here.is_relative_to(part) else here
        known[final.relative_to(folder).as_posix()] = identify(here)
    return known
