"""Whether a checkpoint's tensors are anywhere in a user's network, whatever it calls them.

The user's factory loads the weights itself, so no list of names tells what it left out. But a
parameter that was loaded holds the tensor's values, in some order: transposed, fused with its
neighbours, cut in parts. So both sides are reduced to a fingerprint that does not depend on the
order and adds up over parts: the sum, modulo 2**64, of a hash of each element's bits. Equal
fingerprints are equal values; that a wrong tensor has one by chance is as likely as 2**-64.

What is nowhere does not fail a port by itself: it may have folded a table into another one, and
only the taps tell whether it computes the same. It is said as a notice, and where taps fail it
is their most likely cause, so it goes first into the headline. That a tensor is *somewhere* does
not say that it is in the right place; the taps do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

_PIECE = 1 << 20  # elements that are hashed at a time
_PARTS = (2, 3)  # how many parts a fused matrix may have
_NEAR = 6  # tensors that are fused stand near one another in network order
_MODULUS = 1 << 64


@dataclass(frozen=True)
class Fingerprint:
    """An array, whatever the order of its elements.

    Attributes:
        size: Number of elements.
        whole: Of all elements.
        parts: Of each part, for every way to cut an axis in equal parts.
    """

    size: int
    whole: int
    parts: tuple[tuple[int, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Fingerprint:
        """Return what :meth:`to_dict` gave."""
        parts = tuple(map(tuple, content["parts"]))
        return cls(content["size"], content["whole"], parts)


def fingerprint(array: np.ndarray) -> Fingerprint:
    """Return the fingerprint of a floating array of any shape."""
    table = array.reshape(len(array), -1) if array.ndim > 1 else array.reshape(-1, 1)
    rows = np.zeros(table.shape[0], np.uint64)
    columns = np.zeros(table.shape[1], np.uint64)
    step = max(_PIECE // max(table.shape[1], 1), 1)
    for start in range(0, len(table), step):
        hashed = _hash(table[start : start + step])
        rows[start : start + step] = hashed.sum(1, dtype=np.uint64)
        columns += hashed.sum(0, dtype=np.uint64)
    parts = tuple(
        tuple(int(piece.sum(dtype=np.uint64)) for piece in np.split(sums, count))
        for sums in (rows, columns)
        for count in _PARTS
        if len(sums) % count == 0 and len(sums) > 1
    )
    return Fingerprint(array.size, int(rows.sum(dtype=np.uint64)), parts)


def _hash(values: np.ndarray) -> np.ndarray:
    """Mix the bits of each element (the finaliser of SplitMix64, Steele et al. 2014)."""
    positive = np.ascontiguousarray(values + values.dtype.type(0))  # -0.0 equals 0.0
    bits = positive.view(f"u{values.dtype.itemsize}").astype(np.uint64)
    bits += np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits ^= bits >> np.uint64(shift)
        bits *= np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    return bits


@dataclass(frozen=True)
class Whereabouts:
    """What a network does not have of a checkpoint.

    Attributes:
        nowhere: Tensors of the checkpoint whose values are nowhere in the network.
        foreign: Parameters of the network whose values are nowhere in the checkpoint.
    """

    nowhere: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def locate(
    checkpoint: Mapping[str, Fingerprint], network: Mapping[str, Fingerprint]
) -> Whereabouts:
    """Look for every tensor of a checkpoint in a network.

    Args:
        checkpoint: In network order, as far as fused tensors are neighbours.
        network: By the name of the parameter.
    """
    wholes = {p.whole: name for name, p in network.items()}
    pieces = {piece: name for name, p in network.items() for cut in p.parts for piece in cut}
    used: set[str] = set()
    nowhere: list[str] = []
    for name, tensor in checkpoint.items():
        owners = _owners(tensor, wholes, pieces)
        used.update(owners)
        if not owners:
            nowhere.append(name)
    # Fused in another way, say by head: then it is the sum that tells.
    for parameter, print_ in network.items():
        if parameter not in used:
            for group in _groups(nowhere, checkpoint, print_.size):
                total = sum(checkpoint[name].whole for name in group) % _MODULUS
                if total == print_.whole:
                    used.add(parameter)
                    nowhere = [name for name in nowhere if name not in group]
                    break
    twins = {network[name].whole for name in used}
    foreign = tuple(n for n, p in network.items() if n not in used and p.whole not in twins)
    return Whereabouts(tuple(nowhere), foreign)


def _owners(tensor: Fingerprint, wholes: Mapping[int, str], pieces: Mapping[int, str]) -> list[str]:
    if tensor.whole in wholes:
        return [wholes[tensor.whole]]
    if tensor.whole in pieces:
        return [pieces[tensor.whole]]
    for cut in tensor.parts:
        if all(piece in wholes for piece in cut):
            return [wholes[piece] for piece in cut]
    return []


def _groups(
    names: Sequence[str], checkpoint: Mapping[str, Fingerprint], size: int
) -> Iterator[tuple[str, ...]]:
    for count in _PARTS:
        alike = [name for name in names if checkpoint[name].size * count == size]
        for start in range(len(alike)):
            for rest in combinations(alike[start + 1 : start + _NEAR], count - 1):
                yield (alike[start], *rest)
