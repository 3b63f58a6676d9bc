"""What an architecture file says about a network that prompts are learned on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindport.migrate.architecture import Architecture, Head, Kind
from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.computation import Lookup, Score
from mindport.migrate.dialect import Dialect
from mindport.migrate.errors import MindportError
from mindport.migrate.positions import first_position, longest_sequence
from mindport.prompts.learning.model import Sizes


def network_sizes(architecture: Architecture, head: Head, config: Mapping[str, Any]) -> Sizes:
    """Return the sizes of a network.

    Args:
        architecture: Its description.
        head: Its head.
        config: The resolved config.
    """
    score = next(s.operation for s in head.steps if isinstance(s.operation, Score))
    table = next(p for p in head.body if p.module == word_embeddings(head))
    vocabulary, width = (config[str(name)] for name in table.shape)
    heads = config[score.heads]
    return Sizes(
        layers=config[architecture.layers],
        heads=heads,
        head_dim=width // heads,
        width=width,
        positions=longest_sequence(architecture, config),
        first_position=first_position(architecture, config),
        vocabulary=vocabulary,
    )


def word_embeddings(head: Head) -> str:
    """Return the module, relative to the body, whose table the token ids are looked up in."""
    lookups = (s.operation for s in head.steps if isinstance(s.operation, Lookup))
    return next(
        module for lookup in lookups for module, given in lookup.tables if given == "input_ids"
    )


def table_name(head: Head, dialect: Dialect) -> str:
    """Return the name of the parameter that holds the token embeddings."""
    return head.prefix + dialect.spell(word_embeddings(head), Kind.EMBEDDING)


def no_words(head: Head) -> MindportError:
    """Return the error for a head that cannot answer prompts."""
    able = [
        f"{architecture.title}: {' or '.join(names)}"
        for architecture in map(load_architecture, architecture_names())
        if (names := [h.name for h in architecture.heads.values() if h.prompts])
    ]
    return MindportError(
        f"The head {head.name!r} predicts no words, so no prompt can be learned for it.",
        f"Use a checkpoint with a language model's head ({'; '.join(able)}).",
    )
