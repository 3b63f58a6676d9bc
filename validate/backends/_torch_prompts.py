"""A ``transformers`` model that answers prompts: rows of logits, with a cache if it is causal."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from mindport.migrate.architecture import Head
from mindport.validate.backend import require
from mindport.validate.backends._prompts import inputs_of, require_cache


class TorchPrompts:
    """A model as a :class:`mindport.prompts.PromptModel`; its cache is a ``DynamicCache``.

    Args:
        torch: The module torch.
        model: A ``transformers`` model, in evaluation mode.
        head: Its description.
        first_position: Of a sequence.
    """

    any_width = True

    def __init__(self, torch: Any, model: Any, head: Head, first_position: int) -> None:
        self._torch, self._model, self._head = torch, model, head
        self._first = first_position
        self._logits = head.output_of("logits")
        self._projection = model.get_submodule(head.projection)

    def answer(
        self, inputs: Mapping[str, np.ndarray], positions: np.ndarray, past: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Return rows of logits; see :class:`mindport.prompts.PromptModel`.

        Raises:
            MindportError: If there is a cache and the network cannot go on from it.
        """
        options: dict[str, Any] = {}
        if self._head.prompts == "prefix":
            options["use_cache"] = past is not None
        if past is not None:
            require_cache(self._head)
            # It grows in place, and what the caller holds must not.
            options["past_key_values"] = past = self._selected(past, None)
        fed = inputs_of(self._head, inputs, self._first)
        tensors = {name: self._tensor(array) for name, array in fed.items()}
        with self._torch.inference_mode(), self._rows_alone(self._tensor(positions)):
            output = self._model(**tensors, **options, return_dict=True)
        rows: np.ndarray = getattr(output, self._logits).float().cpu().numpy()
        return rows, past

    def cache(self, batch: int, room: int) -> Any:
        """Return an empty cache; see :class:`mindport.prompts.PromptModel`.

        Raises:
            MindportError: If the network cannot go on from one.
        """
        require_cache(self._head)
        return require("transformers", "torch").DynamicCache()

    def select(self, cache: Any, index: np.ndarray, room: int) -> Any:
        """Return some sequences of a cache; see :class:`mindport.prompts.PromptModel`.

        Of a cache of one sequence the others are views.

        Raises:
            MindportError: If the network cannot go on from a cache.
        """
        require_cache(self._head)
        with self._torch.inference_mode():
            return self._selected(cache, self._tensor(np.asarray(index, np.int64)))

    def _selected(self, cache: Any, index: Any) -> Any:
        """Return a cache of some sequences, or of all if the index is None, without copying."""
        new = require("transformers", "torch").DynamicCache()
        for i, layer in enumerate(cache.layers):
            if layer.keys is None:
                continue
            # Writing nothing makes the layer, in every version; the states come from here.
            new.update(layer.keys[:, :, :0], layer.values[:, :, :0], i)
            new.layers[i].keys = _take(layer.keys, index)
            new.layers[i].values = _take(layer.values, index)
        return new

    @contextmanager
    def _rows_alone(self, positions: Any) -> Iterator[None]:
        """Let only the hidden states at ``(batch, k)`` through the projection."""

        def take(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
            hidden, *others = given  # (batch, seq, width)
            index = positions[..., None].expand(-1, -1, hidden.shape[-1])
            return hidden.gather(1, index), *others

        handle = self._projection.register_forward_pre_hook(take)
        try:
            yield
        finally:
            handle.remove()

    def _tensor(self, array: np.ndarray) -> Any:
        device = next(self._model.parameters()).device
        return self._torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _take(states: Any, index: Any) -> Any:
    if index is None:
        return states
    if states.shape[0] == 1:
        return states.expand(len(index), -1, -1, -1)
    return states.index_select(0, index)


def untrained(torch: Any, model: Any, seed: int) -> Any:
    """Return a network like another, with the weights that ``transformers`` starts training from.

    Args:
        torch: The module torch.
        model: The other one; neither it nor torch's generators are changed.
        seed: Of the weights.
    """
    parameter = next(model.parameters())
    # Drawn on the CPU, so that every device gets the same.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        fresh = type(model)(copy.deepcopy(model.config))
    return fresh.eval().to(device=parameter.device, dtype=parameter.dtype)
