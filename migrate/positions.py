"""Which position each token of a sequence has, as an architecture counts them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mindport.migrate.architecture import Architecture


def first_position(architecture: Architecture, config: Mapping[str, Any]) -> int:
    """Return the position of the first token of a sequence."""
    behind = architecture.positions_after
    return int(config[behind]) + 1 if behind else 0


def longest_sequence(architecture: Architecture, config: Mapping[str, Any]) -> int:
    """Return how many tokens a sequence may have: as many as there are positions for them."""
    return int(config[architecture.positions]) - first_position(architecture, config)


def position_ids(
    architecture: Architecture, config: Mapping[str, Any], ids: np.ndarray
) -> np.ndarray:
    """Return the positions that upstream's network gives to tokens, int64 (batch, seq).

    Args:
        architecture: The description.
        config: The resolved config.
        ids: Token ids, (batch, seq). Where positions are counted behind an id, tokens of that id
            stand at it and are not counted, wherever they are
            (``RobertaEmbeddings.create_position_ids_from_input_ids``).
    """
    if not architecture.positions_after:
        return np.tile(np.arange(ids.shape[1], dtype=np.int64), (len(ids), 1))
    behind = int(config[architecture.positions_after])
    counted = (ids != behind).astype(np.int64)
    placed: np.ndarray = np.cumsum(counted, axis=1) * counted + behind
    return placed
