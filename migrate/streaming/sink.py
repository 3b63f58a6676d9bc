"""A file being written: written, hashed and summed at once by threads of its own."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np

from mindport.migrate.checkpoints.layout import Checksum, Layout
from mindport.migrate.streaming.buffers import Buffer
from mindport.migrate.streaming.on_disk import OnDisk
from mindport.migrate.streaming.worker import Worker

# Data are sent to the disk this often; then they can be read back.
FLUSH_BYTES = 64 << 20


class Sink:
    """A file that takes its bytes in order.

    Args:
        path: The file; one that exists is replaced.
        layout: What it will consist of: its size is reserved, its checksums are computed.
        on_disk: Told what is on the disk, and the checksums.
        hashing: Whether the sha256 of the file is wanted.

    Raises:
        OSError: If there is no space, or the disk refuses.
    """

    def __init__(self, path: Path, layout: Layout, on_disk: OnDisk, *, hashing: bool) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.posix_fallocate(self._file, 0, layout.size)
        except OSError:
            os.close(self._file)
            raise
        self._on_disk = on_disk
        self._sums = _Sums(s for s in layout.segments if isinstance(s, Checksum))
        self._sha = hashlib.sha256() if hashing else None
        self._end = self._flushed = 0
        self._hasher = Worker("hash")
        self._writer, self._flusher = Worker("write"), Worker("flush")

    def put(self, data: np.ndarray | bytes, buffer: Buffer | None = None) -> None:
        """Append bytes.

        Args:
            data: Bytes, ``(n,)`` uint8 if an array.
            buffer: The memory that they lie in; kept until they are on their way.
        """
        view = memoryview(data) if isinstance(data, bytes) else data.data
        offset = self._end
        self._end += len(view)
        self._writer.put(lambda: self._write(view, offset), buffer)
        if self._sums or self._sha is not None:
            self._hasher.put(lambda: self._hash(view, offset), buffer)
        if self._end - self._flushed >= FLUSH_BYTES:
            end = self._flushed = self._end
            # Behind the checksums, which the hasher writes, and behind what is to be written now.
            self._hasher.put(
                lambda: self._writer.put(lambda: self._flusher.put(lambda: self._flush(end)))
            )

    def put_checksum(self, segment: Checksum) -> None:
        """Append the bytes of a checksum of what was appended before."""
        offset = self._end
        self._end += segment.size
        self._hasher.put(lambda: self._write_sum(segment, offset))

    def close(self) -> str:
        """Wait until all bytes are on the disk.

        Returns:
            The sha256 of the file, of the bytes as they were put; empty if it was not wanted.
        """
        for worker in (self._hasher, self._writer, self._flusher):
            worker.close()
        os.fsync(self._file)
        self._on_disk.reach(self._end)
        return self._sha.hexdigest() if self._sha is not None else ""

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in (self._hasher, self._writer, self._flusher):
            worker.stop()
        os.close(self._file)

    def _write(self, view: memoryview, offset: int) -> None:
        while view:
            done = os.pwrite(self._file, view, offset)
            view, offset = view[done:], offset + done

    def _flush(self, end: int) -> None:
        os.fdatasync(self._file)
        self._on_disk.reach(end)

    def _hash(self, view: memoryview, offset: int) -> None:
        if self._sha is not None:
            self._sha.update(view)
        self._sums.add(view, offset)

    def _write_sum(self, segment: Checksum, offset: int) -> None:
        data = segment.encode(self._sums.get(segment))
        self._on_disk.checksums[offset] = data
        self._write(memoryview(data), offset)
        self._hash(memoryview(data), offset)


class _Sums:
    """CRC-32 of several ranges of a file that passes by once."""

    def __init__(self, segments: Iterable[Checksum]) -> None:
        self._ranges = sorted({(s.start, s.stop) for s in segments})
        self._values = dict.fromkeys(self._ranges, 0)
        self._first = 0  # ranges before this one are behind

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def add(self, view: memoryview, offset: int) -> None:
        end = offset + len(view)
        while self._first < len(self._ranges) and self._ranges[self._first][1] <= offset:
            self._first += 1
        for start, stop in self._ranges[self._first :]:
            if start >= end:
                break
            piece = view[max(start - offset, 0) : max(stop - offset, 0)]
            self._values[start, stop] = zlib.crc32(piece, self._values[start, stop])

    def get(self, segment: Checksum) -> int:
        return self._values[segment.start, segment.stop]
