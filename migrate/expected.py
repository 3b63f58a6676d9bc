"""What a checkpoint of an architecture and head holds, name by name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mindport.migrate.architecture import (
    Architecture,
    Buffer,
    Head,
    Parameter,
    Tied,
    at_layer,
    dimension,
    over_layers,
)
from mindport.migrate.dialect import Dialect


@dataclass(frozen=True)
class Expected:
    """One parameter of one layer.

    Attributes:
        parameter: Its description, the layer filled in; ``module`` is the full path in the target.
        names: Every name under which the source may store it, the proper one first.
        torch_shape: Its shape in torch's layout.
        shared_names: Names of the parameters tied to it; a file may store any of them as well,
            or instead.
        module: Its module as the architecture file has it: below the body's prefix, ``{i}`` in it.
        layer: The layer; None if it is not per layer.
        prefixes: What may stand before ``module``, the target's first.
    """

    parameter: Parameter
    names: tuple[str, ...]
    torch_shape: tuple[int, ...]
    shared_names: tuple[str, ...] = ()
    module: str = ""
    layer: int | None = None
    prefixes: tuple[str, ...] = ("",)

    def spell(self, dialect: Dialect) -> str:
        """Return its name in a dialect."""
        return dialect.spell(self.parameter.module, self.parameter.kind)

    def shape(self, dialect: Dialect) -> tuple[int, ...]:
        """Return its shape in a dialect."""
        return dialect.operation(self.parameter).shape(self.torch_shape)


def expected_parameters(
    architecture: Architecture, head: Head, config: Mapping[str, Any], source: Dialect
) -> Iterator[Expected]:
    """Yield every parameter of a head in network order, tied ones once.

    A body may stand with or without its prefix: a bare ``GPT2Model`` saves ``wte.weight``, a
    ``GPT2LMHeadModel`` saves ``transformer.wte.weight``, and both are read for either.
    """
    ties = [tied for tied in head.tied if is_tied(tied, config)]
    untied = [tied.parameter for tied in head.tied if tied not in ties]
    shared: dict[str, tuple[str, ...]] = {}
    for tied in ties:
        owner = source.spell(tied.to, tied.to_kind)
        names = source.stored_names(architecture.name, tied.parameter.module, tied.parameter.kind)
        shared[owner] = shared.get(owner, ()) + names
    prefixes = (head.prefix, "" if head.prefix else architecture.prefix)
    groups = ((head.body, prefixes), ((*head.parameters, *untied), ("",)))
    for parameters, before in groups:
        for parameter, layer in over_layers(parameters, config[architecture.layers]):
            item = _expect(parameter, layer, config, source, before)
            yield replace(item, shared_names=shared.get(item.spell(source), ()))


def _expect(
    parameter: Parameter,
    layer: int | None,
    config: Mapping[str, Any],
    source: Dialect,
    prefixes: tuple[str, ...],
) -> Expected:
    module = at_layer(parameter.module, layer)
    names = tuple(
        name for prefix in prefixes for name in source.spellings(prefix + module, parameter.kind)
    )
    shape = tuple(dimension(axis, config) for axis in parameter.shape)
    return Expected(
        replace(parameter, module=prefixes[0] + module),
        names,
        shape,
        module=parameter.module,
        layer=layer,
        prefixes=prefixes,
    )


def is_tied(tied: Tied, config: Mapping[str, Any]) -> bool:
    """Return whether the config ties this parameter."""
    return not tied.unless or bool(config[tied.unless])


@dataclass(frozen=True)
class Buffers:
    """The stored tensors of an architecture that hold no knowledge."""

    patterns: tuple[tuple[re.Pattern[str], Buffer], ...]

    def match(self, name: str) -> Buffer | None:
        """Return the buffer that ``name`` is, or None."""
        return next((b for pattern, b in self.patterns if pattern.fullmatch(name)), None)


def known_buffers(architecture: Architecture) -> Buffers:
    """Return the architecture's buffers, with and without the body's prefix."""
    optional_prefix = f"(?:{re.escape(architecture.prefix)})?"
    return Buffers(
        tuple(
            (re.compile(optional_prefix + _layer_pattern(buffer.name)), buffer)
            for buffer in architecture.buffers
        )
    )


def other_owner(architecture: Architecture, head: Head, name: str, source: Dialect) -> Head | None:
    """Return another head that has a parameter of this name where ``head`` has none, or None."""
    mine = {*head.body, *_own(head)}
    pattern = name_pattern(name)
    return next(
        (
            other
            for other in architecture.heads.values()
            if pattern in _known(architecture, other, source, mine)
        ),
        None,
    )


def known_names(architecture: Architecture, source: Dialect) -> frozenset[str]:
    """Return the names of all parameters of all heads, ``{i}`` for the layer."""
    heads = architecture.heads.values()
    return frozenset[str]().union(*(_known(architecture, head, source) for head in heads))


def name_pattern(name: str) -> str:
    """Return a stored name with ``{i}`` for the layer, as :func:`known_names` has it."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "{i}", name)


def _known(
    architecture: Architecture, head: Head, source: Dialect, leave_out: Collection[Parameter] = ()
) -> set[str]:
    name, layout = architecture.name, source.layout(architecture.name)
    prefixes_of: dict[Parameter, tuple[str, ...]] = {}
    prefixes_of |= dict.fromkeys(head.body, ("", architecture.prefix))
    prefixes_of |= dict.fromkeys(_own(head), ("",))
    return {
        spelling
        for parameter, prefixes in prefixes_of.items()
        if parameter not in leave_out
        for prefix in prefixes
        for part in range(len(layout.places(parameter.module)))
        for spelling in source.stored_names(name, parameter.module, parameter.kind, prefix, part)
    }


def _own(head: Head) -> tuple[Parameter, ...]:
    return (*head.parameters, *(tied.parameter for tied in head.tied))


def _layer_pattern(name: str) -> str:
    return re.escape(name).replace(r"\{i\}", r"\d+")
