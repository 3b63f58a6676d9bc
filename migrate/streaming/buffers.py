"""Memory that is filled, read by several threads, and filled again."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Lock

import numpy as np

_PAGE = 4096


class Buffer:
    """A piece of memory of a :class:`Pool`.

    Attributes:
        array: The bytes; they begin with a page, as direct reads from a disk want it.
    """

    def __init__(self, pool: Pool, size: int) -> None:
        memory = np.empty(size + _PAGE, np.uint8)
        start = -memory.ctypes.data % _PAGE
        self.array = memory[start : start + size]
        self._pool = pool
        self._users = 0
        self._lock = Lock()

    def keep(self) -> None:
        """Add a user: the memory is not filled again before this one lets go."""
        with self._lock:
            self._users += 1

    def let_go(self) -> None:
        """Take a user away; after the last one the buffer is free."""
        with self._lock:
            self._users -= 1
            free = self._users == 0
        if free:
            self._pool.free.put(self)


class Pool:
    """A fixed number of buffers, made when they are first needed.

    Args:
        count: How many.
        size: Bytes of each.
    """

    def __init__(self, count: int, size: int) -> None:
        self.free: SimpleQueue[Buffer] = SimpleQueue()
        self.size = size
        self._unmade = count

    def take(self) -> Buffer:
        """Return a free buffer with one user, the caller; wait for one if all are in use."""
        if self._unmade and self.free.empty():
            self._unmade -= 1
            buffer = Buffer(self, self.size)
        else:
            buffer = self.free.get()
        buffer.keep()
        return buffer
