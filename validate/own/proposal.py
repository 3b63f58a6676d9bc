"""Propose where the taps of an architecture are in a network with names of its own.

The cells of a block are matched with the architecture's steps by what they are (norm, projection)
and by their sizes, in the order in which they ran. A step whose result no cell returns (a residual
sum, a mix of values) is found as what the cell of a later step is given. Whatever is not certain is
left out: the formula carries the value past it, and a fault is then placed between its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from mindport.migrate.computation import Activate, Add, Project, Score, Softmax, Step
from mindport.validate.own.anchors import Layout, Made, match_cells
from mindport.validate.own.blocks import (
    Scope,
    find_blocks,
    is_activation,
    is_dropout,
    is_softmax,
    scopes,
)
from mindport.validate.own.observation import CellRecord, Seen
from mindport.validate.own.places import Place
from mindport.validate.own.shapes import Shape, conforms


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
    made: Made = {}
    for scope, steps in stretches:
        made |= match_cells(scope, steps, layout)
    for scope, steps in stretches:
        for step in steps:
            options = _options(step, steps, scope, blocks, layout, made)
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
    made: Made,
) -> Iterator[tuple[Place, Shape]]:
    """Yield places where a tap may be, the surest first."""
    last = steps[-1]
    if scope.block is not None and step is last:
        yield from _ends(scope.block, "output", layout.shapes[step.tap])
    if step.tap == _into_blocks(layout):
        yield from _ends(blocks[0], "input", layout.shapes[step.tap])
    if step.tap in made:
        record, part = made[step.tap]
        yield Place(record.path, part=part), record.outputs[0].shape
    for consumer in layout.steps:
        if consumer.inputs == (step.tap,) and consumer.tap in made:
            record, _ = made[consumer.tap]
            yield Place(record.path, "input"), record.inputs[0].shape
    if isinstance(step.operation, (Score, Softmax)):
        end = "input" if isinstance(step.operation, Score) else "output"
        yield from _only(scope, is_softmax, end, layout.shapes[step.tap])
    if isinstance(step.operation, Activate):
        yield from _only(scope, is_activation, "output", layout.shapes[step.tap])
    if isinstance(step.operation, Project):
        yield from _between(step, steps, scope, layout, made)


def _into_blocks(layout: Layout) -> str:
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
    step: Step, steps: Sequence[Step], scope: Scope, layout: Layout, made: Made
) -> Iterator[tuple[Place, Shape]]:
    """Yield the cell that ends in a projection whose result is then added to the residual.

    That is an attention or a feed-forward part which computes without cells of its own, between
    two cells that are known. What it returns goes into a sum, so if another cell is given it at
    once, it has added the residual already and is something else.
    """
    branches = [s for s, after in pairwise(steps) if _is_branch(s, after)]
    if scope.block is None or step not in branches:
        return
    known = [(n, made[s.tap][0]) for n, s in enumerate(steps) if s.tap in made]
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
