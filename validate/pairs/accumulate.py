"""One pass over a chunk of two tensors: every figure of a comparison while the chunk is in cache.

Almost all pairs are finite and near each other, so the chunk goes through a handful of whole-array
operations that are exact for such pairs; the others ("odd" pairs) are taken out and treated one by
one. A pair is near when fewer than 2**23 float32 patterns lie between: then both have one sign and
their difference is exact in float32 (Sterbenz's lemma), and the integer difference cannot wrap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mindport.validate.pairs import bits

CHUNK = 1 << 16  # elements: with its scratch space about 1.5 MiB, which stays in a usual L2 cache
_NEAR = 1 << 23
_TINY = 1e-24  # a chunk's sum of squares from which squares below float32's range do not count
_ROW = 1024
_ONES = np.ones((1, _ROW, 1), np.float32)


@dataclass
class Side:
    """Counts of one side's elements that are not finite; positions are flat."""

    nan: int = 0
    positive_infinite: int = 0
    negative_infinite: int = 0
    first_nan: int | None = None
    first_infinite: int | None = None

    def add(self, values: np.ndarray, positions: np.ndarray) -> None:
        """Count the values (n,) at flat positions (n,) in ascending order."""
        nan, infinite = np.isnan(values), np.isinf(values)
        self.nan += int(np.count_nonzero(nan))
        self.positive_infinite += int(np.count_nonzero(infinite & (values > 0)))
        self.negative_infinite += int(np.count_nonzero(infinite & (values < 0)))
        if nan.any():
            self.first_nan = earliest(self.first_nan, int(positions[nan.argmax()]))
        if infinite.any():
            self.first_infinite = earliest(self.first_infinite, int(positions[infinite.argmax()]))

    def merge(self, other: Side) -> None:
        """Take in what another thread found."""
        self.nan += other.nan
        self.positive_infinite += other.positive_infinite
        self.negative_infinite += other.negative_infinite
        self.first_nan = earliest(self.first_nan, other.first_nan)
        self.first_infinite = earliest(self.first_infinite, other.first_infinite)


def earliest(*positions: int | None) -> int | None:
    """Return the smallest of positions that may be absent."""
    return min((position for position in positions if position is not None), default=None)


