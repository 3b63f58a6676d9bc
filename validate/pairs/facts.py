"""All figures about a pair of tensors in one pass, in memory that does not grow with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np

from mindport.validate.pairs import bits
from mindport.validate.pairs.accumulate import CHUNK, Accumulator, Side, Totals
from mindport.validate.pairs.stored import FlatReader, HeldTensor, TensorSource

# A second thread gains little: the calls are so short that the two wait for the interpreter lock.
THREADS = 1
Index = tuple[int, ...]


@dataclass(frozen=True)
class SideFacts:
    """What is not finite on one side.

    Attributes:
        nan: How many NaN.
        positive_infinite: How many +Inf.
        negative_infinite: How many -Inf. A float32 capture does not tell an overflow from an
            infinity that was meant, such as a mask's.
        first_nan: Index of the first NaN in the whole tensor; None if there is none.
        first_infinite: Index of the first infinity; None likewise.
    """

    nan: int
    positive_infinite: int
    negative_infinite: int
    first_nan: Index | None
    first_infinite: Index | None

    @property
    def first_nonfinite(self) -> Index | None:
        """Index of the first NaN or infinity, in C order."""
        known = [index for index in (self.first_nan, self.first_infinite) if index is not None]
        return min(known, default=None)


@dataclass(frozen=True)
class Difference:
    """The first pair that is not equal.

    Attributes:
        index: In the whole tensor, first in C order.
        reference: Its value; a string if it is not finite, since JSON has no such number.
        candidate: Likewise.
    """

    index: Index
    reference: float | str
    candidate: float | str


@dataclass(frozen=True)
class PairFacts:
    """How two tensors compare over their valid elements; ``asdict`` of it is JSON.

    Figures of size are over the pairs that are finite on both sides, None if there is none;
    sums are in float64 over rows of 1024 neighbours in float32, to 1e-7 of the sum.

    Attributes:
        shape: Of each whole tensor.
        dtype: The run's, in whose values ULPs are counted.
        compared: Valid pairs.
        finite: Those finite on both sides.
        max_abs: Largest ``|c - r|``.
        mean_abs: Mean ``|c - r|``.
        reference_rms: Root mean square of r.
        difference_rms: Root mean square of ``c - r``.
        cosine: Of r and c, flattened; 1 for two zeros, 0 for one.
        worst_index: Where ``|c - r|`` is largest, the first such place in C order.
        equal: Share of pairs with the same bits, or of two zeros.
        ulps: Pairs by ULP distance, by label: 0, 1, 2, 3-4, 5-8, …, more, nan.
        max_ulp: Largest ULP distance of a pair without NaN; None if there is no such pair.
        first_difference: The first pair that is not equal; None if all are.
        reference: What is not finite there.
        candidate: What is not finite there.
    """

    shape: Index
    dtype: str
    compared: int
    finite: int
    max_abs: float | None
    mean_abs: float | None
    reference_rms: float | None
    difference_rms: float | None
    cosine: float | None
    worst_index: Index | None
    equal: float | None
    ulps: Mapping[str, int]
    max_ulp: int | None
    first_difference: Difference | None
    reference: SideFacts
    candidate: SideFacts


def compare_streams(
    reference: TensorSource | np.ndarray,
    candidate: TensorSource | np.ndarray,
    *,
    dtype: str = "float32",
    valid: np.ndarray | None = None,
    chunk: int = CHUNK,
    threads: int = THREADS,
) -> PairFacts:
    """Compare two tensors in one pass, chunk by chunk.

    Args:
        reference: float32, any shape; an array or ``StoredTensor``.
        candidate: The same shape.
        dtype: The run's dtype; every value must be representable in it.
        valid: Boolean over leading axes of the tensors: which positions count. None: all.
        chunk: Elements at a time, per thread.
        threads: At most so many.

    Raises:
        ValueError: If shapes, mask or dtypes do not fit.
    """
    sources = [_as_source(reference), _as_source(candidate)]
    shape = sources[0].shape
    if shape != sources[1].shape:
        raise ValueError(f"shapes differ: {list(shape)} and {list(sources[1].shape)}")
    if chunk < 1 or threads < 1:
        raise ValueError("chunk and threads are at least 1")
    runs = _valid_runs(shape, valid)
    parts = runs.split(min(threads, max(1, runs.total // chunk)), chunk)
    accumulators = [Accumulator(dtype, min(chunk, max(1, runs.total))) for _ in parts]

    def accumulate(part: int) -> Totals:
        with ExitStack() as stack:
            readers = [stack.enter_context(closing(source.open())) for source in sources]
            for start, stop in parts[part]:
                _add_chunk(accumulators[part], readers, runs, start, stop)
        return accumulators[part].finish()

    if len(parts) == 1:
        totals = accumulate(0)
    else:
        with ThreadPoolExecutor(len(parts)) as pool:
            totals, *others = pool.map(accumulate, range(len(parts)))
        for other in others:
            totals.merge(other)
    return _facts(totals, shape, dtype, sources)


@dataclass(frozen=True)
class _Runs:
    """The valid elements as stretches of the flat tensor.

    Attributes:
        starts: Flat position where each stretch starts, int64 ascending.
        ends: How many valid elements there are up to the end of each, int64.
    """

    starts: np.ndarray
    ends: np.ndarray

    @property
    def total(self) -> int:
        return int(self.ends[-1]) if self.ends.size else 0

    def split(self, parts: int, chunk: int) -> list[list[tuple[int, int]]]:
        """Divide the valid elements into parts of chunks ``(start, stop)``."""
        edges = list(range(0, self.total, chunk))
        chunks = [(start, min(start + chunk, self.total)) for start in edges]
        size = -(-len(chunks) // parts)
        return [chunks[part * size : (part + 1) * size] for part in range(parts)]

    def position(self, valid_indices: np.ndarray) -> np.ndarray:
        """Turn positions among the valid elements into flat positions in the tensor."""
        run = np.searchsorted(self.ends, valid_indices, side="right")
        before = np.where(run > 0, self.ends[run - 1], 0)
        position: np.ndarray = self.starts[run] + valid_indices - before
        return position

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Return the flat stretches that hold the valid elements ``start`` to ``stop``."""
        first, last = np.searchsorted(self.ends, [start, stop - 1], side="right")
        for run in range(first, last + 1):
            before = int(self.ends[run - 1]) if run else 0
            low, high = max(start, before), min(stop, int(self.ends[run]))
            offset = int(self.starts[run]) - before
            yield low + offset, high + offset


