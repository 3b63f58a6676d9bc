"""What a weights file will consist of, byte for byte, before one is written.

A format is a function from headers to a :class:`Layout`; it never sees a tensor. Whoever has the
tensors fills the layout in, in order, without knowing the format. So the size is known before the
first byte, any format can be streamed, and no format needs a framework.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mindport.migrate.checkpoints.tensors import TensorInfo


@dataclass(frozen=True)
class Fixed:
    """Bytes that are known: a header, padding, a trailer.

    Attributes:
        data: The bytes.
    """

    data: bytes

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self.data)


@dataclass(frozen=True)
class Data:
    """Bytes of a tensor, little-endian in C order; a tensor of no bytes has none in a layout.

    Attributes:
        name: The tensor.
        start: The first byte of it that stands here.
        stop: The byte after the last.
    """

    name: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.stop - self.start


@dataclass(frozen=True)
class Checksum:
    """Bytes that depend on a CRC-32 of bytes before them.

    Attributes:
        size: The number of bytes.
        start: The offset in the file where the summed bytes start.
        stop: The offset after them, at most where this segment starts.
        encode: Turns the CRC-32 into ``size`` bytes.
    """

    size: int
    start: int
    stop: int
    encode: Callable[[int], bytes]


Segment = Fixed | Data | Checksum


@dataclass(frozen=True)
class Layout:
    """A file as a sequence of segments.

    Attributes:
        segments: In order; every byte of every tensor stands in one :class:`Data`, the bytes of
            a tensor in order.
    """

    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return sum(segment.size for segment in self.segments)


class LayoutFormat(Protocol):
    """A file format that can be written."""

    @property
    def suffix(self) -> str:
        """The ending of its files, such as ``.safetensors``."""
        ...

    def __call__(self, infos: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> Layout:
        """Return the layout of one file.

        Args:
            infos: Dtype and shape of each tensor; the format chooses the order.
            metadata: Free text for formats that carry it.

        Raises:
            CheckpointError: If the format cannot hold a tensor.
        """
        ...


def write_arrays(path: Path, layout: Layout, array_of: Callable[[str], np.ndarray]) -> None:
    """Fill a layout with arrays in memory: for small files, such as a test's or a random model's.

    Args:
        path: Where to; the caller renames it into place.
        layout: The file.
        array_of: Returns a tensor by its name; asked for in the order of the file, once each.
    """
    name, data = "", memoryview(b"")
    with path.open("wb+") as file:
        for segment in layout.segments:
            if isinstance(segment, Fixed):
                file.write(segment.data)
            elif isinstance(segment, Data):
                if segment.name != name or segment.start == 0:
                    name, array = segment.name, array_of(segment.name)
                    data = np.ascontiguousarray(array).ravel().view(np.uint8).data
                file.write(data[segment.start : segment.stop])
            else:
                file.seek(segment.start)
                crc = zlib.crc32(file.read(segment.stop - segment.start))
                file.seek(0, os.SEEK_END)
                file.write(segment.encode(crc))
