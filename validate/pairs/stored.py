"""Tensors that are looked at piece by piece: in a safetensors file, or in memory."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Protocol

import numpy as np


class FlatReader(Protocol):
    """Gives pieces of one tensor, in C order; belongs to one thread."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return float32 elements ``start`` to ``stop``, until the next call; not to be written to.

        Raises:
            ValueError: If the file has become shorter.
        """

    def close(self) -> None:
        """Let go of the file."""


class TensorSource(Protocol):
    """A float32 tensor whose elements can be had piece by piece."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole tensor."""

    def open(self) -> FlatReader:
        """Return a reader for one thread."""


class StoredTensor:
    """A float32 tensor in a safetensors file; a piece of it is read at a time.

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
        return _FileReader(self.path, self._offset)


class _FileReader:
    """Reads into one buffer that is used again and so stays in cache.

    Mapping the file costs as much, and one that is cut short meanwhile would end the process.
    """

    def __init__(self, path: Path, offset: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._offset = offset
        self._buffer = np.empty(0, np.float32)

    def read(self, start: int, stop: int) -> np.ndarray:
        if self._buffer.size < stop - start:
            self._buffer = np.empty(stop - start, np.float32)
        piece = self._buffer[: stop - start]
        self._file.seek(self._offset + 4 * start)
        left = piece.data.cast("B")
        while left:
            count = self._file.readinto(left)
            if not count:
                raise ValueError(f"{self._file.name} has become shorter")
            left = left[count:]
        return piece

    def close(self) -> None:
        self._file.close()


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

    def close(self) -> None:
        """There is nothing to let go of."""
