"""The same mathematics in another order: what a correct run of a dtype may differ by.

Each variant feeds the model so that its sums are cut otherwise; none changes what it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mindport.validate.backends._torch_loading import other_attention

Inputs = Mapping[str, np.ndarray]
Taps = dict[str, np.ndarray]
_EXTRA = 5  # positions of padding that one variant adds; odd, so that blocks end elsewhere


class Reordered:
    """Runs a model in other orders.

    Args:
        model: A ``transformers`` model.
        run: Runs it once and returns taps, (batch, …).
        axes: Which axes of each tap run over positions.
        positions: How many positions the model has.
        pad: The id that stands at padding.
    """

    def __init__(
        self,
        model: Any,
        run: Callable[[Inputs], Taps],
        axes: Mapping[str, tuple[int, ...]],
        positions: int,
        pad: int,
    ) -> None:
        self._model, self._run, self._axes = model, run, axes
        self._positions, self._pad = positions, pad

    def variants(self, inputs: Inputs) -> Iterator[tuple[str, Taps]]:
        """Yield the name and the taps of each variant, in the shapes of the run as fed.

        Args:
            inputs: As fed, int64 (batch, seq).
        """
        yield "one row at a time", self._row_by_row(inputs)
        length = inputs["input_ids"].shape[1]
        if length + _EXTRA <= self._positions:
            taps = self._run(self._padded(inputs))
            cut = {name: self._resized(name, array, length) for name, array in taps.items()}
            yield f"{_EXTRA} more padded positions", cut
        with other_attention(self._model) as other:
            if other:
                yield f"attention by {other}", self._run(inputs)

    def _row_by_row(self, inputs: Inputs) -> Taps:
        length = inputs["input_ids"].shape[1]
        rows: list[Taps] = []
        for row, mask in enumerate(inputs["attention_mask"]):
            end = int(np.flatnonzero(mask)[-1]) + 1  # trailing padding is cut off
            taps = self._run({name: array[row : row + 1, :end] for name, array in inputs.items()})
            rows.append({name: self._resized(name, a, length) for name, a in taps.items()})
        return {name: np.concatenate([taps[name] for taps in rows]) for name in rows[0]}

    def _resized(self, name: str, array: np.ndarray, length: int) -> np.ndarray:
        """Cut the axes of positions to a length, or fill them up to it with zeros."""
        for axis in self._axes[name]:
            array = np.take(array, np.arange(min(array.shape[axis], length)), axis)
            widths = [(0, 0)] * array.ndim
            widths[axis] = (0, length - array.shape[axis])
            array = np.pad(array, widths)
        return array

    def _padded(self, inputs: Inputs) -> dict[str, np.ndarray]:
        fill = {"input_ids": self._pad, "attention_mask": 0}
        return {
            name: np.pad(array, ((0, 0), (0, _EXTRA)), constant_values=fill.get(name, 0))
            for name, array in inputs.items()
        }
