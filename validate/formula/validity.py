"""Which elements of a tap have a meaning: not padding's, nor the score of a hidden key."""

from __future__ import annotations

import numpy as np

from mindport.migrate.computation import Score, Softmax, Step


def visible_keys(real: np.ndarray, causal: bool) -> np.ndarray:
    """Return which keys a query may see, (batch, 1, query, key).

    Args:
        real: Where there is a token and no padding, (batch, seq).
        causal: Whether a query sees no later key.
    """
    seq = real.shape[1]
    shown = np.broadcast_to(real[:, None, None, :], (len(real), 1, seq, seq))
    return shown & np.tril(np.ones((seq, seq), bool)) if causal else shown


def valid_elements(step: Step, real: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return where the elements of a tap are to be compared.

    Args:
        step: What makes the tap.
        real: Where there is a token and no padding, (batch, seq).
        shape: Of the tap.

    Returns:
        Boolean, over the leading axes of the tap: (batch,) for what is pooled, (batch, seq) for
        hidden states, (batch, heads, query) for attention weights, and the whole shape for
        scores, where a hidden key's score may be anything that hides it.
    """
    operation = step.operation
    if isinstance(operation, Score):
        shown = visible_keys(real, operation.causal) & real[:, None, :, None]
        return np.broadcast_to(shown, shape)
    if isinstance(operation, Softmax):
        return np.broadcast_to(real[:, None, :], shape[:3])
    if shape[:2] == real.shape:
        return real
    return np.ones(shape[:1], bool)
