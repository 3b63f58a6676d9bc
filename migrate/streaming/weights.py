"""The weights of a source, chunk by chunk: checked, and cast to what the target wants."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.entry import Entry
from mindport.migrate.streaming.buffers import Buffer, Pool
from mindport.migrate.streaming.reading import Source
from mindport.migrate.streaming.values import FiniteCheck, cast_values

CHUNK = 1 << 20
"""Bytes that are read, checked, cast and written at once: they stay in a core's cache."""
PANEL = 64 << 20
"""Bytes of a matrix that are held at once."""

Piece = tuple[np.ndarray, Buffer | None]
"""An array, ``(n,)``, and the memory that it lies in, if that is used again."""


class Weights:
    """One tensor after another.

    Args:
        source: Their bytes.

    Attributes:
        chunks: Memory for chunks.
        nonfinite: How many values of the present tensor are NaN or infinite in the source.
        overflowed: How many became infinite when they were cast.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.chunks = Pool(12, CHUNK)
        self.nonfinite = self.overflowed = 0
        self._panel = np.empty(0, np.uint8)
        self._checks: dict[str, FiniteCheck] = {}

    def begin(self) -> None:
        """Begin a new tensor."""
        self.nonfinite = self.overflowed = 0

    def read(self, entry: Entry) -> Iterator[Piece]:
        """Yield an entry's values in order, in the target's dtype and the source's layout."""
        size = TensorInfo(entry.dtype, entry.shape).nbytes
        for start in range(0, size, CHUNK):
            buffer = self.chunks.take()
            data = buffer.array[: min(CHUNK, size - start)]
            self.source.read_into(entry.source, start, data, buffer)
            yield from self._cast(data, buffer, entry)
            buffer.let_go()

    def panels(self, entry: Entry) -> Iterator[tuple[int, np.ndarray]]:
        """Yield a matrix as (first column, ``(rows, n)``), in the target's dtype.

        One panel is the whole matrix unless it is larger than :data:`PANEL`; the next one lies in
        the same memory.
        """
        rows, columns = entry.shape
        dtype = DTYPES[entry.target_dtype].numpy
        width = min(columns, max(1, PANEL // (rows * dtype.itemsize)))
        for left in range(0, columns, width):
            right = min(left + width, columns)
            count = rows * (right - left)
            if self._panel.size < count * dtype.itemsize:
                self._panel = np.empty(0, np.uint8)  # not both at once
                self._panel = np.empty(count * dtype.itemsize, np.uint8)
            panel = self._panel[: count * dtype.itemsize].view(dtype)
            whole = right - left == columns
            at = 0
            for values, _ in self.read(entry) if whole else self._columns(entry, left, right):
                panel[at : at + values.size] = values
                at += values.size
            yield left, np.ndarray((rows, right - left), dtype, panel)

    def array(self, name: str) -> np.ndarray:
        """Return a source's array as it is stored, checked."""
        info = self.source.reader.infos[name]
        same = Entry("ported", name, name, info.shape, info.shape, info.dtype, info.dtype)
        return self.whole(same)

    def cast(self, array: np.ndarray, entry: Entry) -> np.ndarray:
        """Return an array in the target's dtype, checked."""
        if entry.dtype == entry.target_dtype:
            return array
        cast = np.empty(array.shape, DTYPES[entry.target_dtype].numpy)
        cast_values(array, cast)
        self.overflowed += self._count(cast.ravel(), entry.target_dtype)
        return cast

    def whole(self, entry: Entry) -> np.ndarray:
        """Return an entry's values at once, in the target's dtype and the source's layout."""
        array = np.empty(
            TensorInfo(entry.dtype, entry.shape).count, DTYPES[entry.target_dtype].numpy
        )
        at = 0
        for values, _ in self.read(entry):
            array[at : at + values.size] = values
            at += values.size
        return np.ndarray(entry.shape, array.dtype, array)

    def _columns(self, entry: Entry, left: int, right: int) -> Iterator[Piece]:
        item = DTYPES[entry.dtype].numpy.itemsize
        row, begin, size = entry.shape[1] * item, left * item, (right - left) * item
        for number in range(entry.shape[0]):
            for start in range(0, size, CHUNK):
                buffer = self.chunks.take()
                data = buffer.array[: min(CHUNK, size - start)]
                self.source.read_into(entry.source, number * row + begin + start, data)
                yield from self._cast(data, buffer, entry)
                buffer.let_go()

    def _cast(self, data: np.ndarray, buffer: Buffer, entry: Entry) -> Iterator[Piece]:
        values = data.view(DTYPES[entry.dtype].numpy)
        self.nonfinite += self._count(values, entry.dtype)
        if entry.dtype == entry.target_dtype:
            yield values, buffer
            return
        target = DTYPES[entry.target_dtype].numpy
        step = CHUNK // target.itemsize
        for start in range(0, values.size, step):
            part = values[start : start + step]
            other = self.chunks.take()
            cast = other.array[: part.size * target.itemsize].view(target)
            cast_values(part, cast)
            self.overflowed += self._count(cast, entry.target_dtype)
            yield cast, other
            other.let_go()

    def _count(self, values: np.ndarray, dtype: str) -> int:
        if dtype not in self._checks:
            self._checks[dtype] = FiniteCheck(dtype)
        return self._checks[dtype].count(values)
