"""Which shape every tap has, and whether a found tensor is one in another arrangement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

from mindport.migrate.architecture import Architecture, Head, Kind, dimension, over_layers
from mindport.migrate.computation import Lookup, Project, Score, Softmax, Step

Shape = tuple[int, ...]


def matrix_sizes(
    architecture: Architecture, head: Head, config: Mapping[str, Any]
) -> dict[str, tuple[int, int]]:
    """Return (in, out) of every matrix and (rows, width) of every table, by full module path.

    Both the path with the body's prefix and the one without it are keys, as steps use the latter.
    """
    sizes: dict[str, tuple[int, int]] = {}
    layers = config[architecture.layers]
    own = (*head.parameters, *(tied.parameter for tied in head.tied))
    for parameters in (head.body, own):
        for parameter, layer in over_layers(parameters, layers):
            if len(parameter.shape) != 2:
                continue
            first, last = (dimension(axis, config) for axis in parameter.shape)
            module = parameter.module.replace("{i}", str(layer))
            sizes[module] = (last, first) if parameter.kind is Kind.LINEAR else (first, last)
    return sizes


def tap_shapes(
    steps: Sequence[Step],
    sizes: Mapping[str, tuple[int, int]],
    config: Mapping[str, Any],
    batch: int,
    length: int,
) -> dict[str, Shape]:
    """Return the shape of every tap.

    Args:
        steps: Of the head, filled in.
        sizes: From :func:`matrix_sizes`.
        config: The resolved config.
        batch: Rows of the inputs.
        length: Tokens of each.
    """
    shapes: dict[str, Shape] = {}
    for step in steps:
        operation = step.operation
        if isinstance(operation, Lookup):
            shapes[step.tap] = (batch, length, sizes[operation.tables[0][0]][1])
        elif isinstance(operation, (Score, Softmax)):
            heads = config[operation.heads] if isinstance(operation, Score) else 0
            shapes[step.tap] = (
                shapes[step.inputs[0]] if not heads else (batch, heads, length, length)
            )
        elif isinstance(operation, Project):
            leading = shapes[step.inputs[0]][:-1] if operation.rows == "all" else (batch,)
            width = sizes[operation.module][1] // operation.part[1]
            shapes[step.tap] = leading if operation.squeeze else (*leading, width)
        else:
            # Norm, Activate and Add keep a shape; Mix gives back that of the values.
            shapes[step.tap] = shapes[step.inputs[-1]]
    return shapes


def conforms(found: Sequence[int], wanted: Sequence[int]) -> bool:
    """Return whether a tensor is the wanted one, perhaps with neighbouring axes merged or split.

    ``(batch * seq, width)`` and ``(batch, seq, heads, head_dim)`` conform to ``(batch, seq,
    width)``: the elements stand in the same order. A transposed one does not.
    """
    ours, theirs = set(accumulate(found, mul)), set(accumulate(wanted, mul))
    whole = tuple(found) == tuple(wanted)
    return whole or (
        bool(found) and max(ours) == max(theirs) and (ours <= theirs or theirs <= ours)
    )
