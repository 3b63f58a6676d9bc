"""Propose where the taps of an architecture are in a network with names of its own.

The cells of a block are matched with the architecture's steps by what they are (norm, projection)
and by their sizes, in the order in which they ran. A step whose result no cell returns (a residual
sum, a mix of values) is found as what the cell of a later step is given. Whatever is not certain is
left out: the formula carries the value past it, and a fault is then placed between its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from mindport.migrate.architecture import Head, dimension
from mindport.migrate.computation import (
    Activate,
    Add,
    Mix,
    Norm,
    Project,
    Score,
    Softmax,
    Step,
)
from mindport.validate.own.blocks import (
    Scope,
    Signature,
    find_blocks,
    is_activation,
    is_dropout,
    is_softmax,
    role_by_name,
    scopes,
    signature,
)
from mindport.validate.own.observation import CellRecord, Seen
from mindport.validate.own.places import Place
from mindport.validate.own.shapes import Shape, conforms


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


@dataclass
class _Matched:
    """Cells by the tap that they make."""

    made: dict[str, tuple[CellRecord, tuple[int, int]]] = field(default_factory=dict)


def propose(records: Mapping[str, CellRecord], layout: Layout) -> dict[str, Place]:
    """Return a place for every tap that can be told.

    Args:
        records: What one forward pass showed, by path.
        layout: What the architecture says.
    """
    blocks = find_blocks(records, layout.layers, layout.elements)
    if blocks is None:
        return {}
    places: dict[str, Place] = {}
    stretches = list(zip(scopes(records, blocks), _step_scopes(layout), strict=True))
    matched = _Matched()
    for scope, steps in stretches:
        _match(scope, steps, layout, matched)
    for scope, steps in stretches:
        for step in steps:
            options = _options(step, steps, scope, blocks, layout, matched)
            place = next((p for p, shape in options if _fits(p, shape, step, layout)), None)
            if place is not None:
                places[step.tap] = place
    return places


def _step_scopes(layout: Layout) -> Iterator[tuple[Step, ...]]:
    first = next(n for n, step in enumerate(layout.steps) if step.layer is not None)
    yield layout.steps[:first]
    for layer in range(layout.layers):
        yield tuple(step for step in layout.steps if step.layer == layer)
    yield tuple(step for step in layout.steps[first:] if step.layer is None)


def _fits(place: Place, seen: Shape, step: Step, layout: Layout) -> bool:
    parts = place.part[1]
    if not seen or seen[-1] % parts:
        return False
    return conforms((*seen[:-1], seen[-1] // parts), layout.shapes[step.tap])


def _options(
    step: Step,
    steps: Sequence[Step],
    scope: Scope,
    blocks: Sequence[CellRecord],
    layout: Layout,
    matched: _Matched,
) -> Iterator[tuple[Place, Shape]]:
    """Yield places where a tap may be, the surest first."""
    last = steps[-1]
    if scope.block is not None and step is last:
        yield from _ends(scope.block, "output", layout.shapes[step.tap])
    if step.tap == blocks_fed_with(layout):
        yield from _ends(blocks[0], "input", layout.shapes[step.tap])
    if step.tap in matched.made:
        record, part = matched.made[step.tap]
        yield Place(record.path, part=part), record.outputs[0].shape
    for consumer in layout.steps:
        if consumer.inputs == (step.tap,) and consumer.tap in matched.made:
            record, _ = matched.made[consumer.tap]
            yield Place(record.path, "input"), record.inputs[0].shape
    if isinstance(step.operation, (Score, Softmax)):
        end = "input" if isinstance(step.operation, Score) else "output"
        yield from _only(scope, is_softmax, end, layout.shapes[step.tap])
    if isinstance(step.operation, Activate):
        yield from _only(scope, is_activation, "output", layout.shapes[step.tap])
    if isinstance(step.operation, Project):
        yield from _between(step, steps, scope, layout, matched)


def blocks_fed_with(layout: Layout) -> str:
    """Return the tap that goes into the first block."""
    first = next(n for n, step in enumerate(layout.steps) if step.layer is not None)
    return layout.steps[first - 1].tap


def _ends(record: CellRecord, end: str, wanted: Shape) -> Iterator[tuple[Place, Shape]]:
    """Yield the first tensor of a cell's end that has the wanted shape."""
    tensors: tuple[Seen, ...] = getattr(record, f"{end}s")
    for index, seen in enumerate(tensors):
        if conforms(seen.shape, wanted):
            place = Place(record.path, index=index)
            yield (place if end == "output" else replace(place, end="input")), seen.shape
            return


