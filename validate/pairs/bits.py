"""What two floats say of each other bit by bit: how many representable values lie between them.

A float's bits, read as a sign and a magnitude, count the representable values from zero upwards,
so the distance of two floats is a subtraction of integers (Dawson, "Comparing Floating Point
Numbers, 2012 Edition"). Captures hold float32; a run in a narrower dtype has values that this
dtype represents exactly, and the distance is counted in *its* values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NAN = "nan"
MORE = "more"
_SMALL = 2**22
_MAGNITUDE = 0x7FFFFFFF


@dataclass(frozen=True)
class Precision:
    """How the values of a dtype lie among the bit patterns of float32.

    Attributes:
        shift: Neighbours of the dtype are ``2**shift`` patterns apart.
        scale: Multiply by it before reading the bits, so that this is so for subnormals too:
            2**-112 takes the smallest normal float16 to the smallest normal float32.
    """

    shift: int
    scale: float = 1.0


PRECISIONS = {
    "float32": Precision(0),
    "bfloat16": Precision(16),
    "float16": Precision(13, scale=2.0**-112),
}


def precision_of(dtype: str) -> Precision:
    """Return the layout of a dtype.

    Raises:
        ValueError: If ULPs of that dtype are not known here.
    """
    if dtype not in PRECISIONS:
        raise ValueError(f"no ULP distance is defined for {dtype}: one of {', '.join(PRECISIONS)}")
    return PRECISIONS[dtype]


def ulp_distance(reference: np.ndarray, candidate: np.ndarray, dtype: str) -> np.ndarray:
    """Count the steps from each reference to its candidate, through zero where signs differ.

    Args:
        reference: float32, any shape, each value representable in ``dtype``.
        candidate: The same shape.
        dtype: The run's dtype.

    Returns:
        int64, same shape: representable values from one to the other; +0 and -0 are one value,
        infinity follows the largest finite value; -1 where either is a NaN.

    Raises:
        ValueError: If the dtype is unknown.
    """
    distance = np.abs(_ordinal(candidate, dtype) - _ordinal(reference, dtype))
    return np.where(np.isnan(reference) | np.isnan(candidate), np.int64(-1), distance)


def _ordinal(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return int64 positions of values on the line of representable values; 0 for a zero."""
    precision_of(dtype)
    values = np.ascontiguousarray(values, np.float32)
    if dtype == "float16":
        # Values beyond float16's range are the caller's mistake and become infinite here.
        with np.errstate(over="ignore", invalid="ignore"):
            bits = values.astype(np.float16).view(np.int16).astype(np.int64)
        magnitude = bits & 0x7FFF
    else:
        bits = values.view(np.int32).astype(np.int64)
        magnitude = (bits & _MAGNITUDE) >> PRECISIONS[dtype].shift
    return np.where(bits < 0, -magnitude, magnitude)


def bucket_labels() -> tuple[str, ...]:
    """Name the buckets of a ULP histogram: 0, 1, 2, 3-4, 5-8, … up to 2**22, more, nan."""
    edges = [2**power for power in range(1, 23)]
    ranges = [f"{low + 1}-{2 * low}" for low in edges if 2 * low <= _SMALL]
    return ("0", "1", "2", *ranges, MORE, NAN)


LABELS = bucket_labels()


def count_distances(distance: np.ndarray) -> np.ndarray:
    """Sort distances as :func:`ulp_distance` gives them into the buckets of ``LABELS``.

    Returns:
        int64 counts, one per label.
    """
    counts = np.zeros(len(LABELS), np.int64)
    counts[-1] = np.count_nonzero(distance < 0)
    edges = [0, *(2**power for power in range(23))]
    buckets = np.searchsorted(edges, distance[distance >= 0], side="left")
    counts[:-1] = np.bincount(buckets, minlength=len(LABELS) - 1)
    return counts


class NearHistogram:
    """Sorts distances of near pairs into buckets, fast and without allocating.

    The bucket is the exponent of ``distance - 1/4`` as a float: it lies just below a power of two,
    and a zero has an exponent of its own. Two exponents make one index, which halves the slowest
    step, NumPy's bincount.

    Args:
        chunk: Most distances at a time.
        shift: See :class:`Precision`.
    """

    _ZERO = 125  # the exponent field of -0.25
    _BUCKETS = 25  # exponents from there up to that of the largest near distance

    def __init__(self, chunk: int, shift: int) -> None:
        self._shift = shift
        self._codes = np.empty(chunk + chunk % 2, np.uint8)
        self._pairs = np.zeros((self._BUCKETS, 256), np.int64)
        self._padding = 0

    def add(self, distance: np.ndarray, scratch: np.ndarray) -> None:
        """Count distances.

        Args:
            distance: int32 (n,) in units of ``2**-shift`` steps, at least 0, below 2**23.
            scratch: float32 (n,), overwritten.
        """
        n = distance.size
        codes = self._codes[: n + n % 2]
        np.copyto(scratch, distance, casting="unsafe")
        np.subtract(scratch, np.float32(0.25), out=scratch)
        bits = scratch.view(np.int32)
        np.right_shift(bits, 23, out=bits)
        np.copyto(codes[:n], bits, casting="unsafe")  # keeps the exponent, drops the sign
        codes[n:] = self._ZERO
        self._padding += n % 2
        pairs = codes.view(np.uint16)
        np.subtract(pairs, np.uint16(self._ZERO * 0x101), out=pairs)
        table = np.bincount(pairs)
        self._pairs.ravel()[: table.size] += table

    def counts(self) -> np.ndarray:
        """Return int64 counts of all distances so far, one per label of ``LABELS``."""
        single = self._pairs.sum(axis=1) + self._pairs.sum(axis=0)[: self._BUCKETS]
        single[0] -= self._padding
        counts = np.zeros(len(LABELS), np.int64)
        counts[0] = single[0]
        counts[1 : self._BUCKETS - self._shift] = single[1 + self._shift :]
        return counts
