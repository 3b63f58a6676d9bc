"""How far a tap is from what it should be, in units of the deviation that rounding predicts.

What needs no prediction (largest difference, cosine, ULPs) is in
:mod:`mindport.validate.pairs.facts`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mindport.validate.tolerance import Limits


@dataclass(frozen=True)
class Errors:
    """The errors of a tap over its valid elements.

    Attributes:
        absolute: Root mean square of the error itself.
        rms: Root mean square of the error of each element by its predicted deviation.
        peak: Largest error by its predicted deviation.
        worst_index: Where that is, in the whole tap.
        limit_rms: What ``rms`` may be.
        limit_peak: What ``peak`` may be.
    """

    absolute: float
    rms: float
    peak: float
    worst_index: tuple[int, ...]
    limit_rms: float
    limit_peak: float

    @property
    def used(self) -> float:
        """The share of the limits that is used: above 1 is outside."""
        # Not max(), which drops a NaN that comes second.
        return float(np.maximum(self.rms / self.limit_rms, self.peak / self.limit_peak))

    @property
    def ok(self) -> bool:
        """Whether both statistics lie within their limits; a NaN does not."""
        return bool(self.used <= 1.0)


def rms(array: np.ndarray) -> float:
    """Return the root of the mean square of an array; 0 for an empty one."""
    wide = array.astype(np.float64).ravel()
    return float(np.sqrt(wide @ wide / wide.size)) if wide.size else 0.0


def errors_of(
    found: np.ndarray,
    expected: np.ndarray,
    deviation: np.ndarray,
    valid: np.ndarray,
    limits: Limits,
) -> Errors:
    """Measure a tap.

    Args:
        found: The tap, any float dtype.
        expected: What it should be, float64, the same shape.
        deviation: Predicted standard deviation of each element's error, the same shape.
        valid: Boolean over the leading axes: which elements count.
        limits: What the statistics may be.
    """
    error = (found - expected)[valid]
    scaled = np.abs(error / deviation[valid])
    worst = int(np.argmax(scaled))
    return Errors(
        absolute=rms(error),
        rms=rms(scaled),
        peak=float(scaled.flat[worst]),
        worst_index=whole_index(valid, np.unravel_index(worst, scaled.shape)),
        limit_rms=limits.rms,
        limit_peak=limits.peak,
    )


def whole_index(valid: np.ndarray, index: tuple[np.intp, ...]) -> tuple[int, ...]:
    """Turn an index among the valid elements, ``array[valid]``, into one of the whole array."""
    leading = np.argwhere(valid)[index[0]]
    return (*map(int, leading), *map(int, index[1:]))