def _only(
    scope: Scope, test: Callable[[CellRecord], bool], end: str, wanted: Shape
) -> Iterator[tuple[Place, Shape]]:
    """Yield an end of the one cell of a kind that has the wanted shape, if it is the only one."""
    found = [place for r in scope.records if test(r) for place in _ends(r, end, wanted)]
    if len(found) == 1:
        yield found[0]


def _between(
    step: Step, steps: Sequence[Step], scope: Scope, layout: Layout, matched: _Matched
) -> Iterator[tuple[Place, Shape]]:
    """Yield the cell that ends in a projection whose result is then added to the residual.

    That is an attention or a feed-forward part which computes without cells of its own, between
    two cells that are known. What it returns goes into a sum, so if another cell is given it at
    once, it has added the residual already and is something else.
    """
    branches = [s for s, after in pairwise(steps) if _is_branch(s, after)]
    if scope.block is None or step not in branches:
        return
    known = [(n, matched.made[s.tap][0]) for n, s in enumerate(steps) if s.tap in matched.made]
    number = steps.index(step)
    low = max((n for n, _ in known if n < number), default=-1)
    high = min((n for n, _ in known if n > number), default=len(steps))
    start = max((r.left for n, r in known if n <= low), default=scope.block.entered)
    stop = min((r.entered for n, r in known if n >= high), default=scope.block.left)
    inside = [r for r in scope.records if start < r.entered and r.left < stop]
    outer = [r for r in inside if not any(o.contains(r) for o in inside) and not is_dropout(r)]
    here = [s for s in branches if low < steps.index(s) < high]
    if len(outer) != len(here):
        return
    cell = outer[here.index(step)]
    later = [r for r in scope.records if r.entered > cell.left and not is_dropout(r)]
    given = {seen.number for r in later for seen in r.inputs}
    given |= {seen.number for seen in scope.block.outputs}
    for place, shape in _ends(cell, "output", layout.shapes[step.tap]):
        if cell.outputs[place.index].number not in given:
            yield place, shape


def _is_branch(step: Step, after: Step) -> bool:
    return isinstance(step.operation, Project) and isinstance(after.operation, Add)


def _match(scope: Scope, steps: Sequence[Step], layout: Layout, matched: _Matched) -> None:
    """Match the cells of a stretch with its steps; keep the reading that explains most cells."""
    found: dict[Signature, list[CellRecord]] = {}
    for record in scope.records:
        look = signature(record)
        if look is not None:
            found.setdefault(look, []).append(record)
    readings = [_read(anchors, found, steps) for anchors in _readings(steps, layout)]
    matched.made.update(max(readings, key=lambda made: len(made)))


def _read(
    anchors: Sequence[_Anchor],
    found: Mapping[Signature, Sequence[CellRecord]],
    steps: Sequence[Step],
) -> dict[str, tuple[CellRecord, tuple[int, int]]]:
    made: dict[str, tuple[CellRecord, tuple[int, int]]] = {}
    for look in {anchor.signature for anchor in anchors}:
        wanted = [anchor for anchor in anchors if anchor.signature == look]
        cells = list(found.get(look, ()))
        if len(cells) != len(wanted):
            continue  # which is which cannot be told
        for anchor, cell in zip(wanted, _by_role(cells, wanted, steps), strict=True):
            for step, part in anchor.steps if cell is not None else ():
                made[step.tap] = (cell, part)  # type: ignore[assignment]
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
        named = {role_by_name(cells[n]): cells[n] for n in three}
        for n in three:
            ordered[n] = None
            if set(named) == {"query", "key", "value"}:
                ordered[n] = named[roles[wanted[n].steps[0][0].tap]]  # type: ignore[index]
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
