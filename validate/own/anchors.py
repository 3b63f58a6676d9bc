"""Which cells of a stretch of the forward pass are which norms and projections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mindport.migrate.architecture import Head, dimension
from mindport.migrate.computation import Mix, Norm, Project, Score, Step
from mindport.validate.own.blocks import Scope, Signature, role_by_name, signature
from mindport.validate.own.observation import CellRecord
from mindport.validate.own.shapes import Shape

# By tap: the cell that makes it, and which part of the cell's output it is.
Made = dict[str, tuple[CellRecord, tuple[int, int]]]


@dataclass(frozen=True)
class Layout:
    """What is known of the network before it is looked at.

    Attributes:
        steps: Of the head, filled in.
        shapes: Of the taps.
        sizes: (in, out) of every matrix, by module.
        layers: How many blocks there are.
        elements: How many elements the parameters of a block have.
    """

    steps: tuple[Step, ...]
    shapes: Mapping[str, Shape]
    sizes: Mapping[str, tuple[int, int]]
    layers: int
    elements: int


@dataclass
class _Anchor:
    """A cell that the architecture has, one or several steps of it.

    Attributes:
        steps: The steps with, for each, the part of the cell's output that it makes.
        signature: What it looks like.
    """

    steps: list[tuple[Step, tuple[int, int]]]
    signature: Signature


def match_cells(scope: Scope, steps: Sequence[Step], layout: Layout) -> Made:
    """Match the cells of a stretch with its steps, by what they are, their sizes and their order.

    Args:
        scope: The stretch.
        steps: What the architecture computes in it.
        layout: What the architecture says of the whole.

    Returns:
        The reading (query, key and value in one matrix or in three) that explains most taps.
    """
    found: dict[Signature, list[CellRecord]] = {}
    for record in scope.records:
        look = signature(record)
        if look is not None:
            found.setdefault(look, []).append(record)
    readings = [_read(anchors, found, steps) for anchors in _readings(steps, layout)]
    return max(readings, key=_size)


def _size(made: Made) -> int:
    return len(made)


def _read(
    anchors: Sequence[_Anchor],
    found: Mapping[Signature, Sequence[CellRecord]],
    steps: Sequence[Step],
) -> Made:
    made: Made = {}
    for look in {anchor.signature for anchor in anchors}:
        wanted = [anchor for anchor in anchors if anchor.signature == look]
        cells = list(found.get(look, ()))
        if len(cells) != len(wanted):
            continue  # which is which cannot be told
        for anchor, cell in zip(wanted, _by_role(cells, wanted, steps), strict=True):
            if cell is not None:
                made |= {step.tap: (cell, part) for step, part in anchor.steps}
    return made


def _by_role(
    cells: Sequence[CellRecord], wanted: Sequence[_Anchor], steps: Sequence[Step]
) -> list[CellRecord | None]:
    """Return cells in the order of what they are to be.

    Query, key and value may run in any order, and only their names tell which is which: without
    such names all three stay open.
    """
    roles = _roles(steps)
    three = [n for n, anchor in enumerate(wanted) if anchor.steps[0][0].tap in roles]
    ordered: list[CellRecord | None] = list(cells)
    if len(three) == 3 and len(wanted[three[0]].steps) == 1:
        named: dict[str, CellRecord] = {role_by_name(cells[n]) or "": cells[n] for n in three}
        certain = set(named) == {"query", "key", "value"}
        for n in three:
            ordered[n] = named[roles[wanted[n].steps[0][0].tap]] if certain else None
    return ordered


def _roles(steps: Sequence[Step]) -> dict[str, str]:
    roles: dict[str, str] = {}
    for step in steps:
        if isinstance(step.operation, Score):
            roles |= {step.inputs[0]: "query", step.inputs[1]: "key"}
        elif isinstance(step.operation, Mix):
            roles[step.inputs[1]] = "value"
    return roles


def _readings(steps: Sequence[Step], layout: Layout) -> Iterator[list[_Anchor]]:
    """Yield the anchors of a stretch as upstream has them, and with query, key, value otherwise."""
    anchors: dict[str, _Anchor] = {}
    for step in steps:
        operation = step.operation
        shape = layout.shapes[step.tap]
        elements = _product(shape)
        if isinstance(operation, Norm):
            anchors[step.tap] = _Anchor([(step, (0, 1))], ("norm", shape[-1], shape[-1], elements))
        elif isinstance(operation, Project) and not operation.squeeze:
            into, out = layout.sizes[operation.module]
            rows = elements // (out // operation.part[1])
            anchor = anchors.setdefault(
                operation.module, _Anchor([], ("dense", into, out, rows * out))
            )
            anchor.steps.append((step, operation.part))
    yield list(anchors.values())
    roles = _roles(steps)
    three = [a for a in anchors.values() if a.steps[0][0].tap in roles]
    if len(three) == 1 and len(three[0].steps) == 3:
        _, into, out, elements = three[0].signature
        split = [
            _Anchor([(step, (0, 1))], ("dense", into, out // 3, elements // 3))
            for step, _ in three[0].steps
        ]
        yield _replaced(anchors.values(), three, split)
    elif len(three) == 3:
        _, into, out, elements = three[0].signature
        fused = _Anchor(
            [(a.steps[0][0], (n, 3)) for n, a in enumerate(three)],
            ("dense", into, 3 * out, 3 * elements),
        )
        yield _replaced(anchors.values(), three, [fused])


def _replaced(
    anchors: Iterable[_Anchor], old: Sequence[_Anchor], new: Sequence[_Anchor]
) -> list[_Anchor]:
    ordered: list[_Anchor] = []
    for anchor in anchors:
        if anchor is old[0]:
            ordered += new
        elif not any(anchor is o for o in old):
            ordered.append(anchor)
    return ordered


def block_elements(head: Head, config: Mapping[str, Any]) -> int:
    """Return how many elements the parameters of a block have."""
    return sum(
        _product(tuple(dimension(axis, config) for axis in parameter.shape))
        for parameter in head.body
        if parameter.per_layer
    )


def _product(shape: Shape) -> int:
    size = 1
    for axis in shape:
        size *= axis
    return size
