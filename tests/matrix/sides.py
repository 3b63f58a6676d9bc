"""Record sides, or say why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mindport.migrate.errors import MindportError
from mindport.validate.launch import NotRun
from mindport.validate.recording.order import Order
from mindport.validate.recording.running import record_together
from tests.matrix.cells import Column
from tests.matrix.store import read_json, write_json

Side = Path | NotRun  # where it is recorded, or why it is not
CASE = "case"


def record_sides(orders: Mapping[Path, Order]) -> dict[Path, Side]:
    """Record several in one worker; whatever goes wrong concerns these alone.

    Args:
        orders: By the folder to make.

    Returns:
        By the same, what became of it.
    """
    try:
        done = record_together([(order, output) for output, order in orders.items()])
        return dict(zip(orders, done, strict=True))
    except MindportError as error:
        reason, hint = error.message, error.hint
    except Exception as error:  # a row with one broken cell is worth more than none
        reason, hint = f"{type(error).__name__}: {error}", ""
    return {output: NotRun(order.side, reason, hint) for output, order in orders.items()}


def record_references(
    column: Column, dtypes: Sequence[str], folder: Path, case: Path
) -> dict[str, Side]:
    """Record references, or write down why there are none.

    Args:
        column: What is run.
        dtypes: In what.
        folder: Of references.
        case: Of the column.

    Returns:
        By dtype, where it lies, or why there is none.
    """
    places = {reference_place(folder, column, dtype): dtype for dtype in dtypes}
    done = record_sides(
        {
            place: Order(column.again(dtype), "reference", case=case)
            for place, dtype in places.items()
        }
    )
    for place, outcome in done.items():
        if isinstance(outcome, NotRun):
            write_json(_said(place), asdict(outcome))
    return {places[place]: outcome for place, outcome in done.items()}


def find_reference(folder: Path, column: Column, dtype: str) -> Side:
    """Return a recorded reference, or why there is none."""
    place = reference_place(folder, column, dtype)
    if place.is_dir():
        return place
    if _said(place).is_file():
        said = read_json(_said(place))
        return NotRun("reference", said["reason"], said["hint"], tuple(said["last_lines"]))
    return NotRun("reference", f"no reference was recorded in {dtype}")


def reference_place(folder: Path, column: Column, dtype: str) -> Path:
    """Return where a reference lies."""
    return folder / column.name / dtype


def case_place(folder: Path, column: Column) -> Path:
    """Return where the case of a column lies."""
    return folder / column.name / CASE


def _said(place: Path) -> Path:
    return place.with_suffix(".json")
