"""Tell what a checkpoint is from its names and its config: its dialect, its head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mindport.migrate.architecture import Architecture, Head, Kind, Parameter
from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.dialect import TORCH, Dialect
from mindport.migrate.dialects import DIALECTS
from mindport.migrate.errors import ConfigError, MindportError, did_you_mean
from mindport.migrate.expected import known_names, name_pattern


def detect_dialect(names: Iterable[str]) -> Dialect:
    """Return the dialect that a set of tensor names is written in.

    Every model here has embeddings, and only MindSpore calls one ``embedding_table``; a library
    has a sign of its own, of which the longest counts.
    """
    stored = list(names)
    signed = sorted((d for d in DIALECTS.values() if d.sign), key=lambda d: -len(d.sign))
    return next((d for d in signed if any(n.endswith(d.sign) for n in stored)), TORCH)


def holds_embeddings(architecture: Architecture, names: Iterable[str], dialect: Dialect) -> bool:
    """Return whether an embedding of the architecture is stored under the dialect's spelling.

    Unlike :func:`detect_dialect` this tells a checkpoint of another layout from one that lacks
    its embeddings.
    """
    stored = set(names)
    modules = {
        p.module for h in architecture.heads.values() for p in h.body if p.kind is Kind.EMBEDDING
    }
    return dialect.has(architecture.name) and any(
        name in stored
        for module in modules
        for prefix in ("", architecture.prefix)
        for name in dialect.stored_names(architecture.name, module, Kind.EMBEDDING, prefix)
    )


def refuse_other_architecture(
    architecture: Architecture, names: Iterable[str], source: Dialect
) -> None:
    """Raise when the tensors are named like another architecture's.

    Raises:
        MindportError: With the architecture that they look like.
    """
    stored = list(names)
    patterns = [name_pattern(name) for name in stored]
    fits = {}
    for name in architecture_names():
        known = known_names(load_architecture(name), source)
        fits[name] = sum(pattern in known for pattern in patterns)
    best = max(fits, key=lambda name: fits[name])
    if fits[best] > 2 * fits[architecture.name]:
        title = load_architecture(best).title
        raise MindportError(
            f"{fits[best]} of the {len(stored)} tensors are named like {title}'s, "
            f"{fits[architecture.name]} like {architecture.title}'s.",
            f"Use the architecture {best!r}, or another checkpoint.",
        )


def choose_head(
    architecture: Architecture,
    requested: str | None,
    config: Mapping[str, Any],
    names: Iterable[str],
    source: Dialect,
) -> Head:
    """Return the head to port: the one asked for, the config's, or the one the tensors show.

    Args:
        architecture: What it is.
        requested: The user's choice, or None.
        config: The contents of ``config.json``.
        names: The names of the tensors.
        source: How they are spelled.

    Raises:
        MindportError: If the head asked for, or the config's class, is unknown.
    """
    if requested is not None:
        if requested not in architecture.heads:
            raise MindportError(
                f"{architecture.title} has no head {requested!r}."
                f"{did_you_mean(requested, architecture.heads)}"
            )
        return architecture.heads[requested]
    classes = config.get("architectures") or []
    if classes:
        head = architecture.head_of_class(str(classes[0]))
        if head is None:
            raise ConfigError(
                f"The config names the class {classes[0]!r}, which mindport does not know.",
                f"Choose a head with --head: {', '.join(architecture.heads)}.",
            )
        return head
    return _head_of_names(architecture, set(names), source)


def _head_of_names(architecture: Architecture, names: set[str], source: Dialect) -> Head:
    def is_there(parameter: Parameter) -> bool:
        stored = source.stored_names(architecture.name, parameter.module, parameter.kind)
        return not names.isdisjoint(stored)

    heads = [head for head in architecture.heads.values() if head.parameters]
    complete = [head for head in heads if all(map(is_there, head.parameters))]
    if complete:
        return max(complete, key=lambda head: len(head.parameters))
    default = architecture.heads[architecture.default_head]
    # A default head without parameters of its own (GPT-2's tied one) is there with the body.
    return architecture.heads["none"] if default.parameters else default
