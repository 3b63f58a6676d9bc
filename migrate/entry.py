"""What becomes of one tensor: the lines that a plan is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mindport.migrate.architecture import Kind
from mindport.migrate.checkpoints.tensors import DTYPES
from mindport.migrate.operations import Cast, Joint, NoInverseError, Operation
from mindport.migrate.vocabulary_rows import PadVocabulary

Action = Literal["ported", "tied", "dropped", "ignored", "generated"]
Read = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class Piece:
    """One of the sources of a tensor that is made of several.

    Attributes:
        source: Name in the source.
        shape: In the source.
        dtype: In the source.
        operations: What is done to it before it is put together with the others, in order.
    """

    source: str
    shape: tuple[int, ...]
    dtype: str
    operations: tuple[Operation, ...] = ()


@dataclass(frozen=True)
class Entry:
    """What becomes of one tensor.

    Who writes the target asks an entry for its ``sources``, for ``target_shape`` and
    ``target_dtype``, and lets it :meth:`assemble` the array.

    Attributes:
        action: ``ported``; ``tied`` (stored once, under another name); ``dropped`` (a buffer);
            ``ignored`` (left behind because it was asked for); ``generated`` (absent in the
            source, given its initial value because it was asked for).
        source: Name in the source; empty for a generated one, and for one made of ``pieces``.
        target: Name in the target, empty if it has none; for a tied one, the name that holds
            its values.
        shape: In the source, or in the target for one without a single source.
        target_shape: In the target.
        dtype: In the source.
        target_dtype: In the target.
        operations: What is done to it, in order, a cast at the end excepted; empty for a plain
            copy. Of ``pieces``, after they were joined.
        reason: Why it is not ported.
        kind: What it is, for parameters.
        pieces: The sources, where there are several.
        joint: What makes one array of them.
    """

    action: Action
    source: str
    target: str
    shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    dtype: str
    target_dtype: str
    operations: tuple[Operation, ...] = ()
    reason: str = ""
    kind: Kind | None = None
    pieces: tuple[Piece, ...] = ()
    joint: Joint | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The names in the source that it is made of, in order; none for a generated one."""
        if self.pieces:
            return tuple(dict.fromkeys(piece.source for piece in self.pieces))
        return (self.source,) if self.source else ()

    @property
    def layout(self) -> str:
        """What is done to it, in words."""
        words = [operation.name for operation in self.operations]
        if self.joint is not None:
            each = {tuple(op.name for op in piece.operations) for piece in self.pieces}
            before = [f"each: {' + '.join(names)}" for names in sorted(each) if names]
            words = [*before, self.joint.name, *words]
        return " + ".join(words) or "copy"

    @property
    def cast(self) -> Cast | None:
        """The rounding at the end, or None."""
        if self.dtype == self.target_dtype:
            return None
        return Cast(DTYPES[self.dtype].numpy, DTYPES[self.target_dtype].numpy)

    def assemble(self, read: Read) -> np.ndarray:
        """Return the target's array, not yet cast.

        Args:
            read: Returns a source's array by its name.
        """
        if self.joint is None:
            return _apply(self.operations, read(self.source))
        pieces = [_apply(piece.operations, read(piece.source)) for piece in self.pieces]
        return _apply(self.operations, self.joint.apply(pieces))

    def agrees(self, read: Read, written: np.ndarray) -> bool:
        """Return whether an array that was read back is what the sources make, bit for bit.

        Everything that can be undone is undone on what was written, so that an operation is held
        against its inverse; the rest is done once more to the sources. A cast cannot be undone;
        there the sources are cast first.

        Args:
            read: Returns a source's array by its name.
            written: What was read back.
        """
        cast = self.cast
        given = read if cast is None else lambda name: cast.apply(read(name))
        if any(isinstance(operation, PadVocabulary) for operation in self.operations):
            whole = self.assemble(read)
            if not _same(whole if cast is None else cast.apply(whole), written):
                return False
        left, array = _undo(self.operations, written)
        if self.joint is None:
            return _same(_apply(left, given(self.source)), array)
        if left:
            joined = [_apply(piece.operations, given(piece.source)) for piece in self.pieces]
            return _same(_apply(left, self.joint.apply(joined)), array)
        for piece, part in zip(self.pieces, self.joint.inverse().apply(array), strict=True):
            rest, back = _undo(piece.operations, part)
            if not _same(_apply(rest, given(piece.source)), back):
                return False
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return the entry for a JSON report."""
        content = {
            "action": self.action,
            "source": self.source or None,
            "target": self.target or None,
            "shape": list(self.shape),
            "target_shape": list(self.target_shape),
            "layout": self.layout,
            "dtype": self.dtype,
            "target_dtype": self.target_dtype,
            "reason": self.reason or None,
        }
        return content | ({"sources": list(self.sources)} if self.pieces else {})


def _apply(operations: Sequence[Operation], array: np.ndarray) -> np.ndarray:
    for operation in operations:
        array = operation.apply(array)
    return array


def _undo(
    operations: Sequence[Operation], array: np.ndarray
) -> tuple[tuple[Operation, ...], np.ndarray]:
    """Undo operations from the last on; return those that are left, and the array before them."""
    left = list(operations)
    while left:
        try:
            inverse = left[-1].inverse()
        except NoInverseError:
            break
        array = inverse.apply(array)
        left.pop()
    return tuple(left), array


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    same = one.shape == other.shape and one.dtype == other.dtype
    return same and one.tobytes() == other.tobytes()
