"""Fill a layout with the tensors of a feed: one file, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from mindport.migrate.checkpoints.layout import Data, Fixed, Layout
from mindport.migrate.streaming.feed import Feed
from mindport.migrate.streaming.on_disk import OnDisk
from mindport.migrate.streaming.sink import Sink
from mindport.migrate.streaming.weights import Piece


def fill(
    layout: Layout,
    feed: Feed,
    path: Path,
    passed: Callable[[int], None],
    on_disk: OnDisk,
    *,
    hashing: bool,
) -> str:
    """Write a file, down to the disk.

    Args:
        layout: What it consists of.
        feed: The tensors.
        path: Where to; the caller renames it into place.
        passed: Told the number of bytes each time some more are on their way.
        on_disk: Told what is on the disk.
        hashing: Whether the sha256 of the file is wanted.

    Returns:
        The sha256 of the file, of the bytes as they were to be written; empty if not wanted.

    Raises:
        CheckpointError: If a tensor is not fit to be ported.
        OSError: If the disk refuses.
    """
    tensor = Cut(iter(()))
    with Sink(path, layout, on_disk, hashing=hashing) as sink:
        for segment in layout.segments:
            if isinstance(segment, Data):
                if segment.start == 0:
                    tensor.finish()
                    tensor = Cut(feed.stream(segment.name))
                for piece, buffer in tensor.take(segment.size):
                    sink.put(piece, buffer)
                    passed(piece.size)
            elif isinstance(segment, Fixed):
                sink.put(segment.data)
                passed(segment.size)
            else:
                sink.put_checksum(segment)
                passed(segment.size)
        tensor.finish()
        return sink.close()


class Cut:
    """Cuts a tensor's pieces where its segments end.

    Args:
        pieces: All bytes of it, in order.
    """

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._rest: Piece | None = None

    def take(self, size: int) -> Iterator[Piece]:
        """Yield the pieces of the next ``size`` bytes."""
        while size:
            piece, buffer = self._rest or next(self._pieces)
            yield piece[:size], buffer
            self._rest = (piece[size:], buffer) if piece.size > size else None
            size -= min(size, piece.size)

    def finish(self) -> None:
        """Let the feed end the tensor: it lets go of its buffer and judges what it saw."""
        for _ in self._pieces:
            raise AssertionError("a layout leaves out a part of a tensor")
