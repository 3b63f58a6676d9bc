"""The target's tensors as streams of bytes, made from the source's chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.entry import Entry
from mindport.migrate.errors import CheckpointError
from mindport.migrate.initial import initial_values
from mindport.migrate.operations import TRANSPOSE
from mindport.migrate.streaming.buffers import Pool
from mindport.migrate.streaming.transpose import Transposer
from mindport.migrate.streaming.weights import CHUNK, Piece, Weights
from mindport.migrate.transfer import Transfer

STRIPE = 4 << 20
"""Bytes of a transposed matrix that are made at once."""


class Feed:
    """Makes the target's tensors.

    Args:
        plan: What goes where.
        weights: What the tensors are made of.
        allow_overflow: Keep values that the target's dtype cannot hold, as infinities.

    Attributes:
        overflows: How many values of a tensor of the target became infinite, where any did.
    """

    def __init__(self, plan: Transfer, weights: Weights, *, allow_overflow: bool = False) -> None:
        self.overflows: dict[str, int] = {}
        self._plan, self._weights, self._allow = plan, weights, allow_overflow
        self._entries = {e.target: e for e in plan.entries if e.action in ("ported", "generated")}
        self._ties: dict[str, list[Entry]] = {}
        for entry in plan.entries:
            if entry.action == "tied":
                self._ties.setdefault(entry.target, []).append(entry)
        self._chunks, self._stripes = weights.chunks, Pool(3, STRIPE)
        self._transposers: dict[str, Transposer] = {}

    def stream(self, target: str) -> Iterator[Piece]:
        """Yield the bytes of one tensor of the target in order, as uint8.

        A piece's buffer is let go of when the next piece is asked for; whoever needs it longer
        keeps it.

        Raises:
            CheckpointError: If a weight is not finite or does not fit the target's dtype, or if
                tied tensors differ.
        """
        entry = self._entries[target]
        if entry.action == "generated":
            for values in initial_values(entry, self._plan.config, CHUNK // 8):
                yield from self._copies(values)
            return
        for tied in self._ties.get(target, ()):
            self._check_tie(entry, tied)
        self._weights.begin()
        if entry.joint is not None:
            yield from self._assembled(entry)
        elif not entry.operations:
            for values, buffer in self._weights.read(entry):
                yield values.view(np.uint8), buffer
        elif entry.operations == (TRANSPOSE,):
            for _, panel in self._weights.panels(entry):
                yield from self._transposed(panel, entry.target_dtype)
        else:
            yield from self._assembled(entry)
        self._judge(entry)

    def _assembled(self, entry: Entry) -> Iterator[Piece]:
        array = self._weights.cast(entry.assemble(self._weights.array), entry)
        yield from self._copies(np.ascontiguousarray(array).ravel())

    def _transposed(self, panel: np.ndarray, dtype: str) -> Iterator[Piece]:
        if dtype not in self._transposers:
            self._transposers[dtype] = Transposer(DTYPES[dtype].numpy)
        width = max(1, STRIPE // (panel.shape[0] * panel.itemsize))
        for first in range(0, panel.shape[1], width):
            part = panel[:, first : first + width]
            if part.nbytes > STRIPE:  # one column is longer than a stripe
                yield from self._copies(np.ascontiguousarray(part.T).ravel())
                continue
            buffer = self._stripes.take()
            out = buffer.array[: part.nbytes]
            matrix: np.ndarray = np.ndarray(part.shape[::-1], part.dtype, out)
            self._transposers[dtype].put(part, matrix, 0)
            yield out, buffer
            buffer.let_go()

    def _copies(self, array: np.ndarray) -> Iterator[Piece]:
        data = array.view(np.uint8)
        for start in range(0, data.size, CHUNK):
            buffer = self._chunks.take()
            piece = buffer.array[: min(CHUNK, data.size - start)]
            piece[:] = data[start : start + piece.size]
            yield piece, buffer
            buffer.let_go()

    def _judge(self, entry: Entry) -> None:
        nonfinite, overflowed = self._weights.nonfinite, self._weights.overflowed
        if nonfinite:
            raise CheckpointError(
                f"{_made_of(entry)} holds {_values(nonfinite)} that are NaN or infinite.",
                "Such weights cannot be validated; find out where they come from (an overflow in "
                "half-precision training, a damaged file).",
            )
        if overflowed and not self._allow:
            raise CheckpointError(
                f"{_values(overflowed)} of {_made_of(entry)} do not fit {entry.target_dtype}.",
                "Keep the dtype, choose bfloat16, which has the range of float32, or add "
                "--allow-overflow to make them infinite.",
            )
        if overflowed:
            self.overflows[entry.target] = overflowed

    def _check_tie(self, entry: Entry, tied: Entry) -> None:
        source = self._weights.source
        spans = source.reader.spans(tied.source)
        if spans is not None and spans == source.reader.spans(entry.source):
            return  # the file stores them once
        size = TensorInfo(entry.dtype, entry.shape).nbytes
        same = tied.shape == entry.shape and tied.dtype == entry.dtype
        first, second = self._chunks.take(), self._chunks.take()
        for start in range(0, size if same else 0, CHUNK):
            a, b = (x.array[: min(CHUNK, size - start)] for x in (first, second))
            source.read_into(entry.source, start, a)
            source.read_into(tied.source, start, b)
            same = same and np.array_equal(a, b)
        first.let_go()
        second.let_go()
        if not same:
            raise CheckpointError(
                f"The config ties {tied.source} to {entry.source}, but their values differ.",
                'If they were trained apart, set "tie_word_embeddings": false in config.json.',
            )


def _made_of(entry: Entry) -> str:
    return " and ".join(entry.sources)


def _values(count: int) -> str:
    return f"{count} value{'s' * (count > 1)}"
