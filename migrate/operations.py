"""What may happen to an array on its way: each operation knows its inverse.

There is deliberately no reshape: it accepts any array of the right size and so hides a wrong
layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Operation(Protocol):
    """A change of layout."""

    @property
    def name(self) -> str:
        """The word shown in reports."""
        ...

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the changed array (a view where possible)."""
        ...

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that :meth:`apply` gives for ``shape``."""
        ...

    def inverse(self) -> Operation:
        """Return the operation that undoes this one exactly."""
        ...


@dataclass(frozen=True)
class Copy:
    """Leaves the array as it is."""

    name: str = "copy"

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return ``array`` itself."""
        return array

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
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

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape with its axes swapped."""
        return shape[::-1]

    def inverse(self) -> Operation:
        """Return the transpose, which is its own inverse."""
        return self


COPY: Operation = Copy()
TRANSPOSE: Operation = Transpose()
