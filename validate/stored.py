"""Tensors that are looked at piece by piece: in a safetensors file, or in memory."""

from __future__ import annotations

import json
import math
import mmap
import os
from pathlib import Path
from typing import Protocol

import numpy as np

_WINDOW = 4 << 20  # bytes of a file that are mapped at a time


class FlatReader(Protocol):
    """Gives pieces of one tensor, in C order; belongs to one thread."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return float32 elements ``start`` to ``stop``; not to be written to."""


class TensorSource(Protocol):
    """A float32 tensor whose elements can be had piece by piece."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole tensor."""

    def open(self) -> FlatReader:
        """Return a reader for one thread."""


class StoredTensor:
    """A float32 tensor in a safetensors file; a few MiB of it are mapped at a time.

    The format: 8 bytes of header length, little-endian; the header as JSON, offsets counted from
    its end; the data (https://huggingface.co/docs/safetensors).

    Args:
        path: The file.
        name: The tensor.

    Raises:
        KeyError: If the file has no tensor of that name.
        ValueError: If the tensor is not float32, or the file ends before it does.
    """

    def __init__(self, path: Path, name: str) -> None:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = os.fstat(file.fileno()).st_size
            if length > size - 8:
                raise ValueError(f"{path} ends within its header")
            header = json.loads(file.read(length))
        if name not in header:
            raise KeyError(f"{path} has no tensor {name}")
        entry = header[name]
        if entry["dtype"] != "F32":
            raise ValueError(f"{name} in {path} is {entry['dtype']}; taps are stored as F32")
        self.path = path
        self.shape: tuple[int, ...] = tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        self._offset = 8 + length + begin
        if end - begin != 4 * math.prod(self.shape) or 8 + length + end > size:
            raise ValueError(f"{path} does not hold all of {name}")

    def open(self) -> FlatReader:
        """Return a reader for one thread."""
        return _MappedReader(self.path, self._offset, math.prod(self.shape))


class _MappedReader:
    """Maps a window of the file, and the next one when that is asked for.

    Mapping spares the copy that reading costs; the window keeps what is resident small.
    """

    def __init__(self, path: Path, offset: int, count: int) -> None:
        self._path, self._offset, self._count = path, offset, count
        self._window = np.empty(0, np.float32)
        self._start = 0

    def read(self, start: int, stop: int) -> np.ndarray:
        if start < self._start or stop > self._start + self._window.size:
            self._map(start, stop)
        return self._window[start - self._start : stop - self._start]

    def _map(self, start: int, stop: int) -> None:
        stop = min(self._count, max(stop, start + _WINDOW // 4))
        begin = self._offset + 4 * start
        page = begin - begin % mmap.ALLOCATIONGRANULARITY
        length = self._offset + 4 * stop - page
        with self._path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ, offset=page)
        window = np.frombuffer(mapped, np.float32, stop - start, begin - page)
        # The format lets a tensor start at any byte.
        self._window = window if window.flags.aligned else window.copy()
        self._start = start


class HeldTensor:
    """A float32 array in memory.

    Args:
        array: Of any shape and strides.

    Raises:
        ValueError: If it is of another dtype; a conversion could lose bits.
    """

    def __init__(self, array: np.ndarray) -> None:
        if array.dtype != np.float32:
            raise ValueError(f"the array is {array.dtype}; taps are compared as float32")
        self.shape: tuple[int, ...] = array.shape
        self._array = array

    def open(self) -> FlatReader:
        """Return a reader for one thread."""
        return self

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return float32 elements ``start`` to ``stop``, without a copy where that can be."""
        if self._array.flags.c_contiguous:
            piece = self._array.reshape(-1)[start:stop]
        else:
            piece = self._array.flat[start:stop]
        return np.require(piece, np.float32, ["C", "A"])
