"""A complete, checked plan of a port, made from names, shapes and dtypes alone.

Every tensor of the source is used once or left out with a reason, every parameter of the target
is set once; otherwise *all* problems are raised together and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mindport.migrate.architecture import Architecture, Head
from mindport.migrate.checkpoints.tensors import TensorInfo
from mindport.migrate.dialect import Dialect
from mindport.migrate.entry import Entry, Piece
from mindport.migrate.errors import PlanError
from mindport.migrate.expected import expected_parameters
from mindport.migrate.left_over import left_over, lose
from mindport.migrate.misfits import advice_on, misfit, refuse_other_heads
from mindport.migrate.operations import Operation
from mindport.migrate.storage import (
    Recipe,
    Stored,
    parameter_recipes,
    stored_tensors,
    target_recipe,
)
from mindport.migrate.transfer import Transfer
from mindport.migrate.vocabulary_rows import resize_vocabulary

__all__ = ["Entry", "Piece", "Plan", "make_plan"]


@dataclass(frozen=True)
class Plan(Transfer):
    """What goes where.

    Attributes:
        architecture: The model type.
        head: The head of the target.
        config: The resolved config.
        source: The source's dialect.
        target: The target's dialect.
        entries: One per tensor, in the target's order, what is left out at the end.
        vocabulary: How many tokens the target has where that is not the config's number, or None.
    """

    architecture: Architecture
    head: Head
    config: Mapping[str, Any]
    source: Dialect
    target: Dialect
    entries: tuple[Entry, ...]
    vocabulary: int | None = None

    @property
    def title(self) -> str:
        """What is carried, in words."""
        return f"{self.architecture.title} {self.head.class_name}"

    @property
    def labels(self) -> dict[str, str | None]:
        """``architecture``, ``head``, ``source_layout`` and ``target_layout``, for reports."""
        return {
            "architecture": self.architecture.name,
            "head": self.head.name,
            "source_layout": self.source.name,
            "target_layout": self.target.name,
        }

    @property
    def framework(self) -> str:
        """Whose files the target is kept in."""
        return self.target.framework

    @property
    def stated(self) -> dict[str, Any]:
        """The fields that the target's config has otherwise than the source's."""
        vocabulary = {} if self.vocabulary is None else {"vocab_size": self.vocabulary}
        return {
            **vocabulary,
            "model_type": self.architecture.name,
            "architectures": [self.head.class_name],
        }


def make_plan(
    architecture: Architecture,
    head: Head,
    config: Mapping[str, Any],
    available: Mapping[str, TensorInfo],
    *,
    source: Dialect,
    target: Dialect,
    dtype: str | None = None,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
    allow_loss: bool = False,
    vocabulary: int | None = None,
) -> Plan:
    """Plan the port of one checkpoint.

    Args:
        architecture: What it is.
        head: What the target shall have on top.
        config: The resolved config.
        available: The source's tensors.
        source: How the source is spelled.
        target: How the target shall be spelled.
        dtype: Cast floating tensors to this type; None keeps each one's own.
        allow_missing: Give absent parameters their initial value instead of refusing.
        allow_unexpected: Leave unknown tensors behind instead of refusing.
        allow_loss: Leave behind what the target has no place for instead of refusing.
        vocabulary: How many tokens the target shall have; None keeps the number.

    Raises:
        PlanError: With every missing, unexpected, doubled, mis-shaped and lost tensor.
        MindportError: If the target has no such architecture or head.
    """
    refuse_other_heads(architecture, head, target)
    parameters = tuple(expected_parameters(architecture, head, config, source))
    absent = target.layout(architecture.name).absent
    inward = tuple(stored_tensors(parameters, source, architecture.name, config))
    outward = stored_tensors(
        [p for p in parameters if p.module not in absent], target, architecture.name, config
    )
    left, problems = dict(available), list[str]()
    found = {
        tensor: _take(tensor, left, problems, config, missing_is_fine=allow_missing)
        for tensor in inward
    }
    entries: list[Entry] = []
    recipes = parameter_recipes(inward)
    count = config[architecture.heads[architecture.default_head].body[0].shape[0]]
    resized = vocabulary if vocabulary != count else None
    for tensor in outward:
        resize = _resize(tensor, architecture, count, resized)
        recipe = target_recipe(tensor, recipes, resize)
        stored = [found[piece] for piece, _ in recipe.pieces]
        shape = _shape(recipe, [piece.shape for piece, _ in recipe.pieces])
        if all(stored):
            entries.append(_ported(tensor, recipe, shape, [s[0] for s in stored], dtype, problems))
            entries.extend(_tied(tensor, shape, stored[0][1:]))
        elif not any(stored) and allow_missing:
            entries.append(_generated(tensor, shape, dtype))
        elif any(stored):
            problems.append(f"incomplete: not all is there that {tensor.names[0]} is made of")
    lost = [t for t in inward if t.members[0].module in absent]
    gone = {t: f"{target.title}: {absent[t.members[0].module]}" for t in lost}
    entries.extend(lose({name: (gone[t], info) for t in lost for name, info in found[t]},
                        problems, allow_loss))  # fmt: skip
    entries.extend(left_over(architecture, head, left, source, problems, allow_unexpected))
    if problems:
        raise PlanError(
            f"The checkpoint does not fit {architecture.title} with head {head.name!r} "
            f"({head.class_name}): {len(problems)} problem{'s' * (len(problems) > 1)}.",
            problems,
            advice_on(problems),
        )
    return Plan(architecture, head, config, source, target, tuple(entries), resized)


Found = tuple[str, TensorInfo]


def _take(
    tensor: Stored,
    left: dict[str, TensorInfo],
    problems: list[str],
    config: Mapping[str, Any],
    *,
    missing_is_fine: bool,
) -> list[Found]:
    """Take a tensor, and what is tied to it, out of what is left; add what is wrong with it."""
    own = [name for name in tensor.names if name in left]
    shared = [name for name in tensor.shared_names if name in left]
    if len(own) > 1:
        problems.append(f"doubled: {' and '.join(own)} are the same parameter")
    names = (*own, *shared)
    problems += filter(None, (misfit(tensor, name, left[name], config) for name in names))
    if not names and not missing_is_fine:
        problems.append(f"missing: {tensor.names[0]} {list(tensor.shape)}")
    return [(name, left.pop(name)) for name in names]


def _resize(
    tensor: Stored, architecture: Architecture, count: int, resized: int | None
) -> tuple[Operation, ...]:
    """Return what gives a parameter the target's number of tokens."""
    field = architecture.heads[architecture.default_head].body[0].shape[0]
    axes = tensor.members[0].parameter.shape
    if resized is None or field not in axes:
        return ()
    return (resize_vocabulary(axes.index(field), count, resized),)


