"""Read a file back from the disk, in order, while the rest of it is still being written."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

import numpy as np

from mindport.migrate.streaming.buffers import Buffer, Pool
from mindport.migrate.streaming.on_disk import OnDisk
from mindport.migrate.streaming.worker import Worker

BLOCK = 1 << 20
"""Bytes that are read at once, a multiple of any disk's blocks."""
AHEAD = 8
"""Blocks that are asked for before they are needed."""
_READERS = 2  # a disk is faster when it is asked for the next block before it gave this one
_NOT_DIRECT = (errno.EINVAL, errno.EOPNOTSUPP)

Block = Buffer | BaseException


class ReadBack:
    """The bytes of a file as the disk has them, and their sha256.

    The system's copy in memory is passed by where the file system lets us (``O_DIRECT``);
    elsewhere the system is asked to drop it first, which it need not do.

    Args:
        path: The file.
        size: How many bytes it will have.
        on_disk: How many of them may be read already.

    Attributes:
        position: How many bytes were taken.
    """

    def __init__(self, path: Path, size: int, on_disk: OnDisk) -> None:
        on_disk.wait(min(1, size))
        self.position = 0
        self._size, self._on_disk = size, on_disk
        self._file = os.open(path, os.O_RDONLY)
        self._direct = _open_direct(path)
        self._is_direct = True
        self._pool = Pool(AHEAD + 2, BLOCK)
        self._sha = hashlib.sha256()
        self._readers = [Worker("read back") for _ in range(_READERS)]
        self._hasher = Worker("hash target")
        self._asked = 0
        self._coming: deque[SimpleQueue[Block]] = deque()
        self._buffer: Buffer | None = None
        self._rest = np.empty(0, np.uint8)

    def take(self, size: int) -> Iterator[np.ndarray]:
        """Yield the next bytes in pieces, ``(n,)`` uint8; each is there until the next one."""
        while size:
            if not self._rest.size:
                self._next()
            piece = self._rest[:size]
            self._rest = self._rest[size:]
            self.position += piece.size
            size -= piece.size
            yield piece

    def equals(self, wanted: np.ndarray) -> bool:
        """Return whether the next bytes are those of an array, ``(n,)`` uint8."""
        at, same = 0, True
        for piece in self.take(wanted.size):
            same = np.array_equal(piece, wanted[at : at + piece.size]) and same
            at += piece.size
        return same

    def read_into(self, out: np.ndarray) -> None:
        """Copy the next bytes to an array, ``(n,)`` uint8."""
        at = 0
        for piece in self.take(out.size):
            out[at : at + piece.size] = piece
            at += piece.size

    def digest(self) -> str:
        """Return the sha256 of all that was taken."""
        self._hasher.close()
        return self._sha.hexdigest()

    def __enter__(self) -> ReadBack:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in (*self._readers, self._hasher):
            worker.stop()
        os.close(self._file)
        if self._direct is not None:
            os.close(self._direct)

    def _next(self) -> None:
        """Go on to the next block, and ask for one that comes later."""
        if self._buffer is not None:
            self._buffer.let_go()
            self._buffer = None
        while self._asked * BLOCK < self._size and len(self._coming) < AHEAD:
            self._ask()
        block = self._coming.popleft().get()
        if isinstance(block, BaseException):
            raise block
        self._buffer = block
        self._rest = block.array[: min(BLOCK, self._size - self.position)]
        data = self._rest.data
        self._hasher.put(lambda: self._sha.update(data), block)

    def _ask(self) -> None:
        offset, buffer = self._asked * BLOCK, self._pool.take()
        answer: SimpleQueue[Block] = SimpleQueue()

        def read() -> None:
            try:
                self._read(offset, buffer)
                answer.put(buffer)
            except BaseException as error:
                answer.put(error)

        self._readers[self._asked % _READERS].put(read)
        self._coming.append(answer)
        self._asked += 1

    def _read(self, offset: int, buffer: Buffer) -> None:
        size = min(BLOCK, self._size - offset)
        self._on_disk.wait(offset + size)
        done = 0
        while done < size:
            # A whole block even where the file ends: direct reads know no other sizes.
            got = self._read_once(buffer.array[done:], offset + done)
            if not got:
                raise OSError(errno.EIO, "it became shorter while it was read back")
            done += got

    def _read_once(self, out: np.ndarray, offset: int) -> int:
        if self._direct is not None and self._is_direct:
            try:
                return os.preadv(self._direct, [out.data], offset)
            except OSError as error:
                if error.errno not in _NOT_DIRECT:
                    raise
                self._is_direct = False
        os.posix_fadvise(self._file, offset, out.size, os.POSIX_FADV_DONTNEED)
        return os.preadv(self._file, [out.data], offset)


def _open_direct(path: Path) -> int | None:
    """Return a descriptor that passes by the system's copy in memory; None if there is none."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError as error:
        if error.errno not in _NOT_DIRECT:
            raise
        return None
