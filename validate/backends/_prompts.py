"""What every backend's prompt model asks first: which inputs the network takes, and if a cache."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mindport.migrate.architecture import Head
from mindport.migrate.errors import MindportError


def inputs_of(
    head: Head, inputs: Mapping[str, np.ndarray], first_position: int
) -> dict[str, np.ndarray]:
    """Return the inputs that a network takes, its positions as it counts them.

    Args:
        head: What the network is; GPT-2, say, would add token types to the embeddings.
        inputs: As a prompt gives them, positions from 0 on.
        first_position: What the network calls the position of the first token.
    """
    taken = {name: array for name, array in inputs.items() if name in head.inputs}
    if "position_ids" in taken:
        taken["position_ids"] = taken["position_ids"] + first_position
    return taken


def require_cache(head: Head) -> None:
    """Raise if a network cannot go on from a cache.

    Raises:
        MindportError: With the reason.
    """
    if head.prompts != "prefix":
        raise MindportError(
            f"{head.class_name} cannot go on from a cache: every token sees those behind it too.",
            "Ask it with whole texts, without past.",
        )
