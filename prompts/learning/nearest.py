"""What learned vectors look like in words."""

from __future__ import annotations

import numpy as np


def nearest_tokens(table: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return for each vector the token whose embedding points the most its way.

    Args:
        table: (vocabulary, width), token embeddings.
        vectors: (n, width).

    Returns:
        int64 (n,), by cosine. An embedding of a trigger token is nearest to itself.
    """
    lengths = np.linalg.norm(table, axis=1)
    lengths = np.where(lengths == 0, np.inf, lengths)
    cosines = (table.astype(np.float64) @ vectors.T.astype(np.float64)) / lengths[:, None]
    nearest: np.ndarray = cosines.argmax(axis=0)
    return nearest
