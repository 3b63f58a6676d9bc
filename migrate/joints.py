"""Several arrays as one and back: fused and split projections, tied parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mindport.migrate.operations import Fork, Joint, NoInverseError, Operation, Shape


@dataclass(frozen=True)
class Concatenate:
    """Puts arrays of one shape side by side.

    Attributes:
        axis: Along which axis.
        parts: How many arrays.
        heads: 0 to put one array after the other; otherwise each is cut into so many pieces, and
            the first pieces of all come first, then the second ones: query, key and value are
            fused head by head.
    """

    axis: int
    parts: int
    heads: int = 0

    @property
    def name(self) -> str:
        """The words shown in reports."""
        how = f", {self.heads} heads in turn" if self.heads else ""
        return f"concatenate {self.parts} along axis {self.axis}{how}"

    def apply(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Return the arrays as one.

        Raises:
            ValueError: If their number or their shapes are not as they should be.
        """
        self.shape([array.shape for array in arrays])
        pieces = [np.split(array, self.heads or 1, self.axis) for array in arrays]
        return np.concatenate([piece for turn in zip(*pieces, strict=True) for piece in turn],
                              self.axis)  # fmt: skip

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the one array.

        Raises:
            ValueError: If number or shapes of the arrays are not as they should be.
        """
        if len(shapes) != self.parts or len(set(shapes)) != 1:
            raise ValueError(f"{self.parts} arrays of one shape are needed, not {list(shapes)}")
        one = shapes[0]
        if one[self.axis] % (self.heads or 1):
            raise ValueError(f"axis {self.axis} of {one} cannot be cut into {self.heads} heads")
        return (*one[: self.axis], one[self.axis] * self.parts, *one[self.axis + 1 :])

    def inverse(self) -> Fork:
        """Return the split into the same parts."""
        return Split(self.axis, self.parts, self.heads)


@dataclass(frozen=True)
class Split:
    """Cuts an array into equal parts; the attributes are those of :class:`Concatenate`."""

    axis: int
    parts: int
    heads: int = 0

    @property
    def name(self) -> str:
        """The words shown in reports."""
        how = f", {self.heads} heads in turn" if self.heads else ""
        return f"split into {self.parts} along axis {self.axis}{how}"

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the parts.

        Raises:
            ValueError: If the axis cannot be cut so.
        """
        self.shape(array.shape)
        pieces = np.split(array, self.parts * (self.heads or 1), self.axis)
        if not self.heads:
            return tuple(pieces)
        return tuple(
            np.concatenate(pieces[number :: self.parts], self.axis) for number in range(self.parts)
        )

    def shape(self, shape: Shape) -> tuple[Shape, ...]:
        """Return the shapes of the parts.

        Raises:
            ValueError: If the axis cannot be cut so.
        """
        count = self.parts * (self.heads or 1)
        if shape[self.axis] % count:
            raise ValueError(f"axis {self.axis} of {shape} cannot be cut into {count} equal parts")
        part = shape[self.axis] // self.parts
        return ((*shape[: self.axis], part, *shape[self.axis + 1 :]),) * self.parts

    def inverse(self) -> Joint:
        """Return what puts the parts together."""
        return Concatenate(self.axis, self.parts, self.heads)


@dataclass(frozen=True)
class TakePart:
    """One part of a split: what one of its targets gets.

    Attributes:
        split: How the array is cut.
        number: Which part is taken, from 0.
    """

    split: Split
    number: int

    @property
    def name(self) -> str:
        """The words shown in reports."""
        return f"part {self.number + 1} of: {self.split.name}"

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the part."""
        return self.split.apply(array)[self.number]

    def shape(self, shape: Shape) -> Shape:
        """Return the shape of the part."""
        return self.split.shape(shape)[self.number]

    def inverse(self) -> Operation:
        """Raise: it takes all parts.

        Raises:
            NoInverseError: Always.
        """
        raise NoInverseError("the other parts are stored elsewhere; together they give it back")


@dataclass(frozen=True)
class Tie:
    """Stores several arrays of the same values once.

    Attributes:
        parts: How many arrays.
    """

    parts: int

    @property
    def name(self) -> str:
        """The words shown in reports."""
        return f"tie {self.parts}"

    def apply(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Return the first array.

        Raises:
            ValueError: If they are not the same, bit for bit.
        """
        self.shape([array.shape for array in arrays])
        first = arrays[0]
        if any(other.dtype != first.dtype or other.tobytes() != first.tobytes()
               for other in arrays[1:]):  # fmt: skip
            raise ValueError("tied arrays have different values")
        return first

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape that all of them have.

        Raises:
            ValueError: If there is no such shape.
        """
        if len(shapes) != self.parts or len(set(shapes)) != 1:
            raise ValueError(f"{self.parts} arrays of one shape are needed, not {list(shapes)}")
        return shapes[0]

    def inverse(self) -> Fork:
        """Return what gives each its copy."""
        return Repeat(self.parts)


@dataclass(frozen=True)
class Repeat:
    """Gives several names the same values.

    Attributes:
        parts: How many.
    """

    parts: int

    @property
    def name(self) -> str:
        """The words shown in reports."""
        return f"repeat {self.parts} times"

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the array as often as asked."""
        return (array,) * self.parts

    def shape(self, shape: Shape) -> tuple[Shape, ...]:
        """Return the shape as often as asked."""
        return (shape,) * self.parts

    def inverse(self) -> Joint:
        """Return what stores them once."""
        return Tie(self.parts)
