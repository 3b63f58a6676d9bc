"""Compare what was written, as it comes back from the disk, with the source bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.checkpoints.layout import Data, Fixed, Layout
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.entry import Entry
from mindport.migrate.errors import MindportError
from mindport.migrate.initial import initial_values
from mindport.migrate.operations import TRANSPOSE
from mindport.migrate.streaming.fill import Cut
from mindport.migrate.streaming.on_disk import OnDisk
from mindport.migrate.streaming.read_back import ReadBack
from mindport.migrate.streaming.weights import CHUNK, Piece, Weights
from mindport.migrate.transfer import Transfer


class DiffersError(MindportError):
    """What was read back is not what was written, or not what the source holds."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}; nothing was published.",
            "The disk may be failing; if it happens again, please report it.",
        )


class Verifier:
    """Verifies one file after another.

    It has readers and memory of its own, and its own way to undo a change: what the writer made
    is not asked for.

    Args:
        plan: What goes where.
        weights: The source, for this alone.
    """

    def __init__(self, plan: Transfer, weights: Weights) -> None:
        self._plan, self._weights = plan, weights
        self._entries = {e.target: e for e in plan.entries if e.action in ("ported", "generated")}

    def verify(
        self,
        path: Path,
        layout: Layout,
        infos: Mapping[str, TensorInfo],
        on_disk: OnDisk,
        passed: Callable[[int], None],
    ) -> str:
        """Compare every byte of a file with what it should be, as soon as it is on the disk.

        A cast cannot be undone; there the source is cast again. A checksum that is not known is
        passed over.

        Args:
            path: The file.
            layout: What it consists of.
            infos: Its tensors.
            on_disk: How much of it can be read, and its checksums.
            passed: Told the number of bytes each time some more were compared.

        Returns:
            The sha256 of what was read.

        Raises:
            DiffersError: If anything differs: a fault of this tool or of the disk.
            AbandonedError: If the file is not written to its end.
        """
        with ReadBack(path, layout.size, on_disk) as back:
            comparison = _Comparison(back, self._weights, self._plan.config, passed)
            for segment in layout.segments:
                if isinstance(segment, Data):
                    same = comparison.compare(self._entries[segment.name], segment)
                elif isinstance(segment, Fixed):
                    same = back.equals(np.frombuffer(segment.data, np.uint8))
                else:
                    found = np.empty(segment.size, np.uint8)
                    offset = back.position
                    back.read_into(found)
                    same = on_disk.checksums.get(offset, found.tobytes()) == found.tobytes()
                if not isinstance(segment, Data):
                    passed(segment.size)
                if not same:
                    raise DiffersError(f"{path.name} read back differs from what was written")
            digest = back.digest()
        if dict(open_checkpoint(path).reader.infos) != dict(infos):
            raise DiffersError(f"{path.name} read back holds other tensors")
        return digest


class _Comparison:
    def __init__(
        self,
        back: ReadBack,
        weights: Weights,
        config: Mapping[str, Any],
        passed: Callable[[int], None],
    ) -> None:
        self._back, self._weights, self._config = back, weights, config
        self._passed = passed
        self._wanted = Cut(iter(()))
        self._whole = np.empty(0, np.uint8)

    def compare(self, entry: Entry, data: Data) -> bool:
        """Take bytes of a tensor; raise unless they are what they should be."""
        self._weights.begin()
        simple = entry.joint is None and entry.operations in ((), (TRANSPOSE,))
        if entry.action == "generated" or simple:
            same = self._compare_pieces(entry, data)
        else:
            same = self._compare_whole(entry, data)
        if not same:
            made_of = " and ".join(entry.sources) or "its initial values"
            raise DiffersError(f"{entry.target} read back differs from {made_of}")
        return same

    def _compare_pieces(self, entry: Entry, data: Data) -> bool:
        if data.start == 0:
            self._wanted = Cut(self._pieces(entry))
        same = True
        for piece, _ in self._wanted.take(data.size):
            same = self._back.equals(piece) and same
            self._passed(piece.size)
        if data.stop == TensorInfo(entry.target_dtype, entry.target_shape).nbytes:
            self._wanted.finish()
        return same

    def _compare_whole(self, entry: Entry, data: Data) -> bool:
        """Collect the tensor; at its end undo what was done to it."""
        info = TensorInfo(entry.target_dtype, entry.target_shape)
        if data.start == 0:
            self._whole = np.empty(info.nbytes, np.uint8)
        self._back.read_into(self._whole[data.start : data.stop])
        self._passed(data.size)
        if data.stop < info.nbytes:
            return True
        whole: np.ndarray = np.ndarray(info.shape, DTYPES[info.dtype].numpy, self._whole)
        self._whole = np.empty(0, np.uint8)
        return entry.agrees(self._weights.array, whole)

    def _pieces(self, entry: Entry) -> Iterator[Piece]:
        if entry.action == "generated":
            for values in initial_values(entry, self._config, CHUNK // 8):
                yield values.view(np.uint8), None
        elif entry.operations:
            for _, panel in self._weights.panels(entry):
                yield from self._columns(panel)
        else:
            for values, buffer in self._weights.read(entry):
                yield values.view(np.uint8), buffer

    def _columns(self, panel: np.ndarray) -> Iterator[Piece]:
        """Yield the columns of a part of the source, a few at a time."""
        rows, columns = panel.shape
        width = max(1, CHUNK // (rows * panel.itemsize))
        # A copy whose rows do not lie a power of two apart is faster to walk across.
        padded = np.empty((rows, width + 64 // panel.itemsize), panel.dtype)
        for first in range(0, columns, width):
            part = padded[:, : min(width, columns - first)]
            part[...] = panel[:, first : first + width]
            yield np.ascontiguousarray(part.T).ravel().view(np.uint8), None
