"""What may happen to arrays on their way: each operation knows its inverse, or why it has none.

An :class:`Operation` makes one array of one, a :class:`Joint` one of several, a :class:`Fork`
several of one. All work on NumPy arrays, change no value unless they say so, and tell shapes
without arrays, so that a plan needs headers alone.

There is deliberately no reshape: it accepts any array of the right size and so hides a wrong
layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Shape = tuple[int, ...]


class NoInverseError(ValueError):
    """An operation cannot be undone; the message says why."""


class Operation(Protocol):
    """Makes one array of one."""

    @property
    def name(self) -> str:
        """The words shown in reports."""
        ...

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the changed array (a view where possible)."""
        ...

    def shape(self, shape: Shape) -> Shape:
        """Return the shape that :meth:`apply` gives for ``shape``."""
        ...

    def inverse(self) -> Operation:
        """Return the operation that undoes this one exactly.

        Raises:
            NoInverseError: If there is none.
        """
        ...


class Joint(Protocol):
    """Makes one array of several."""

    @property
    def name(self) -> str:
        """The words shown in reports."""
        ...

    def apply(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Return the one array."""
        ...

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape that :meth:`apply` gives."""
        ...

    def inverse(self) -> Fork:
        """Return what gives the several arrays back."""
        ...


class Fork(Protocol):
    """Makes several arrays of one, or none."""

    @property
    def name(self) -> str:
        """The words shown in reports."""
        ...

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the several arrays."""
        ...

    def shape(self, shape: Shape) -> tuple[Shape, ...]:
        """Return the shapes that :meth:`apply` gives."""
        ...

    def inverse(self) -> Joint:
        """Return what gives the one array back.

        Raises:
            NoInverseError: If there is none.
        """
        ...


@dataclass(frozen=True)
class Copy:
    """Leaves the array as it is."""

    name: str = "copy"

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return ``array`` itself."""
        return array

    def shape(self, shape: Shape) -> Shape:
        """Return ``shape``."""
        return shape

    def inverse(self) -> Operation:
        """Return a copy operation."""
        return self


@dataclass(frozen=True)
class Transpose:
    """Swaps the two axes of a matrix."""

    name: str = "transpose"

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the transposed view of a 2-D array.

        Raises:
            ValueError: If the array is not a matrix.
        """
        if array.ndim != 2:
            raise ValueError(f"only a matrix can be transposed, this array has shape {array.shape}")
        return array.T

    def shape(self, shape: Shape) -> Shape:
        """Return the shape with its axes swapped."""
        return shape[::-1]

    def inverse(self) -> Operation:
        """Return the transpose, which is its own inverse."""
        return self


@dataclass(frozen=True)
class InsertAxis:
    """Gives an array one more axis, of size 1: torch's Conv1d weights in MindSpore.

    Attributes:
        axis: Where it stands afterwards.
    """

    axis: int

    @property
    def name(self) -> str:
        """The words shown in reports."""
        return f"insert axis {self.axis}"

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the array with the axis (a view)."""
        return np.expand_dims(array, self.axis)

    def shape(self, shape: Shape) -> Shape:
        """Return the shape with the axis.

        Raises:
            ValueError: If it has too few axes.
        """
        if self.axis > len(shape):
            raise ValueError(f"{list(shape)} has too few axes for axis {self.axis}")
        return (*shape[: self.axis], 1, *shape[self.axis :])

    def inverse(self) -> Operation:
        """Return what takes the axis away."""
        return RemoveAxis(self.axis)


@dataclass(frozen=True)
class RemoveAxis:
    """Takes an axis of size 1 away.

    Attributes:
        axis: Which.
    """

    axis: int

    @property
    def name(self) -> str:
        """The words shown in reports."""
        return f"remove axis {self.axis}"

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the array without the axis (a view)."""
        return np.squeeze(array, self.axis)

    def shape(self, shape: Shape) -> Shape:
        """Return the shape without the axis.

        Raises:
            ValueError: If it has no such axis of size 1.
        """
        if self.axis >= len(shape) or shape[self.axis] != 1:
            raise ValueError(f"{list(shape)} has no axis {self.axis} of size 1")
        return (*shape[: self.axis], *shape[self.axis + 1 :])

    def inverse(self) -> Operation:
        """Return what puts the axis back."""
        return InsertAxis(self.axis)


COPY: Operation = Copy()
TRANSPOSE: Operation = Transpose()


@dataclass(frozen=True)
class Cast:
    """Rounds to another dtype.

    Attributes:
        before: The dtype that goes in.
        after: The dtype that comes out.
    """

    before: np.dtype
    after: np.dtype

    @property
    def name(self) -> str:
        """The words shown in reports."""
        return f"cast {self.before.name} to {self.after.name}"

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the array in the other dtype; what does not fit becomes infinite."""
        with np.errstate(over="ignore"):
            return array.astype(self.after)

    def shape(self, shape: Shape) -> Shape:
        """Return ``shape``."""
        return shape

    def inverse(self) -> Operation:
        """Return the cast back, where the other dtype holds every value of the first.

        Raises:
            NoInverseError: Where it does not.
        """
        if not np.can_cast(self.before, self.after, "safe"):
            raise NoInverseError(f"{self.after.name} rounds what {self.before.name} holds")
        return Cast(self.after, self.before)


@dataclass(frozen=True)
class Drop:
    """Leaves an array out.

    Attributes:
        reason: Why nothing is lost.
    """

    reason: str
    name: str = "drop"

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return nothing."""
        return ()

    def shape(self, shape: Shape) -> tuple[Shape, ...]:
        """Return nothing."""
        return ()

    def inverse(self) -> Joint:
        """Raise: what was left out is not there.

        Raises:
            NoInverseError: Always, with the reason that it was left out for.
        """
        raise NoInverseError(f"it was left out: {self.reason}")
