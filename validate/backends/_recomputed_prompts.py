"""Prompts for a network without a cache: it is told the tokens of before once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mindport.migrate.architecture import Head
from mindport.validate.backends._prompts import inputs_of, require_cache

Forward = Callable[[Mapping[str, np.ndarray]], np.ndarray]
Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Remembered:
    """In the place of a cache: what has been fed.

    Attributes:
        inputs: int64 (batch, seq) each, the mask excepted, which comes with every call anew.
    """

    inputs: Mapping[str, np.ndarray]


class RecomputedPrompts:
    """A network as a :class:`mindport.prompts.PromptModel`.

    Padding between what came before and what comes now is taken out, so that a network that counts
    positions itself counts right.

    Args:
        forward: Returns all logits, float32 (batch, seq, vocab), for int64 inputs (batch, seq).
        head: What the network is.
        first_position: Of a sequence.
    """

    def __init__(self, forward: Forward, head: Head, first_position: int) -> None:
        self._forward, self._head, self._first = forward, head, first_position

    def answer(
        self, inputs: Mapping[str, np.ndarray], positions: np.ndarray, past: Any = None
    ) -> tuple[np.ndarray, Remembered | None]:
        """Return rows of logits; see :class:`mindport.prompts.PromptModel`.

        Raises:
            MindportError: If there is a past and what follows would change it.
        """
        fed = inputs_of(self._head, inputs, self._first)
        if past is None:
            return _rows(self._forward(fed), positions), None
        require_cache(self._head)
        mask = fed.pop("attention_mask")
        whole = {
            name: np.concatenate([past.inputs[name], array], axis=1) if past.inputs else array
            for name, array in fed.items()
        }
        before = mask.shape[1] - fed["input_ids"].shape[1]
        compact, place = _without_holes({**whole, "attention_mask": mask})
        at = np.take_along_axis(place, before + positions, 1)  # (batch, k)
        return _rows(self._forward(compact), at), Remembered(whole)

    def cache(self, batch: int, room: int) -> Remembered:
        """Return an empty memory; see :class:`mindport.prompts.PromptModel`.

        Raises:
            MindportError: If what follows would change what came before.
        """
        require_cache(self._head)
        return Remembered({})

    def select(self, cache: Remembered, index: np.ndarray, room: int) -> Remembered:
        """Return what some sequences were; see :class:`mindport.prompts.PromptModel`.

        Raises:
            MindportError: If what follows would change what came before.
        """
        require_cache(self._head)
        return Remembered({name: array[index] for name, array in cache.inputs.items()})


def _rows(logits: np.ndarray, positions: np.ndarray) -> np.ndarray:
    rows: np.ndarray = np.take_along_axis(logits, positions[..., None], 1)
    return rows


def _without_holes(inputs: Inputs) -> tuple[Inputs, np.ndarray]:
    """Move all padding to the end.

    Returns:
        The inputs, (batch, longest), and (batch, seq), where each token has gone to. Padding keeps
        the position of the last real token, which a network surely has.
    """
    mask = inputs["attention_mask"] != 0
    order = np.argsort(~mask, axis=1, kind="stable")  # (batch, seq), real tokens first
    counts = mask.sum(1, keepdims=True)
    longest = int(counts.max())
    place = np.minimum(np.argsort(order, axis=1, kind="stable"), longest - 1)
    moved = {n: np.take_along_axis(a, order[:, :longest], 1) for n, a in inputs.items()}
    if "position_ids" in moved:
        last = np.take_along_axis(moved["position_ids"], counts - 1, 1)
        padding = np.arange(longest) >= counts
        moved["position_ids"] = np.where(padding, last, moved["position_ids"])
    return moved, place
