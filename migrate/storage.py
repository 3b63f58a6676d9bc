"""Which tensors a dialect stores the parameters of a head in, and how each is had from the other.

Between two dialects stands torch's layout with upstream's modules: a tensor of the target is made
of parameters, and each of those is had from tensors of the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mindport.migrate.architecture import Kind, at_layer
from mindport.migrate.dialect import Dialect
from mindport.migrate.expected import Expected
from mindport.migrate.joints import Split, TakePart
from mindport.migrate.layout import Rule
from mindport.migrate.operations import COPY, Joint, Operation

Key = tuple[str, Kind, int | None]  # module, kind and layer of a parameter


@dataclass(frozen=True)
class Stored:
    """A tensor as a dialect stores it.

    Attributes:
        names: Every name under which it may be stored, the proper one first.
        shape: In the dialect.
        members: The parameters that it holds, in order.
        operation: What makes torch's layout into the dialect's.
        split: How the fused parameter is cut: into its members, or, of one member, into this and
            other tensors; None if it is that one parameter.
        number: Which part of its one member it is.
        shared_names: Names of what is tied to it.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    members: tuple[Expected, ...]
    operation: Operation
    split: Split | None = None
    number: int = 0
    shared_names: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self.members[0].parameter.kind


@dataclass(frozen=True)
class Recipe:
    """How an array is made: each piece changed, all joined, the result changed.

    Attributes:
        pieces: Tensors of the source, each with what is done to it.
        joint: What makes one of several; None for a single piece, whose operations are then all.
        operations: What is done after that.
    """

    pieces: tuple[tuple[Stored, tuple[Operation, ...]], ...]
    joint: Joint | None = None
    operations: tuple[Operation, ...] = ()

    def then(self, *operations: Operation) -> Recipe:
        """Return the recipe with more done at the end."""
        more = tuple(operation for operation in operations if operation != COPY)
        if self.joint is not None:
            return replace(self, operations=self.operations + more)
        ((stored, before),) = self.pieces
        return Recipe(((stored, before + more),))

    def part(self, split: Split, number: int) -> Recipe:
        """Return one part of the result: its own piece, if the pieces were joined just so."""
        if self.joint == split.inverse() and not self.operations:
            return Recipe((self.pieces[number],))
        return self.then(TakePart(split, number))


def key_of(parameter: Expected) -> Key:
    """Return what tells a parameter from the others."""
    return parameter.module, parameter.parameter.kind, parameter.layer


def stored_tensors(
    parameters: Sequence[Expected], dialect: Dialect, architecture: str, config: Mapping[str, Any]
) -> Iterator[Stored]:
    """Yield the tensors that a dialect stores parameters in, in their order.

    Args:
        parameters: Of a head.
        dialect: How it is spelled.
        architecture: Whose they are.
        config: The resolved config.

    Raises:
        ValueError: If a rule fuses what the head does not have together, or what cannot be fused.
    """
    layout = dialect.layout(architecture)
    by_key = {key_of(parameter): parameter for parameter in parameters}
    for parameter in parameters:
        module, kind, layer = key_of(parameter)
        operation = dialect.operation(parameter.parameter)
        rule = layout.rule_of(module)
        operation = rule.lay_out(kind, operation) if rule else operation
        split = rule.split(kind, config) if rule else None
        if rule is None or split is None:
            names = _names(parameter, dialect, architecture)
            shape = operation.shape(parameter.torch_shape)
            shared = parameter.shared_names
            yield Stored(names, shape, (parameter,), operation, shared_names=shared)
        elif len(rule.stored) > 1:
            shapes = split.shape(parameter.torch_shape)
            for number, shape in enumerate(shapes):
                names = _names(parameter, dialect, architecture, number)
                yield Stored(names, operation.shape(shape), (parameter,), operation, split, number)
        elif module == rule.modules[0]:
            members = _members(rule, by_key, kind, layer)
            whole = split.inverse().shape([member.torch_shape for member in members])
            names = _names(parameter, dialect, architecture)
            yield Stored(names, operation.shape(whole), members, operation, split)


def _members(
    rule: Rule, by_key: Mapping[Key, Expected], kind: Kind, layer: int | None
) -> tuple[Expected, ...]:
    absent = [module for module in rule.modules if (module, kind, layer) not in by_key]
    if absent:
        raise ValueError(f"{rule.stored[0]} fuses {absent[0]}, which has no {kind.value} here")
    return tuple(by_key[module, kind, layer] for module in rule.modules)


def _names(
    parameter: Expected, dialect: Dialect, architecture: str, part: int = 0
) -> tuple[str, ...]:
    module, kind, layer = key_of(parameter)
    patterns = (
        name
        for prefix in parameter.prefixes
        for name in dialect.stored_names(architecture, module, kind, prefix, part)
    )
    return tuple(dict.fromkeys(at_layer(name, layer) for name in patterns))


def parameter_recipes(stored: Sequence[Stored]) -> dict[Key, Recipe]:
    """Return how each parameter, in torch's layout, is had from a dialect's tensors."""
    recipes: dict[Key, Recipe] = {}
    parts: dict[Key, list[Stored]] = {}
    for tensor in stored:
        plain = Recipe(((tensor, ()),)).then(tensor.operation.inverse())
        if tensor.split is None:
            recipes[key_of(tensor.members[0])] = plain
        elif len(tensor.members) > 1:
            for number, member in enumerate(tensor.members):
                recipes[key_of(member)] = plain.part(tensor.split, number)
        else:
            parts.setdefault(key_of(tensor.members[0]), []).append(tensor)
    for key, tensors in parts.items():
        split = tensors[0].split
        if split is None:
            raise AssertionError("a part is a part of a split")
        pieces = tuple(Recipe(((t, ()),)).then(t.operation.inverse()).pieces[0] for t in tensors)
        recipes[key] = Recipe(pieces, split.inverse())
    return recipes


def target_recipe(
    tensor: Stored, recipes: Mapping[Key, Recipe], resize: Sequence[Operation] = ()
) -> Recipe:
    """Return how a tensor of the target is made of tensors of the source.

    Args:
        tensor: Of the target.
        recipes: How each parameter is had.
        resize: What is done to the parameter in torch's layout on the way.

    Raises:
        ValueError: If it fuses parameters that are themselves put together.
    """
    made = [recipes[key_of(member)] for member in tensor.members]
    if len(made) == 1:
        whole = made[0].then(*resize)
        if tensor.split is not None:
            whole = whole.part(tensor.split, tensor.number)
        return whole.then(tensor.operation)
    if any(recipe.joint is not None for recipe in made) or tensor.split is None:
        raise ValueError(f"{tensor.names[0]} fuses what the source stores in several parts")
    pieces = tuple(recipe.pieces[0] for recipe in made)
    whole = _as_it_was(pieces, tensor.split) or Recipe(pieces, tensor.split.inverse())
    return whole.then(tensor.operation)


def _as_it_was(
    pieces: Sequence[tuple[Stored, tuple[Operation, ...]]], split: Split
) -> Recipe | None:
    """Return the one tensor whose parts, in order, the pieces are; None if they are not."""
    first, before = pieces[0][0], pieces[0][1][:-1]
    if list(pieces) != [(first, (*before, TakePart(split, n))) for n in range(split.parts)]:
        return None
    return Recipe(((first, before),))
