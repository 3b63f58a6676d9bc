"""What may be wrong with weights: values that are not finite, or that a dtype cannot hold."""

from __future__ import annotations

import numpy as np

from mindport.migrate.checkpoints.tensors import DTYPES

# The exponent bits of the two-byte types; all of them set means NaN or infinite.
_EXPONENT = {"float16": 0x7C00, "bfloat16": 0x7F80}
_PIECE = 1 << 17  # values looked at in one go: they and the answers stay in cache


class FiniteCheck:
    """Counts values that are NaN or infinite, in memory of a fixed size.

    Args:
        dtype: Of the values.
    """

    def __init__(self, dtype: str) -> None:
        self._mask = _EXPONENT.get(dtype)
        self._floating = DTYPES[dtype].floating
        self._scratch = np.empty(_PIECE, np.uint16 if self._mask else np.bool_)

    def count(self, values: np.ndarray) -> int:
        """Return how many of ``values``, ``(n,)`` of the dtype, are not finite."""
        if not self._floating:
            return 0
        return sum(
            self._count(values[start : start + _PIECE]) for start in range(0, values.size, _PIECE)
        )

    def _count(self, values: np.ndarray) -> int:
        scratch = self._scratch[: values.size]
        if self._mask is None:
            np.isfinite(values, out=scratch)
            return 0 if scratch.all() else int(values.size - scratch.sum())
        np.bitwise_and(values.view(np.uint16), self._mask, out=scratch)
        return int((scratch == self._mask).sum()) if scratch.max() == self._mask else 0


def cast_values(values: np.ndarray, out: np.ndarray) -> None:
    """Round values to another dtype, to nearest, ties to even; what is too large becomes infinite.

    Args:
        values: ``(n,)``.
        out: ``(n,)`` of the dtype wanted.
    """
    with np.errstate(over="ignore"):
        np.copyto(out, values, casting="unsafe")
