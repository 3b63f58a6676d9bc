"""Some elements of the output, so that a report can draw what the statistics sum up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mindport.validate.capture import Capture
from mindport.validate.verdict import TapResult

_EVEN, _WORST = 300, 60  # elements: evenly over the tensor, and where the candidate is farthest off


def sample_output(
    reference: Capture,
    candidate: Capture,
    taps: Sequence[TapResult],
    inputs: Mapping[str, np.ndarray],
) -> dict[str, Any] | None:
    """Return elements of the last tap that both sides have: usually the logits.

    Args:
        reference: With its oracle.
        candidate: What is judged.
        taps: The comparison, in network order.
        inputs: What was fed; padding is left out.

    Returns:
        ``tap``; ``elements``, how many there are; ``oracle``, ``reference`` and ``candidate``:
        some of them that are finite everywhere, to nine digits, in ascending order of the oracle's.
        None if there is no such tap.
    """
    last = next((tap for tap in reversed(taps) if tap.facts and tap.facts.finite), None)
    if last is None:
        return None
    sides = [reference.oracle(last.name), reference.tap(last.name), candidate.tap(last.name)]
    real = np.asarray(inputs.get("attention_mask", np.ones(last.shape[:1]))).astype(bool)
    if sides[0].ndim > real.ndim and sides[0].shape[: real.ndim] == real.shape:
        sides = [side[real] for side in sides]
    oracle, ours, theirs = (side.ravel() for side in sides)
    finite = np.flatnonzero(np.isfinite(ours) & np.isfinite(theirs))
    chosen = finite[_choose(np.abs(theirs[finite] - oracle[finite]))]
    chosen = chosen[np.argsort(oracle[chosen], kind="stable")]
    return {
        "tap": last.name,
        "elements": int(oracle.size),
        **{
            side: [float(f"{value:.9g}") for value in values[chosen].astype(np.float64)]
            for side, values in (("oracle", oracle), ("reference", ours), ("candidate", theirs))
        },
    }


def _choose(errors: np.ndarray) -> np.ndarray:
    """Return positions: evenly spaced ones, and those of the largest errors."""
    if not errors.size:
        return np.zeros(0, np.int64)
    even = np.linspace(0, errors.size - 1, min(_EVEN, errors.size)).astype(np.int64)
    worst = np.argpartition(errors, -min(_WORST, errors.size))[-_WORST:]
    chosen: np.ndarray = np.unique(np.concatenate([even, worst]))
    return chosen
