"""Whether tensors of two checkpoints hold the same numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from mindport.migrate.checkpoints.tensors import DTYPES, TensorReader
from mindport.migrate.guess.groups import Group, Index
from mindport.migrate.joints import Split, TakePart
from mindport.migrate.operations import TRANSPOSE, Operation


class Values:
    """Compares tensors by digests of their numbers, in the narrower of their two types.

    Args:
        source: Of the one checkpoint.
        target: Of the other.
    """

    def __init__(self, source: TensorReader, target: TensorReader) -> None:
        self._readers = (source, target)
        self._read = lru_cache(maxsize=4)(self._array)
        self._digest = lru_cache(maxsize=None)(self._digested)

    def same(
        self, whole: Group, part: Group, operations: tuple[Operation, ...], *, side: int
    ) -> bool:
        """Return whether operations make one group's numbers the other's, in every layer.

        Args:
            whole: What they are done to.
            part: What comes of it.
            operations: What is done.
            side: Where ``whole`` is: 0 in the source, 1 in the target.
        """
        dtype = min(whole.dtype, part.dtype, key=lambda name: DTYPES[name].numpy.itemsize)
        return all(
            self._digest(side, whole.names[index], operations, dtype)
            == self._digest(1 - side, part.names[index], (), dtype)
            for index in sorted(whole.indices)
        )

    def constant(self, group: Group, side: int) -> bool:
        """Return whether a group's tensors hold one number each: what initial values look like."""
        arrays = (self._read(side, name) for name in group.names.values())
        return all(bool((array == array.flat[0]).all()) for array in arrays if array.size)

    def _array(self, side: int, name: str) -> np.ndarray:
        return self._readers[side].read(name)

    def _digested(
        self, side: int, name: str, operations: tuple[Operation, ...], dtype: str
    ) -> bytes:
        array = self._read(side, name)
        for operation in operations:
            array = operation.apply(array)
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array).astype(DTYPES[dtype].numpy, copy=False)
        return hashlib.blake2b(array.tobytes()).digest()


def whole_ways(source: Group, target: Group) -> list[tuple[Operation, ...]]:
    """Return what may make one tensor the other by their shapes: nothing, or a transposition."""
    if source.indices != target.indices or not (source.floating and target.floating):
        return []
    ways: list[tuple[Operation, ...]] = []
    if source.shape == target.shape:
        ways.append(())
    if len(source.shape) == 2 and source.shape[::-1] == target.shape:
        ways.append((TRANSPOSE,))
    return ways


def cuts(whole: Group, part: Group, most: int = 4) -> list[tuple[Split, bool]]:
    """Return how one tensor may be cut so that its parts have the other's shape.

    Args:
        whole: The fused one.
        part: One of 2 to ``most`` equal parts.
        most: The greatest number of parts.

    Returns:
        Each cut with whether its parts are transposed.
    """
    if whole.indices != part.indices or not (whole.floating and part.floating):
        return []
    found = []
    for turned in (False, True):
        shape = part.shape[::-1] if turned else part.shape
        if len(shape) != len(whole.shape) or (turned and len(shape) != 2):
            continue
        for axis, size in enumerate(shape):
            others = (*shape[:axis], *shape[axis + 1 :])
            count, rest = divmod(whole.shape[axis], size) if size else (0, 1)
            if rest or not 2 <= count <= most:
                continue
            if others == (*whole.shape[:axis], *whole.shape[axis + 1 :]):
                found.append((Split(axis, count), turned))
    return found


def by_heads(split: Split, size: int, most: int = 128) -> list[Split]:
    """Return a cut into parts that stand one after the other, and those head by head.

    Args:
        split: The cut.
        size: Of a part, along its axis.
        most: The greatest number of heads that is tried.
    """
    heads = [count for count in range(2, min(size, most) + 1) if size % count == 0]
    return [split, *(Split(split.axis, split.parts, count) for count in heads)]


def taking(split: Split, number: int, turned: bool) -> tuple[Operation, ...]:
    """Return what makes one part of a cut, perhaps transposed."""
    return (TakePart(split, number), *((TRANSPOSE,) if turned else ()))


def first_index(groups: Sequence[Group]) -> Index:
    """Return the numbers of the first layer."""
    return min(groups[0].indices)
