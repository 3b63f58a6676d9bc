"""The bytes of a checkpoint's tensors, read in chunks, and the hashes of its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np

from mindport.migrate.checkpoints.tensors import TensorReader
from mindport.migrate.errors import CheckpointError
from mindport.migrate.streaming.buffers import Buffer
from mindport.migrate.streaming.worker import Worker

_OWN_READS = 1 << 20


class Source:
    """A checkpoint's files, opened once, read by position.

    Args:
        reader: What lies where.
        hashing: Whether the files are hashed while their bytes pass by.
    """

    def __init__(self, reader: TensorReader, *, hashing: bool) -> None:
        self.reader = reader
        self._files: dict[Path, int] = {}
        self._hashes: dict[Path, _FileHash] = {}
        self._identities = identify_files(reader.files)
        self._whole: tuple[str, np.ndarray] | None = None
        self._hasher = Worker("hash source") if hashing else None
        if hashing:
            self._hashes = {path: _FileHash(path) for path in reader.files}

    def read_into(
        self, name: str, start: int, out: np.ndarray, buffer: Buffer | None = None
    ) -> None:
        """Read bytes of a tensor.

        Args:
            name: The tensor.
            start: The first byte of it.
            out: Where to, ``(n,)`` uint8.
            buffer: The memory of ``out``, if it is kept until it is let go of; only such bytes
                can be hashed on their way.

        Raises:
            CheckpointError: If the file ends before them.
        """
        spans = self.reader.spans(name)
        if spans is None:
            out[:] = self._decoded(name)[start : start + out.size]
            return
        at = 0  # the first byte of the tensor in the span
        for span in spans:
            begin, end = max(start, at), min(start + out.size, at + span.size)
            if begin < end:
                piece = out[begin - start : end - start]
                self._read(span.path, span.offset + begin - at, piece, name)
                if buffer is not None:
                    self._pass_by(span.path, span.offset + begin - at, piece, buffer)
            at += span.size

    def check_unchanged(self) -> None:
        """Raise if a file is no longer what it was at first.

        Raises:
            CheckpointError: With the file's name.
        """
        now = identify_files(self.reader.files)
        for path, identity in self._identities.items():
            if now[path] != identity:
                raise CheckpointError(
                    f"{path} was changed while it was being read.",
                    "Wait until it is written to its end, then start again.",
                )

    def hashes(self) -> dict[Path, str]:
        """Return the sha256 of each file, once all that is needed of them has been read.

        What has not passed by in order is read for this alone.
        """
        if self._hasher is None:
            return {}
        for file in self._hashes.values():
            self._hasher.put(file.finish)
        self._hasher.close()
        return {path: file.digest for path, file in self._hashes.items()}

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._hasher is not None:
            self._hasher.stop()
        for file in self._hashes.values():
            file.close()
        for descriptor in self._files.values():
            os.close(descriptor)

    def _read(self, path: Path, offset: int, out: np.ndarray, name: str) -> None:
        view = out.data
        while view:
            try:
                if path not in self._files:
                    self._files[path] = os.open(path, os.O_RDONLY)
                done = os.preadv(self._files[path], [view], offset)
            except OSError as error:
                raise CheckpointError(
                    f"{path} cannot be read: {error.strerror or error}."
                ) from None
            if not done:
                raise CheckpointError(
                    f"{path} was cut off while {name!r} was read.",
                    "Something else is writing to the source; wait until it is done.",
                )
            view, offset = view[done:], offset + done

    def _pass_by(self, path: Path, offset: int, data: np.ndarray, buffer: Buffer) -> None:
        if self._hasher is not None and path in self._hashes:
            file = self._hashes[path]
            self._hasher.put(lambda: file.take(offset, data), buffer)

    def _decoded(self, name: str) -> np.ndarray:
        if self._whole is None or self._whole[0] != name:
            self._whole = None
            array = np.ascontiguousarray(self.reader.read(name))
            self._whole = name, array.ravel().view(np.uint8)
        return self._whole[1]


class _FileHash:
    """The sha256 of a file whose bytes pass by, mostly in order.

    Bytes that were skipped are read here; bytes that come after their turn were read already.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._sha = hashlib.sha256()
        self._end = 0

    @property
    def digest(self) -> str:
        return self._sha.hexdigest()

    def take(self, offset: int, data: np.ndarray) -> None:
        if offset + data.size <= self._end:
            return
        self._catch_up(offset)
        self._sha.update(data[self._end - offset :].data)
        self._end = offset + data.size

    def finish(self) -> None:
        self._catch_up(None)

    def close(self) -> None:
        self._file.close()

    def _catch_up(self, offset: int | None) -> None:
        if self._end == offset:
            return
        buffer = bytearray(_OWN_READS)
        while offset is None or self._end < offset:
            wanted = _OWN_READS if offset is None else min(_OWN_READS, offset - self._end)
            done = os.preadv(self._file.fileno(), [memoryview(buffer)[:wanted]], self._end)
            if not done:
                return
            self._sha.update(memoryview(buffer)[:done])
            self._end += done


def identify_files(paths: Iterable[Path]) -> dict[Path, tuple[int, ...]]:
    """Return what tells whether a file is still the same: device, inode, size, time of change."""
    return {path: _identify(path.stat()) for path in paths}


def _identify(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def source_order(reader: TensorReader, names: Iterable[str]) -> list[str]:
    """Return tensors in the order in which they lie on the disk, for reading without seeking."""
    files = {path: number for number, path in enumerate(reader.files)}
    last = len(files)

    def place(name: str) -> tuple[int, int]:
        spans = reader.spans(name)
        return (files.get(spans[0].path, last), spans[0].offset) if spans else (last, 0)

    return sorted(names, key=place)
