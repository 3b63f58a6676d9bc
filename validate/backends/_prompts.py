"""What every backend's prompt model asks first: which inputs the network takes, and if a cache."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mindport.migrate.architecture import Head
from mindport.migrate.errors import MindportError


def inputs_of(head: Head, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the inputs that a network takes; GPT-2 would add token types to the embeddings."""
    return {name: array for name, array in inputs.items() if name in head.inputs}


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