@dataclass
class Totals:
    """Sums, extremes and first occurrences over the elements seen so far.

    Attributes:
        compared: Pairs seen.
        finite: Pairs finite on both sides; the sums and extremes are over these.
        rr: Sum of squares of the reference.
        cc: Sum of squares of the candidate.
        rc: Sum of products.
        dd: Sum of squares of the differences.
        absolute: Sum of ``|c - r|``.
        largest: Largest ``|c - r|``, -1 while there is no finite pair.
        worst: Flat position of the first largest one.
        equal: Pairs of the same bits, or of two zeros.
        first: Flat position of the first pair that is not equal.
        max_ulp: Largest ULP distance of a pair without NaN.
        ulps: Counts, one per label of ``bits.LABELS``.
        reference: What is not finite there.
        candidate: What is not finite there.
    """

    compared: int = 0
    finite: int = 0
    rr: float = 0.0
    cc: float = 0.0
    rc: float = 0.0
    dd: float = 0.0
    absolute: float = 0.0
    largest: float = -1.0
    worst: int | None = None
    equal: int = 0
    first: int | None = None
    max_ulp: int = 0
    ulps: np.ndarray = field(default_factory=lambda: np.zeros(len(bits.LABELS), np.int64))
    reference: Side = field(default_factory=Side)
    candidate: Side = field(default_factory=Side)

    def take_largest(self, largest: float, worst: int) -> None:
        """Note a difference; the first of equal ones is kept."""
        if largest > self.largest or (largest == self.largest and worst < (self.worst or 0)):
            self.largest, self.worst = largest, worst

    def merge(self, other: Totals) -> None:
        """Take in what another thread found."""
        for name in ("compared", "finite", "rr", "cc", "rc", "dd", "absolute", "equal", "ulps"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.worst is not None:
            self.take_largest(other.largest, other.worst)
        self.first = earliest(self.first, other.first)
        self.max_ulp = max(self.max_ulp, other.max_ulp)
        self.reference.merge(other.reference)
        self.candidate.merge(other.candidate)


class Accumulator:
    """Takes chunk after chunk, in ascending order of position, into its totals.

    Args:
        dtype: The run's dtype, in whose values ULPs are counted.
        chunk: Most elements at a time.

    Raises:
        ValueError: If the dtype is unknown.
    """

    def __init__(self, dtype: str, chunk: int) -> None:
        self.totals = Totals()
        self._dtype = dtype
        self._precision = bits.precision_of(dtype)
        self._distance = np.empty(chunk, np.int32)
        self._difference = np.empty(chunk, np.float32)
        self._scaled = np.empty((2, chunk if self._precision.scale != 1.0 else 0), np.float32)
        self._rows = np.empty((4, chunk // _ROW, 1, 1), np.float32)
        self._histogram = bits.NearHistogram(chunk, self._precision.shift)

    def add(
        self, r: np.ndarray, c: np.ndarray, position: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        """Take in one chunk.

        Args:
            r: Reference, float32 (n,), n at most the chunk.
            c: Candidate, the same.
            position: Turns ascending indices into the chunk into flat positions in the tensor.
        """
        n, totals = r.size, self.totals
        distance, difference = self._distance[:n], self._difference[:n]
        self._measure(r, c, distance)
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(c, r, out=difference)
        np.abs(difference, out=difference)
        top, largest = int(distance.view(np.uint32).max()), float(difference.max())
        odd = np.empty(0, np.intp)
        if top >= _NEAR or not largest < np.inf:  # a NaN is not below infinity either
            odd = np.flatnonzero((distance.view(np.uint32) >= _NEAR) | ~(difference < np.inf))
            self._add_odd(r[odd], c[odd], position(odd))
            r, c = r.copy(), c.copy()
            r[odd], c[odd], distance[odd], difference[odd] = 0, 0, 0, -1
            top, largest = int(distance.max()), float(difference.max())
        if (top > 0 and totals.first is None) or odd.size:
            differing = np.flatnonzero(distance)[:1]
            totals.first = earliest(totals.first, *position(differing).tolist())
        if largest > totals.largest or odd.size:
            worst = difference.argmax(keepdims=True)
            totals.take_largest(largest, int(position(worst)[0]))
        difference[odd] = 0
        self._add_sums(r, c, difference)
        # The differences have served; their place is the scratch space that stays in cache.
        self._histogram.add(distance, scratch=difference)
        totals.ulps[0] -= odd.size
        totals.equal -= odd.size
        totals.max_ulp = max(totals.max_ulp, top >> self._precision.shift)
        totals.compared += n
        totals.finite += n - odd.size

    def finish(self) -> Totals:
        """Return the totals of all chunks."""
        near = self._histogram.counts()
        self.totals.ulps += near
        self.totals.equal += int(near[0])
        return self.totals

    def _measure(self, r: np.ndarray, c: np.ndarray, distance: np.ndarray) -> None:
        """Write ``|bits(c) - bits(r)|``, which is the distance for pairs of the same sign."""
        if self._scaled.size:
            scale = np.float32(self._precision.scale)
            r = np.multiply(r, scale, out=self._scaled[0, : r.size])
            c = np.multiply(c, scale, out=self._scaled[1, : c.size])
        np.subtract(c.view(np.int32), r.view(np.int32), out=distance)
        np.abs(distance, out=distance)

    def _add_sums(self, r: np.ndarray, c: np.ndarray, difference: np.ndarray) -> None:
        """Add sums over rows of 1024 neighbours in float32, and over the rows in float64.

        Widening every element first would add half to the time of a comparison. The error of a
        sum, as measured: 1e-9 of it for random values, 1e-7 for equal ones. Where float32 cannot
        hold a square, because a chunk's values are huge or tiny, every element is widened.
        """
        totals = self.totals
        count = r.size // _ROW
        rows = self._rows[:, :count]
        rest = slice(count * _ROW, None)
        with np.errstate(over="ignore"):
            for values, out in zip((r, c, difference), rows, strict=False):
                line = values[: count * _ROW]
                np.matmul(line.reshape(-1, 1, _ROW), line.reshape(-1, _ROW, 1), out=out)
            np.matmul(line.reshape(-1, 1, _ROW), _ONES, out=rows[3])
        sums = rows.sum(axis=(1, 2, 3), dtype=np.float64).tolist()
        for position, values in enumerate((r, c, difference)):
            sums[position] += _square(values[rest])
            if not _TINY < sums[position] < np.inf:
                sums[position] = _square(values)
        rr, cc, dd, absolute = sums
        absolute += float(difference[rest].sum(dtype=np.float64))
        if not absolute < np.inf:
            absolute = float(difference.sum(dtype=np.float64))
        totals.rr += rr
        totals.cc += cc
        totals.dd += dd
        totals.absolute += absolute
        # The law of cosines spares a pass; it loses no digits, since near values are of one size.
        totals.rc += (rr + cc - dd) / 2

    def _add_odd(self, r: np.ndarray, c: np.ndarray, positions: np.ndarray) -> None:
        """Take in pairs that are not near, or not finite: exact, and slow."""
        totals = self.totals
        distance = bits.ulp_distance(r, c, self._dtype)
        totals.ulps += bits.count_distances(distance)
        totals.max_ulp = max(totals.max_ulp, int(distance.max()))
        totals.reference.add(r, positions)
        totals.candidate.add(c, positions)
        equal = (r.view(np.int32) == c.view(np.int32)) | (distance == 0)
        totals.equal += int(np.count_nonzero(equal))
        if not equal.all():
            totals.first = earliest(totals.first, int(positions[equal.argmin()]))
        finite = np.isfinite(r) & np.isfinite(c)
        totals.finite += int(np.count_nonzero(finite))
        if finite.any():
            r, c = r[finite].astype(np.float64), c[finite].astype(np.float64)
            difference = np.abs(c - r)
            totals.rr += float(r @ r)
            totals.cc += float(c @ c)
            totals.rc += float(r @ c)
            totals.dd += float(difference @ difference)
            totals.absolute += float(difference.sum())
            worst = int(difference.argmax())
            totals.take_largest(float(difference[worst]), int(positions[finite][worst]))


def _square(values: np.ndarray) -> float:
    """Return the sum of squares of a float32 array (n,), in float64."""
    if not values.size:
        return 0.0
    wide = values.astype(np.float64)
    return float(wide @ wide)