def _shape(recipe: Recipe, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    made = [
        _after(operations, shape)
        for (_, operations), shape in zip(recipe.pieces, shapes, strict=True)
    ]
    return _after(recipe.operations, recipe.joint.shape(made) if recipe.joint else made[0])


def _after(operations: Sequence[Operation], shape: tuple[int, ...]) -> tuple[int, ...]:
    for operation in operations:
        shape = operation.shape(shape)
    return shape


def _ported(
    tensor: Stored,
    recipe: Recipe,
    shape: tuple[int, ...],
    stored: Sequence[Found],
    dtype: str | None,
    problems: list[str],
) -> Entry:
    name, info = stored[0]
    entry = Entry(
        action="ported",
        source=name,
        target=tensor.names[0],
        shape=info.shape,
        target_shape=shape,
        dtype=info.dtype,
        target_dtype=dtype or info.dtype,
        operations=recipe.pieces[0][1],
        kind=tensor.kind,
    )
    if recipe.joint is None:
        return entry
    if len({info.dtype for _, info in stored}) > 1:
        said = ", ".join(f"{name} is {info.dtype}" for name, info in stored)
        problems.append(f"of different dtypes: {said}, and are to be one")
    pieces = tuple(
        Piece(name, info.shape, info.dtype, operations)
        for (name, info), (_, operations) in zip(stored, recipe.pieces, strict=True)
    )
    return replace(
        entry, source="", shape=shape, operations=recipe.operations, pieces=pieces,
        joint=recipe.joint,
    )  # fmt: skip


def _tied(tensor: Stored, shape: tuple[int, ...], others: Sequence[Found]) -> list[Entry]:
    owner = tensor.names[0]
    return [
        Entry(
            action="tied",
            source=name,
            target=owner,
            shape=info.shape,
            target_shape=shape,
            dtype=info.dtype,
            target_dtype=info.dtype,
            reason=f"shares the values of {owner}",
        )
        for name, info in others
    ]


def _generated(tensor: Stored, shape: tuple[int, ...], dtype: str | None) -> Entry:
    return Entry(
        action="generated",
        source="",
        target=tensor.names[0],
        shape=shape,
        target_shape=shape,
        dtype=dtype or "float32",
        target_dtype=dtype or "float32",
        reason="absent in the source; given its initial value",
        kind=tensor.kind,
    )