def _valid_runs(shape: Index, valid: np.ndarray | None) -> _Runs:
    if valid is None:
        size = math.prod(shape)
        return _Runs(np.zeros(min(size, 1), np.int64), np.full(min(size, 1), size, np.int64))
    if valid.dtype != np.bool_ or valid.shape != shape[: valid.ndim]:
        raise ValueError(
            f"a mask {valid.dtype}{list(valid.shape)} is no boolean over leading axes of "
            f"{list(shape)}"
        )
    inner = math.prod(shape[valid.ndim :])
    steps = np.diff(valid.ravel().astype(np.int8), prepend=0, append=0)
    starts, stops = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    if not inner:
        starts = stops = starts[:0]
    return _Runs(starts * inner, np.cumsum((stops - starts) * inner))


def _add_chunk(
    accumulator: Accumulator, readers: list[FlatReader], runs: _Runs, start: int, stop: int
) -> None:
    pieces = list(runs.pieces(start, stop))
    r, c = (_gather(reader, pieces) for reader in readers)
    accumulator.add(r, c, lambda indices: runs.position(indices + start))


def _gather(reader: FlatReader, pieces: list[tuple[int, int]]) -> np.ndarray:
    if len(pieces) == 1:
        return reader.read(*pieces[0])  # no copy
    gathered = np.empty(sum(stop - start for start, stop in pieces), np.float32)
    filled = 0
    for start, stop in pieces:
        gathered[filled : filled + stop - start] = reader.read(start, stop)
        filled += stop - start
    return gathered


def _as_source(tensor: TensorSource | np.ndarray) -> TensorSource:
    return HeldTensor(tensor) if isinstance(tensor, np.ndarray) else tensor


def _facts(totals: Totals, shape: Index, dtype: str, sources: list[TensorSource]) -> PairFacts:
    def index(position: int | None) -> Index | None:
        if position is None:
            return None
        return tuple(int(axis) for axis in np.unravel_index(position, shape))

    def side(found: Side) -> SideFacts:
        return SideFacts(
            nan=found.nan,
            positive_infinite=found.positive_infinite,
            negative_infinite=found.negative_infinite,
            first_nan=index(found.first_nan),
            first_infinite=index(found.first_infinite),
        )

    first = None
    if totals.first is not None:
        at = totals.first
        values = [_json_number(_value_at(source, at)) for source in sources]
        first = Difference(index(at) or (), *values)
    finite, nan = totals.finite, int(totals.ulps[-1])
    return PairFacts(
        shape=shape,
        dtype=dtype,
        compared=totals.compared,
        finite=finite,
        max_abs=totals.largest if finite else None,
        mean_abs=totals.absolute / finite if finite else None,
        reference_rms=math.sqrt(totals.rr / finite) if finite else None,
        difference_rms=math.sqrt(totals.dd / finite) if finite else None,
        cosine=_cosine(totals) if finite else None,
        worst_index=index(totals.worst),
        equal=totals.equal / totals.compared if totals.compared else None,
        ulps=dict(zip(bits.LABELS, totals.ulps.tolist(), strict=True)),
        max_ulp=totals.max_ulp if totals.compared > nan else None,
        first_difference=first,
        reference=side(totals.reference),
        candidate=side(totals.candidate),
    )


def _cosine(totals: Totals) -> float:
    """Return the cosine; near 1 from the difference, which keeps digits that the sums lack."""
    r, c = math.sqrt(totals.rr), math.sqrt(totals.cc)
    if r * c == 0.0:
        return 1.0 if r == c else 0.0
    if totals.dd < 0.01 * totals.rr:
        return 1.0 - max(0.0, totals.dd - (r - c) ** 2) / (2 * r * c)
    return max(-1.0, min(1.0, totals.rc / (r * c)))


def _value_at(source: TensorSource, position: int) -> np.float32:
    with closing(source.open()) as reader:
        value: np.float32 = reader.read(position, position + 1)[0]
        return value


def _json_number(value: np.float32) -> float | str:
    return float(value) if np.isfinite(value) else str(float(value))


def first_nonfinite(
    facts_by_tap: Mapping[str, PairFacts],
) -> dict[str, dict[str, tuple[str, Index] | None]]:
    """Return where NaN and infinities first appear on each side.

    Args:
        facts_by_tap: In network order.

    Returns:
        By side (``reference``, ``candidate``), by kind (``nan``, ``infinite``): the first tap that
        has one and its index there; None if no tap has.
    """
    found: dict[str, dict[str, tuple[str, Index] | None]] = {}
    for side in ("reference", "candidate"):
        found[side] = {}
        for kind in ("nan", "infinite"):
            places = (
                (tap, index)
                for tap, facts in facts_by_tap.items()
                if (index := getattr(getattr(facts, side), f"first_{kind}")) is not None
            )
            found[side][kind] = next(places, None)
    return found
