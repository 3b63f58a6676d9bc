"""Two captures in, one result per tap out. Pure NumPy: no framework, no process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mindport.validate import metrics
from mindport.validate.capture import Capture
from mindport.validate.tolerance import TolerancePolicy
from mindport.validate.verdict import TapResult


def compare_captures(
    reference: Capture,
    candidate: Capture,
    taps: Sequence[str],
    mask: np.ndarray,
    policy: TolerancePolicy,
) -> tuple[TapResult, ...]:
    """Compare every tap.

    Args:
        reference: What is held to be right.
        candidate: What is judged.
        taps: Names in network order; one that a side lacks is a failure.
        mask: attention_mask (batch, seq); padded positions carry no meaning and do not count.
        policy: Chooses the tolerance of each tap.
    """
    stored = {"reference": reference.stored_taps, "candidate": candidate.stored_taps}
    results = []
    for name in taps:
        absent = [side for side, names in stored.items() if name not in names]
        if absent:
            problem = f"not captured on the {' and the '.join(absent)} side"
            results.append(TapResult(name, (), ok=False, problem=problem))
        else:
            results.append(
                compare_tap(name, reference.tap(name), candidate.tap(name), mask, policy)
            )
    return tuple(results)


def compare_tap(
    name: str,
    reference: np.ndarray,
    candidate: np.ndarray,
    mask: np.ndarray,
    policy: TolerancePolicy,
) -> TapResult:
    """Compare one tap.

    Args:
        name: Its canonical name.
        reference: Float array (batch, seq, …) or (batch, …).
        candidate: The same on the other side.
        mask: attention_mask (batch, seq).
        policy: Chooses the tolerance.
    """
    if reference.shape != candidate.shape:
        problem = f"shapes differ: {list(reference.shape)} and {list(candidate.shape)}"
        return TapResult(name, reference.shape, ok=False, problem=problem)
    if reference.size == 0:
        return TapResult(name, reference.shape, ok=False, problem="there is nothing in it")
    valid = _valid_positions(reference.shape, mask)
    r, c = reference[valid], candidate[valid]
    problem = _nonfinite_problem(r, c)
    if problem:
        return TapResult(name, reference.shape, ok=False, problem=problem)
    tolerance = policy.at(r)
    used = metrics.tolerance_used(r, c, tolerance.atol, tolerance.rtol)
    worst = np.unravel_index(int(np.argmax(used)), used.shape)
    largest = float(used[worst])
    ok = bool(largest <= 1.0)  # a NaN would not be
    found = metrics.max_abs(r, c)
    return TapResult(
        name=name,
        shape=reference.shape,
        ok=ok,
        max_abs=found,
        mean_abs=metrics.mean_abs(r, c),
        max_rel=largest,
        cosine=metrics.cosine(r, c),
        within=float(np.count_nonzero(used <= 1.0) / used.size),
        atol=tolerance.atol,
        rtol=tolerance.rtol,
        reference_rms=metrics.rms(r),
        worst_index=_whole_index(valid, worst),
        problem="" if ok else f"{largest:.3g} times the tolerance (max abs {found:.3g})",
    )


def _valid_positions(shape: tuple[int, ...], mask: np.ndarray) -> np.ndarray:
    """Return a boolean array over the leading axes of a tap: where it is to be compared."""
    if shape[:2] == mask.shape:
        return mask.astype(bool)
    return np.ones(shape[:1], dtype=bool)


def _whole_index(valid: np.ndarray, worst: tuple[np.intp, ...]) -> tuple[int, ...]:
    leading = np.argwhere(valid)[worst[0]]
    return (*map(int, leading), *map(int, worst[1:]))


def _nonfinite_problem(reference: np.ndarray, candidate: np.ndarray) -> str:
    counts = {
        "reference": metrics.nonfinite(reference),
        "candidate": metrics.nonfinite(candidate),
    }
    found = [f"{count} on the {side} side" for side, count in counts.items() if count]
    return f"NaN or infinite values: {', '.join(found)}" if found else ""


def first_fault(results: Sequence[TapResult]) -> TapResult | None:
    """Return the first tap, in network order, that is not ok."""
    return next((result for result in results if not result.ok), None)
