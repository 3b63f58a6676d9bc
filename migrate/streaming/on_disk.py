"""How much of a file is on the disk: told by who writes it, waited for by who reads it back."""

from __future__ import annotations

from threading import Condition


class AbandonedError(Exception):
    """The file will not be written to its end."""


class OnDisk:
    """What two threads share about one file.

    Args:
        end: How many bytes are there from the beginning on.

    Attributes:
        checksums: The bytes of each checksum that was computed while the file was written, by
            their offset.
    """

    def __init__(self, end: int = 0) -> None:
        self.checksums: dict[int, bytes] = {}
        self._end: int | None = end
        self._changed = Condition()

    def reach(self, end: int) -> None:
        """Tell that the bytes before ``end`` are on the disk."""
        self._set(end)

    def abandon(self) -> None:
        """Tell that no more will come."""
        self._set(None)

    def wait(self, end: int) -> None:
        """Wait until the bytes before ``end`` are on the disk.

        Raises:
            AbandonedError: If they never will be.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._end is None or self._end >= end)
            if self._end is None:
                raise AbandonedError

    def _set(self, end: int | None) -> None:
        with self._changed:
            self._end = end
            self._changed.notify_all()
