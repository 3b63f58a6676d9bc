"""One of our networks that answers prompts: rows of logits, with a cache if it is causal.

The cache has a capacity that does not change, so its shapes do not either, and a graph is compiled
once for all batches of one shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mindport.migrate.architecture import Head
from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import MindportError
from mindport.migrate.positions import first_position, longest_sequence
from mindport.validate.backends._mindspore_run import to_numpy, to_tensors
from mindport.validate.backends._prompts import inputs_of, require_cache

STEP = 16  # capacities are multiples of this, so that graphs are compiled once for many


@dataclass(frozen=True)
class Filled:
    """A cache, of which the first rows are filled.

    Attributes:
        states: Per layer keys and values, each (batch, heads, capacity, head_dim).
        rows: How many are filled, padding included.
    """

    states: tuple[tuple[Any, Any], ...]
    rows: int

    @property
    def capacity(self) -> int:
        """How many rows there are."""
        return int(self.states[0][0].shape[2])


class MindSporePrompts:
    """A network as a :class:`mindport.prompts.PromptModel`.

    Args:
        mindspore: The module.
        network: One of our cells.
        head: Its description.
    """

    def __init__(self, mindspore: Any, network: Any, head: Head) -> None:
        self._mindspore, self._network, self._head = mindspore, network, head
        self._logits = head.output_of("logits")
        described, config = load_architecture(network.architecture), vars(network.config)
        self._first = first_position(described, config)
        self._limit = longest_sequence(described, config)

    def answer(
        self, inputs: Mapping[str, np.ndarray], positions: np.ndarray, past: Filled | None = None
    ) -> tuple[np.ndarray, Filled | None]:
        """Return rows of logits; see :class:`mindport.prompts.PromptModel`.

        Raises:
            MindportError: If there is a cache and the network cannot go on from it, or it is full.
        """
        fed = {**inputs_of(self._head, inputs, self._first), "logits_at": positions}
        if past is None:
            output = self._network(**to_tensors(self._mindspore, fed))
            return to_numpy(self._mindspore, output[self._logits]), None
        require_cache(self._head)
        mask = fed["attention_mask"]
        # Rows that are still empty lie in the future, which the causal mask hides.
        fed["attention_mask"] = np.ones((len(mask), past.capacity), np.int64)
        fed["attention_mask"][:, : mask.shape[1]] = mask
        output = self._network(
            **to_tensors(self._mindspore, fed),
            past_key_values=past.states,
            cache_position=past.rows,
        )
        rows = past.rows + fed["input_ids"].shape[1]
        return to_numpy(self._mindspore, output[self._logits]), Filled(output.past_key_values, rows)

    def cache(self, batch: int, room: int) -> Filled:
        """Return an empty cache; see :class:`mindport.prompts.PromptModel`.

        Raises:
            MindportError: If the network cannot go on from one, or has not so many positions.
        """
        require_cache(self._head)
        return Filled(self._network.init_cache(batch, self._capacity(room)), 0)

    def select(self, cache: Filled, index: np.ndarray, room: int) -> Filled:
        """Return some sequences of a cache; see :class:`mindport.prompts.PromptModel`.

        Raises:
            MindportError: If the network cannot go on from one, or has not so many positions.
        """
        require_cache(self._head)
        ops, more = self._mindspore.ops, self._capacity(cache.rows + room) - cache.capacity
        rows = self._mindspore.Tensor(np.asarray(index, np.int32))
        batch, heads, _, head_dim = cache.states[0][0].shape
        identical = np.array_equal(index, np.arange(batch))
        empty = ops.zeros((batch, heads, max(more, 1), head_dim), cache.states[0][0].dtype)

        def take(states: Any) -> Any:
            if more > 0:  # before the sequences are repeated, when there are fewer of them
                states = ops.concat((states, empty), 2)
            if identical:
                return states
            if batch == 1:
                return ops.broadcast_to(states, (len(index), *states.shape[1:]))
            return ops.gather(states, rows, 0)

        return Filled(tuple((take(k), take(v)) for k, v in cache.states), cache.rows)

    def _capacity(self, rows: int) -> int:
        if rows > self._limit:
            raise MindportError(
                f"{rows} tokens, padding included, do not fit into {self._limit} positions.",
                "Shorten the texts.",
            )
        return min(-(-rows // STEP) * STEP, self._limit)
