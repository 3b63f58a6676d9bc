"""Another number of tokens: rows that are added to what a vocabulary indexes, or cut off it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mindport.migrate.operations import NoInverseError, Operation, Shape


@dataclass(frozen=True)
class PadVocabulary:
    """Adds rows for tokens that do not exist, each the mean of those that do.

    Then the logit of such a token is the mean of the others' and never above all of them; a row of
    zeros has the logit 0, which with GPT-2 is far above every real one.

    Attributes:
        axis: Which axis the tokens run over.
        before: How many there are.
        after: How many there shall be.
    """

    axis: int
    before: int
    after: int

    @property
    def name(self) -> str:
        """The words shown in reports."""
        return f"pad tokens {self.before} to {self.after} (each the mean of the others)"

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the longer array; the mean is taken in float64 and rounded to its dtype.

        Raises:
            ValueError: If there are not as many tokens as said.
        """
        shape = self.shape(array.shape)
        mean = array.astype(np.float64).mean(self.axis, keepdims=True).astype(array.dtype)
        rows = np.repeat(mean, shape[self.axis] - self.before, self.axis)
        return np.concatenate([array, rows], self.axis)

    def shape(self, shape: Shape) -> Shape:
        """Return the longer shape.

        Raises:
            ValueError: If there are not as many tokens as said.
        """
        return _resized(shape, self.axis, self.before, self.after)

    def inverse(self) -> Operation:
        """Return what cuts the added rows off."""
        return CutVocabulary(self.axis, self.after, self.before)


@dataclass(frozen=True)
class CutVocabulary:
    """Leaves the last tokens out; the attributes are those of :class:`PadVocabulary`."""

    axis: int
    before: int
    after: int

    @property
    def name(self) -> str:
        """The words shown in reports."""
        return f"cut tokens {self.before} to {self.after}"

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return the shorter array.

        Raises:
            ValueError: If there are not as many tokens as said.
        """
        self.shape(array.shape)
        return array[(slice(None),) * self.axis + (slice(self.after),)]

    def shape(self, shape: Shape) -> Shape:
        """Return the shorter shape.

        Raises:
            ValueError: If there are not as many tokens as said.
        """
        return _resized(shape, self.axis, self.before, self.after)

    def inverse(self) -> Operation:
        """Raise: what was cut off is not there.

        Raises:
            NoInverseError: Always.
        """
        raise NoInverseError(f"the last {self.before - self.after} tokens were left out")


def resize_vocabulary(axis: int, before: int, after: int) -> Operation:
    """Return what gives an axis of ``before`` tokens ``after`` of them."""
    if after > before:
        return PadVocabulary(axis, before, after)
    return CutVocabulary(axis, before, after)


def _resized(shape: Shape, axis: int, before: int, after: int) -> Shape:
    if shape[axis] != before:
        raise ValueError(f"axis {axis} of {shape} has not {before} tokens")
    return (*shape[:axis], after, *shape[axis + 1 :])
