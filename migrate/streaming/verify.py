"""Read a written file back from the disk, undo every change, and compare with the source."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.tensors import TensorInfo
from mindport.migrate.entry import Entry
from mindport.migrate.errors import MindportError
from mindport.migrate.operations import TRANSPOSE
from mindport.migrate.streaming.buffers import Pool
from mindport.migrate.streaming.reading import Source
from mindport.migrate.streaming.weights import CHUNK, Weights


class DiffersError(MindportError):
    """What was read back is not what was written, or not what the source holds."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}; nothing was published.",
            "The disk may be failing; if it happens again, please report it.",
        )


def verify_file(
    path: Path,
    digest: str,
    entries: dict[str, Entry],
    weights: Weights,
    passed: Callable[[int], None],
) -> None:
    """Compare a written file with its hash and, bit for bit, with the source.

    A cast cannot be undone; there the source is cast again.

    Args:
        path: The file.
        digest: The sha256 of what was written.
        entries: What each tensor of it was made of, by its name; none if the source is not to be
            read again.
        weights: The source.
        passed: Told the number of bytes each time some more were read.

    Raises:
        DiffersError: If anything differs: a fault of this tool or of the disk.
    """
    _forget(path)
    reader = open_checkpoint(path).reader
    with Source(reader, hashing=True) as written:
        comparison = _Comparison(written, weights, passed)
        for name in reader.infos:
            if name in entries and entries[name].action == "ported":
                comparison.compare(entries[name])
        if written.hashes()[path] != digest:
            raise DiffersError(f"{path.name} read back differs from what was written")
    for name, entry in entries.items():
        info = reader.infos.get(name, None)
        if info != TensorInfo(entry.target_dtype, entry.target_shape):
            raise DiffersError(f"{name} read back is {info}")


def _forget(path: Path) -> None:
    """Let the system drop its copy of a file in memory, so that it is read from the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


class _Comparison:
    def __init__(self, written: Source, weights: Weights, passed: Callable[[int], None]) -> None:
        self._written, self._weights, self._passed = written, weights, passed
        self._chunks = Pool(6, CHUNK)

    def compare(self, entry: Entry) -> None:
        """Raise unless one tensor is as it should be."""
        self._weights.begin()
        if entry.joint is not None:
            same = self._assembled(entry)
        elif not entry.operations:
            same = self._copied(entry)
        elif entry.operations == (TRANSPOSE,):
            same = all(
                self._same_panel(entry, left, panel) for left, panel in self._weights.panels(entry)
            )
        else:
            same = self._assembled(entry)
        if not same:
            made_of = " and ".join(entry.sources)
            raise DiffersError(f"{entry.target} read back differs from {made_of}")

    def _copied(self, entry: Entry) -> bool:
        at, same = 0, True
        for values, _ in self._weights.read(entry):
            same = self._equals(entry, at, values.view(np.uint8)) and same
            at += values.nbytes
        return same

    def _same_panel(self, entry: Entry, left: int, panel: np.ndarray) -> bool:
        """Compare columns of the source with rows of the target, a few at a time."""
        rows, columns = panel.shape
        width = max(1, CHUNK // (rows * panel.itemsize))
        # A copy whose rows do not lie a power of two apart is faster to walk across.
        padded = np.empty((rows, width + 64 // panel.itemsize), panel.dtype)
        same = True
        for first in range(0, columns, width):
            part = padded[:, : min(width, columns - first)]
            part[...] = panel[:, first : first + width]
            place = (left + first) * rows * panel.itemsize
            same = self._equals(entry, place, part.T) and same
        return same

    def _assembled(self, entry: Entry) -> bool:
        array = self._written.reader.read(entry.target)
        self._passed(array.nbytes)
        return entry.agrees(self._weights.array, array)

    def _equals(self, entry: Entry, start: int, wanted: np.ndarray) -> bool:
        """Return whether a tensor's bytes from ``start`` on are those of an array in C order."""
        unsigned = np.dtype(f"u{wanted.itemsize}")
        wanted = wanted.view(unsigned) if wanted.ndim == 1 else wanted.T.view(unsigned).T
        flat = wanted.nbytes <= CHUNK
        same = True
        for piece in (
            [wanted] if flat else np.array_split(wanted.ravel(), -(-wanted.nbytes // CHUNK))
        ):
            buffer = self._chunks.take()
            data = buffer.array[: piece.nbytes]
            self._written.read_into(entry.target, start, data, buffer)
            same = np.array_equal(np.ndarray(piece.shape, unsigned, data), piece) and same
            buffer.let_go()
            self._passed(piece.nbytes)
            start += piece.nbytes
        return same
