"""Two sides' rows against each other, in blocks, so that they may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.parity.bounds import GapBound
from mindport.prompts.parity.protocols import PlanLike

_BLOCK_BYTES = 16 * 2**20  # of one float64 block
_TOP = 5
_SHOWN = 10


@dataclass(frozen=True, eq=False)
class RowFacts:
    """What the difference of two sides' rows amounts to.

    Attributes:
        errors: float64 (N + C, R): what the bounds are multiples of
            (:meth:`GapBound.errors`).
        peaks: float64 (N + C, R): the greatest |difference| of the whole row.
        means: float64 (N + C, R): the mean |difference|.
        largest: float64 (N + C,): the greatest |logit| of either side.
        cosines: float64 (N + C, R): of the two rows.
        overlaps: float64 (N + C, R): the share of the reference's five likeliest tokens that are
            among the candidate's five.
        same_order: bool (N + C, R): whether those five are the same in the same order.
        width: The vocabulary.
    """

    errors: np.ndarray
    peaks: np.ndarray
    means: np.ndarray
    largest: np.ndarray
    cosines: np.ndarray
    overlaps: np.ndarray
    same_order: np.ndarray
    width: int


def row_errors(
    plan: PlanLike, reference_rows: np.ndarray, candidate_rows: np.ndarray
) -> np.ndarray:
    """Return what the bounds of :func:`reach` are multiples of, float64 (N + C, R).

    For a row whose normaliser cancels between labels (of which every word takes one token, not
    divided), the greatest |difference| among the tokens that words take; for any other row that
    of the whole row.

    Args:
        plan: What both sides ran.
        reference_rows: (N + C, R, vocabulary), of any floating dtype, perhaps a memory map.
        candidate_rows: The same of the other side.

    Raises:
        MindportError: If the rows do not fit the plan, or one holds NaN or infinity.
    """
    return measure_rows(plan, reference_rows, candidate_rows).errors


def measure_rows(
    plan: PlanLike,
    reference_rows: np.ndarray,
    candidate_rows: np.ndarray,
    bound: GapBound | None = None,
) -> RowFacts:
    """Compare two sides' rows, reading each once.

    Args:
        plan: What both sides ran.
        reference_rows: (N + C, R, vocabulary), of any floating dtype, perhaps a memory map.
        candidate_rows: The same of the other side.
        bound: ``GapBound.of(plan)``, if it is at hand.

    Raises:
        MindportError: If the rows do not fit the plan, or one holds NaN or infinity.
    """
    bound = GapBound.of(plan) if bound is None else bound
    problem = shape_problem(plan, reference_rows, candidate_rows, bound)
    if problem:
        raise MindportError(problem, "Both sides must answer the same plan with the same head.")
    items, rows, width = reference_rows.shape
    facts = RowFacts(
        errors=np.zeros((items, rows)),
        peaks=np.zeros((items, rows)),
        means=np.zeros((items, rows)),
        largest=np.zeros(items),
        cosines=np.zeros((items, rows)),
        overlaps=np.zeros((items, rows)),
        same_order=np.zeros((items, rows), bool),
        width=width,
    )
    bad: list[tuple[int, str]] = []
    for part in blocks(items, rows * width):
        reference, candidate = (
            np.asarray(side[part]).astype(np.float64) for side in (reference_rows, candidate_rows)
        )
        for side, values in (("reference", reference), ("candidate", candidate)):
            broken = np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))
            bad += [(part.start + int(item), side) for item in broken]
        if not bad:
            _measure(facts, part, reference, candidate, bound)
    if bad:
        raise MindportError(*_nonfinite(plan, bad))
    return facts


def peak_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return the greatest |difference| of two arrays of rows, (items, R, vocabulary)."""
    peaks = [
        float(np.abs(np.asarray(first[part], np.float64) - np.asarray(second[part])).max())
        for part in blocks(len(first), first[0].size if len(first) else 1)
    ]
    return max(peaks, default=0.0)


def blocks(items: int, size: int) -> Iterator[slice]:
    """Yield slices of items, each of which has about 16 MB of float64 or is one item."""
    step = max(1, _BLOCK_BYTES // (8 * max(size, 1)))
    for start in range(0, items, step):
        yield slice(start, min(start + step, items))


def shape_problem(
    plan: PlanLike, reference_rows: np.ndarray, candidate_rows: np.ndarray, bound: GapBound
) -> str:
    """Return what keeps the rows from being compared, or an empty text."""
    total = len(plan.ids) + len(plan.prior_texts)
    for side, rows in (("reference", reference_rows), ("candidate", candidate_rows)):
        if rows.ndim != 3 or rows.shape[:2] != (total, plan.rows_per_item):
            return (
                f"The rows of the {side} have shape {rows.shape}, but the plan has {total} inputs "
                f"of {plan.rows_per_item} rows."
            )
    if reference_rows.shape != candidate_rows.shape:
        return (
            f"The reference has a vocabulary of {reference_rows.shape[2]}, the candidate one of "
            f"{candidate_rows.shape[2]}."
        )
    highest = max((int(columns[-1]) for columns in bound.columns if columns.size), default=-1)
    if highest >= reference_rows.shape[2]:
        return (
            f"The words take token {highest}, but the rows have {reference_rows.shape[2]} columns."
        )
    return ""


def _measure(
    facts: RowFacts, part: slice, reference: np.ndarray, candidate: np.ndarray, bound: GapBound
) -> None:
    difference = reference - candidate
    facts.errors[part] = bound.errors(difference)
    size = np.abs(difference)
    facts.peaks[part] = size.max(axis=2)
    facts.means[part] = size.mean(axis=2)
    facts.largest[part] = np.maximum(np.abs(reference), np.abs(candidate)).max(axis=(1, 2))
    dot, ours, theirs = (
        np.einsum("nrv,nrv->nr", first, second)
        for first, second in (
            (reference, candidate), (reference, reference), (candidate, candidate)
        )
    )  # fmt: skip
    norms = np.sqrt(ours) * np.sqrt(theirs)
    same = (ours == 0) & (theirs == 0)
    facts.cosines[part] = np.where(same, 1.0, dot / np.where(norms == 0, 1.0, norms))
    first, second = _likeliest(reference), _likeliest(candidate)
    found = (first[..., :, None] == second[..., None, :]).any(axis=-1)
    facts.overlaps[part] = found.mean(axis=-1)
    facts.same_order[part] = (first == second).all(axis=-1)


def _likeliest(rows: np.ndarray) -> np.ndarray:
    """Return the five highest columns, highest first; int64 (items, R, 5)."""
    count = min(_TOP, rows.shape[2])
    some = np.argpartition(-rows, count - 1, axis=2)[..., :count]
    order = np.argsort(-np.take_along_axis(rows, some, axis=2), axis=2, kind="stable")
    return np.take_along_axis(some, order, axis=2)


def _nonfinite(plan: PlanLike, bad: list[tuple[int, str]]) -> tuple[str, str]:
    names = [*map(repr, plan.ids), *(f"calibration input {text!r}" for text in plan.prior_texts)]
    shown = ", ".join(f"{names[item]} ({side})" for item, side in bad[:_SHOWN])
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return (
        f"Rows hold NaN or infinity: {shown}{more}.",
        "No label can be read from such a row; look for an overflow (float16?) or damaged weights.",
    )
