"""How far two arrays are apart. Pure NumPy in float64; one small function per question."""

from __future__ import annotations

import numpy as np


def max_abs(reference: np.ndarray, candidate: np.ndarray) -> float:
    """Return the largest ``|c - r|``; 0 for empty arrays."""
    return float(np.max(np.abs(_difference(reference, candidate)), initial=0.0))


def mean_abs(reference: np.ndarray, candidate: np.ndarray) -> float:
    """Return the mean ``|c - r|``; 0 for empty arrays."""
    difference = np.abs(_difference(reference, candidate))
    return float(difference.mean()) if difference.size else 0.0


def rms(array: np.ndarray) -> float:
    """Return the root of the mean square of an array; 0 for an empty one."""
    wide = array.astype(np.float64)
    return float(np.sqrt(np.mean(wide * wide))) if wide.size else 0.0


def tolerance_used(
    reference: np.ndarray, candidate: np.ndarray, atol: float, rtol: float
) -> np.ndarray:
    """Return ``|c - r| / (atol + rtol * |r|)`` per element: above 1 is outside.

    This is the allclose form of a relative error, which stays meaningful near zero. Where the
    allowance is zero, an equal pair gives 0 and any other infinity.
    """
    difference = np.abs(_difference(reference, candidate))
    allowed = atol + rtol * np.abs(reference.astype(np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        used = difference / allowed
    return np.where(difference == 0, 0.0, used)


def cosine(reference: np.ndarray, candidate: np.ndarray) -> float:
    """Return the cosine of the angle between the flattened arrays.

    Two zero arrays point the same way (1); one zero array points nowhere (0).
    """
    a, b = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norms == 0.0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float(np.clip(a @ b / norms, -1.0, 1.0))


def nonfinite(array: np.ndarray) -> int:
    """Return how many elements are NaN or infinite."""
    return int(array.size - np.count_nonzero(np.isfinite(array)))


def _difference(reference: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    difference: np.ndarray = candidate.astype(np.float64) - reference.astype(np.float64)
    return difference
