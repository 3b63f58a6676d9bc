"""The blocks of a network, found as its cells stand in lists; and what a cell does, by its look."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mindport.validate.own.observation import CellRecord

_NUMBERED = re.compile(r"(.*?)(\d+)")
_NORM = re.compile(r"norm|(^|[._])ln", re.IGNORECASE)
_ACTIVATION = re.compile(r"gelu|relu|silu|tanh|sigmoid|swish|activation|(^|[._])act", re.IGNORECASE)
_ENOUGH = 0.9  # share of a block's parameters that a block of the port must own

Signature = tuple[str, int, int, int]  # kind, width in, width out, elements out


@dataclass(frozen=True)
class Scope:
    """A stretch of the forward pass: a block, or what runs before or after all blocks.

    Attributes:
        block: The block itself; None for the stretches around them.
        records: The cells that ran in it once, in the order of entering.
    """

    block: CellRecord | None
    records: tuple[CellRecord, ...]


def find_blocks(
    records: Mapping[str, CellRecord], layers: int, elements: int
) -> list[CellRecord] | None:
    """Return the blocks of a network in network order, or None if it has no clear list of them.

    Args:
        records: By path.
        layers: How many blocks there are.
        elements: How many elements the parameters of a block have.
    """
    groups: dict[tuple[str, str], dict[int, CellRecord]] = {}
    for record in records.values():
        parent, _, last = record.path.rpartition(".")
        found = _NUMBERED.fullmatch(last)
        if found:
            groups.setdefault((parent, found[1]), {})[int(found[2])] = record
    fitting = []
    for members in groups.values():
        numbers = sorted(members)
        ordered = [members[n] for n in numbers]
        if (
            numbers in ([*range(layers)], [*range(1, layers + 1)])
            and all(r.calls == 1 and r.elements >= _ENOUGH * elements for r in ordered)
            and len({r.kind for r in ordered}) == 1
            and all(a.left < b.entered for a, b in pairwise(ordered))
        ):
            fitting.append(ordered)
    # With one layer, what holds the block holds as much; the innermost is the block.
    fitting.sort(key=lambda blocks: (blocks[0].elements, -len(blocks[0].path)))
    best = [b for b in fitting if b[0].elements == fitting[0][0].elements]
    return best[0] if len(best) == 1 else None


def scopes(records: Mapping[str, CellRecord], blocks: Sequence[CellRecord]) -> list[Scope]:
    """Return the stretch before the blocks, each block, and the stretch after them."""
    once = sorted((r for r in records.values() if r.calls == 1), key=lambda r: r.entered)
    before = tuple(r for r in once if r.left < blocks[0].entered)
    after = tuple(r for r in once if r.entered > blocks[-1].left)
    inside = [Scope(b, tuple(r for r in once if b.contains(r))) for b in blocks]
    return [Scope(None, before), *inside, Scope(None, after)]


def signature(record: CellRecord) -> Signature | None:
    """Return what tells a norm or a projection from others, or None if a cell is neither."""
    if not record.inputs or not record.outputs:
        return None
    into, out = record.inputs[0].shape, record.outputs[0].shape
    shapes = list(record.parameters.values())
    if not shapes or len(into) != len(out) or not into:
        return None
    flat = [shape for shape in shapes if len(shape) == 1]
    square = [shape for shape in shapes if len(shape) == 2]
    size = 1
    for axis in out:
        size *= axis
    if len(flat) == len(shapes) and into == out and all(s[0] == out[-1] for s in flat):
        named = _NORM.search(record.kind) or _NORM.search(record.path.rpartition(".")[2])
        return ("norm", into[-1], out[-1], size) if len(flat) == 2 or named else None
    if len(square) == 1 and len(square) + len(flat) == len(shapes) and len(flat) <= 1:
        width = (into[-1], out[-1])
        if square[0] in (width, width[::-1]) and all(s[0] == out[-1] for s in flat):
            return ("dense", *width, size)
    return None


def is_softmax(record: CellRecord) -> bool:
    """Return whether a cell is a softmax."""
    return record.leaf and "softmax" in record.kind.lower() and not record.parameters


def is_activation(record: CellRecord) -> bool:
    """Return whether a cell is an activation function."""
    name = record.path.rpartition(".")[2]
    looks = bool(_ACTIVATION.search(record.kind) or _ACTIVATION.search(name))
    return looks and record.elements == 0


def is_dropout(record: CellRecord) -> bool:
    """Return whether a cell is a dropout, which changes nothing when it is off."""
    return "dropout" in record.kind.lower()


Role = Literal["query", "key", "value"]
_FILLERS = re.compile(r"proj(ection)?|lin(ear)?|dense|layer|matrix|weight|to|fc|attn|self|w|_")


def role_by_name(record: CellRecord) -> Role | None:
    """Return which of the three projections a cell is, if the last part of its path says so."""
    name = _FILLERS.sub("", record.path.rpartition(".")[2].lower())
    roles: dict[str, Role] = {
        "q": "query", "query": "query", "queries": "query",
        "k": "key", "key": "key", "keys": "key",
        "v": "value", "value": "value", "values": "value",
    }  # fmt: skip
    return roles.get(name)
