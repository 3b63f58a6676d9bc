"""The worker's part: run a plan, and write the rows where a capture keeps them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts import Plan, PromptModel, run_plan, score_rows
from mindport.validate.backend import ControlSession, PromptSession, Session

ROWS = "rows.npy"
FLOOR = "floor.npy"
CONTROL = "control.npy"

# One by one they cost as much as many in batches; the closest calls are among them.
_FLOOR_ITEMS = 16
# A share is known to 10 % from so many.
_CONTROL_ITEMS = 100


@dataclass(frozen=True)
class PromptRecord:
    """What a capture says of its prompt rows.

    Attributes:
        plan: Digest of the plan that was run.
        floor_items: Items that were run again one by one, without batches and caches.
        control_items: Items that the same network answered with random weights; empty for none.
    """

    plan: str
    floor_items: tuple[int, ...] = ()
    control_items: tuple[int, ...] = ()


def ask(session: Session, plan: Plan, folder: Path, *, control_seed: int | None) -> PromptRecord:
    """Run a plan and write its rows, float32 (items, rows of an item, vocabulary).

    Args:
        session: Answers.
        plan: What to ask.
        folder: Where ``rows.npy``, ``floor.npy`` and ``control.npy`` go.
        control_seed: Seed of the random weights; None asks no control.

    Raises:
        MindportError: If the backend cannot answer prompts.
    """
    if not isinstance(session, PromptSession):
        raise MindportError(
            f"The backend {session.identity.backend!r} answers no prompts.", "Leave out --prompts."
        )
    model = session.prompt_model()
    rows = run_plan(plan, model, allocate=_file(folder / ROWS))
    floor_items = _floor_items(plan, rows)
    run_plan(plan, model, optimised=False, items=floor_items, allocate=_file(folder / FLOOR))
    if control_seed is None or not isinstance(session, ControlSession):
        return PromptRecord(plan.digest, floor_items)
    control_items = spread(len(plan), _CONTROL_ITEMS) + tuple(range(len(plan), plan.items))
    control: PromptModel = session.control_model(control_seed)
    run_plan(plan, control, items=control_items, allocate=_file(folder / CONTROL))
    return PromptRecord(plan.digest, floor_items, control_items)


def spread(count: int, wanted: int) -> tuple[int, ...]:
    """Return up to ``wanted`` of ``count`` items, evenly spaced, in order."""
    return tuple(np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(int)).tolist())


def _floor_items(plan: Plan, rows: np.ndarray) -> tuple[int, ...]:
    """Return half the items with the smallest margins, half spread over the rest."""
    try:
        closest = np.argsort(score_rows(plan, rows).margins, kind="stable")
    except MindportError:  # rows that are not numbers are for the verdict to name
        return spread(len(plan), _FLOOR_ITEMS)
    hardest = closest[: _FLOOR_ITEMS // 2].tolist()
    return tuple(sorted({*hardest, *spread(len(plan), _FLOOR_ITEMS // 2)}))


def _file(path: Path) -> Callable[[tuple[int, int, int]], np.ndarray]:
    def allocate(shape: tuple[int, int, int]) -> np.ndarray:
        open_memmap: Any = np.lib.format.open_memmap  # NumPy does not type it
        rows: np.ndarray = open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        return rows

    return allocate
