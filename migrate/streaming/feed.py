"""The target's tensors as streams of bytes, made from the source's chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.errors import CheckpointError
from mindport.migrate.initial import initial_values
from mindport.migrate.operations import TRANSPOSE
from mindport.migrate.plan import Entry, Plan
from mindport.migrate.streaming.buffers import Buffer, Pool
from mindport.migrate.streaming.reading import Source
from mindport.migrate.streaming.transpose import Transposer
from mindport.migrate.streaming.values import FiniteCheck, cast_values

CHUNK = 1 << 20
"""Bytes that are read, checked, cast and written at once: they stay in a core's cache."""
STRIPE = 4 << 20
"""Bytes of a transposed matrix that are made at once."""
PANEL = 64 << 20
"""Bytes of a matrix that are held while it is transposed; a larger one is read by columns."""

Piece = tuple[np.ndarray, Buffer]
"""Bytes, ``(n,)`` uint8, and the memory that they lie in."""


@dataclass
class _Faults:
    """Values of one tensor that cannot be ported."""

    nonfinite: int = 0
    overflowed: int = 0


class Feed:
    """Makes the target's tensors.

    Args:
        plan: What goes where.
        source: The bytes that the tensors are made of.
        allow_overflow: Keep values that the target's dtype cannot hold, as infinities.

    Attributes:
        overflows: How many values of a tensor of the target became infinite, where any did.
    """

    def __init__(self, plan: Plan, source: Source, *, allow_overflow: bool = False) -> None:
        self.overflows: dict[str, int] = {}
        self._plan, self._source, self._allow = plan, source, allow_overflow
        written = [e for e in plan.entries if e.action in ("ported", "generated")]
        self._entries = {entry.target: entry for entry in written}
        self._ties: dict[str, list[Entry]] = {}
        for entry in plan.entries:
            if entry.action == "tied":
                self._ties.setdefault(entry.target, []).append(entry)
        self._chunks, self._stripes = Pool(12, CHUNK), Pool(3, STRIPE)
        self._panel = np.empty(0, np.uint8)
        self._checks: dict[str, FiniteCheck] = {}
        self._transposers: dict[str, Transposer] = {}

    def stream(self, target: str) -> Iterator[Piece]:
        """Yield the bytes of one tensor of the target, in order.

        A piece's buffer is let go of when the next piece is asked for; whoever needs it longer
        keeps it.

        Raises:
            CheckpointError: If a weight is not finite or does not fit the target's dtype, or if
                tied tensors differ.
        """
        entry = self._entries[target]
        if entry.action == "generated":
            yield from self._generated(entry)
            return
        for tied in self._ties.get(target, ()):
            self._check_tie(entry, tied)
        faults = _Faults()
        if entry.operations == (TRANSPOSE,):
            yield from self._transposed(entry, faults)
        elif entry.operations:
            yield from self._changed(entry, faults)
        else:
            yield from self._copied(entry, faults)
        self._judge(entry, faults)

    def _generated(self, entry: Entry) -> Iterator[Piece]:
        for values in initial_values(entry, self._plan.config, CHUNK // 8):
            buffer = self._chunks.take()
            piece = buffer.array[: values.nbytes]
            piece[:] = values.view(np.uint8)
            yield piece, buffer
            buffer.let_go()

    def _copied(self, entry: Entry, faults: _Faults) -> Iterator[Piece]:
        target = DTYPES[entry.target_dtype].numpy
        for values, buffer in self._read(entry, faults):
            if entry.dtype == entry.target_dtype:
                yield values.view(np.uint8), buffer
                continue
            other = self._chunks.take()
            cast = other.array[: values.size * target.itemsize].view(target)
            self._cast(values, cast, entry, faults)
            yield cast.view(np.uint8), other
            other.let_go()

    def _transposed(self, entry: Entry, faults: _Faults) -> Iterator[Piece]:
        rows, columns = entry.shape
        dtype = DTYPES[entry.target_dtype].numpy
        width = min(columns, max(1, PANEL // (rows * dtype.itemsize)))
        stripe = max(1, STRIPE // (rows * dtype.itemsize))
        for left in range(0, columns, width):
            panel = self._load_panel(entry, left, min(left + width, columns), faults)
            for first in range(0, panel.shape[1], stripe):
                part = panel[:, first : first + stripe]
                if part.nbytes > STRIPE:  # a single column is longer than a stripe
                    yield from self._copies(np.ascontiguousarray(part.T).reshape(-1))
                    continue
                buffer = self._stripes.take()
                out = buffer.array[: part.nbytes]
                self._transposer(entry.target_dtype).put(
                    part, out.view(dtype).reshape(part.shape[::-1]), 0
                )
                yield out, buffer
                buffer.let_go()

    def _changed(self, entry: Entry, faults: _Faults) -> Iterator[Piece]:
        dtype = DTYPES[entry.target_dtype].numpy
        array = np.empty(TensorInfo(entry.dtype, entry.shape).count, dtype)
        at = 0
        for values, _ in self._read(entry, faults):
            self._cast(values, array[at : at + values.size], entry, faults)
            at += values.size
        array = array.reshape(entry.shape)
        for operation in entry.operations:
            array = operation.apply(array)
        yield from self._copies(np.ascontiguousarray(array).reshape(-1))

    def _copies(self, array: np.ndarray) -> Iterator[Piece]:
        data = array.view(np.uint8)
        for start in range(0, data.size, CHUNK):
            buffer = self._chunks.take()
            piece = buffer.array[: min(CHUNK, data.size - start)]
            piece[:] = data[start : start + piece.size]
            yield piece, buffer
            buffer.let_go()

    def _load_panel(self, entry: Entry, left: int, right: int, faults: _Faults) -> np.ndarray:
        """Return columns of a matrix, ``(rows, right - left)`` of the target's dtype."""
        rows, columns = entry.shape
        dtype = DTYPES[entry.target_dtype].numpy
        size = rows * (right - left) * dtype.itemsize
        if self._panel.size < size:
            self._panel = np.empty(size, np.uint8)
        panel = self._panel[:size].view(dtype)
        at = 0
        if right - left == columns:
            pieces = self._read(entry, faults)
        else:
            pieces = self._read_columns(entry, left, right, faults)
        for values, _ in pieces:
            self._cast(values, panel[at : at + values.size], entry, faults)
            at += values.size
        return panel.reshape(rows, right - left)

    def _read(self, entry: Entry, faults: _Faults) -> Iterator[Piece]:
        """Yield the source's values in order, ``(n,)`` of its dtype, checked."""
        info = TensorInfo(entry.dtype, entry.shape)
        for start in range(0, info.nbytes, CHUNK):
            buffer = self._chunks.take()
            data = buffer.array[: min(CHUNK, info.nbytes - start)]
            self._source.read_into(entry.source, start, data, buffer)
            yield self._checked(data, entry, faults), buffer
            buffer.let_go()

    def _read_columns(
        self, entry: Entry, left: int, right: int, faults: _Faults
    ) -> Iterator[Piece]:
        item = DTYPES[entry.dtype].numpy.itemsize
        row, begin, size = entry.shape[1] * item, left * item, (right - left) * item
        for number in range(entry.shape[0]):
            for start in range(0, size, CHUNK):
                buffer = self._chunks.take()
                data = buffer.array[: min(CHUNK, size - start)]
                self._source.read_into(entry.source, number * row + begin + start, data)
                yield self._checked(data, entry, faults), buffer
                buffer.let_go()

    def _checked(self, data: np.ndarray, entry: Entry, faults: _Faults) -> np.ndarray:
        values = data.view(DTYPES[entry.dtype].numpy)
        faults.nonfinite += self._count(values, entry.dtype)
        return values

    def _cast(self, values: np.ndarray, out: np.ndarray, entry: Entry, faults: _Faults) -> None:
        cast_values(values, out)
        if entry.dtype != entry.target_dtype:
            faults.overflowed += self._count(out, entry.target_dtype)

    def _count(self, values: np.ndarray, dtype: str) -> int:
        if dtype not in self._checks:
            self._checks[dtype] = FiniteCheck(dtype)
        return self._checks[dtype].count(values)

    def _transposer(self, dtype: str) -> Transposer:
        if dtype not in self._transposers:
            self._transposers[dtype] = Transposer(DTYPES[dtype].numpy)
        return self._transposers[dtype]

    def _judge(self, entry: Entry, faults: _Faults) -> None:
        if faults.nonfinite:
            raise CheckpointError(
                f"{entry.source} holds {_values(faults.nonfinite)} that are NaN or infinite.",
                "Such weights cannot be validated; find out where they come from (an overflow in "
                "half-precision training, a damaged file).",
            )
        if faults.overflowed and not self._allow:
            raise CheckpointError(
                f"{_values(faults.overflowed)} of {entry.source} do not fit {entry.target_dtype}.",
                "Keep the dtype, choose bfloat16, which has the range of float32, or add "
                "--allow-overflow to make them infinite.",
            )
        if faults.overflowed:
            self.overflows[entry.target] = faults.overflowed

    def _check_tie(self, entry: Entry, tied: Entry) -> None:
        spans = self._source.reader.spans(tied.source)
        if spans is not None and spans == self._source.reader.spans(entry.source):
            return  # the file stores them once
        size = TensorInfo(entry.dtype, entry.shape).nbytes
        same = tied.shape == entry.shape and tied.dtype == entry.dtype
        first, second = self._chunks.take(), self._chunks.take()
        for start in range(0, size if same else 0, CHUNK):
            a, b = (x.array[: min(CHUNK, size - start)] for x in (first, second))
            self._source.read_into(entry.source, start, a)
            self._source.read_into(tied.source, start, b)
            same = same and np.array_equal(a, b)
        first.let_go()
        second.let_go()
        if not same:
            raise CheckpointError(
                f"The config ties {tied.source} to {entry.source}, but their values differ.",
                'If they were trained apart, set "tie_word_embeddings": false in config.json.',
            )


def _values(count: int) -> str:
    return f"{count} value{'s' * (count > 1)}"
