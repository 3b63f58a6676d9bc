"""The transpose of a matrix that is read row by row, at the speed of the cache."""

from __future__ import annotations

import numpy as np

# A column of this many rows is written as one run of the result.
ROWS = 256
_COLUMNS = 1024
_PADDING = 64  # bytes; without them, rows of 2^k bytes would all claim the same lines of the cache


class Transposer:
    """Puts blocks of rows into the columns of a matrix.

    Reading a column of a block touches a line of the cache per row; these lines are used again
    for the next columns only if they have not displaced each other, so the block goes through a
    scratch whose rows are a little apart.

    Args:
        dtype: Of the elements.
    """

    def __init__(self, dtype: np.dtype) -> None:
        width = _COLUMNS + _PADDING // dtype.itemsize
        self._scratch = np.empty((ROWS, width), dtype)

    def put(self, rows: np.ndarray, out: np.ndarray, start: int) -> None:
        """Write the transpose of a block.

        Args:
            rows: ``(n, columns)``.
            out: ``(columns, all_rows)``.
            start: Which of ``all_rows`` the first of ``rows`` is.
        """
        count, columns = rows.shape
        for first in range(0, count, ROWS):
            size = min(ROWS, count - first)
            for left in range(0, columns, _COLUMNS):
                width = min(_COLUMNS, columns - left)
                tile = self._scratch[:size, :width]
                tile[...] = rows[first : first + size, left : left + width]
                place = start + first
                out[left : left + width, place : place + size] = tile.T
