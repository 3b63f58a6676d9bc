"""One of our cells that a prompt is learned on: its weights stay, its inputs are learned."""

from __future__ import annotations

from typing import Any

import numpy as np

from mindport.migrate.architecture import Head
from mindport.prompts.learning.model import (
    Learned,
    LearningBatch,
    Sizes,
    fill_slots,
    sum_at_slots,
)
from mindport.validate.backends._mindspore_run import to_numpy, to_tensors


class MindSporeLearnable:
    """Implements :class:`mindport.prompts.learning.model.LearnableModel`.

    Args:
        mindspore: The module mindspore.
        network: A network of :mod:`mindport.migrate.cells` that predicts words.
        head: Its description.
        table: Its token embeddings, float32 (vocabulary, width).
        sizes: Of the network.
    """

    def __init__(
        self, mindspore: Any, network: Any, head: Head, table: np.ndarray, sizes: Sizes
    ) -> None:
        self._mindspore = mindspore
        self._table = table
        self.sizes = sizes
        self._typed = "token_type_ids" in head.inputs

        # Tensors are positional: in graph mode a dictionary of them would be a constant, and every
        # batch compiled anew.
        def answer(
            vectors: Any,
            prefix: Any,
            mask: Any,
            positions: Any,
            types: Any,
            rows: Any,
            columns: Any,
            weights: Any,
        ) -> Any:
            output = network(
                attention_mask=mask,
                position_ids=positions,
                token_type_ids=types,
                logits_at=rows,
                inputs_embeds=vectors,
                prefix=None if prefix is None else layers_of(prefix),
            )
            words = mindspore.ops.gather(output[0][:, 0], columns, 1)  # (batch, words)
            return mindspore.ops.matmul(words, weights)  # (batch, labels)

        def layers_of(prefix: Any) -> Any:
            return tuple((layer[0][None], layer[1][None]) for layer in prefix)

        def loss(vectors: Any, prefix: Any, labels: Any, *fed: Any) -> Any:
            logits = answer(vectors, prefix, *fed)
            return mindspore.ops.cross_entropy(logits, labels), logits

        self._answer = answer
        self._by_vectors = mindspore.value_and_grad(loss, 0, None, has_aux=True)
        self._by_prefix = mindspore.value_and_grad(loss, 1, None, has_aux=True)

    def embeddings(self) -> np.ndarray:
        """Return the table of token embeddings."""
        return self._table

    def gradients(
        self, batch: LearningBatch, learned: Learned
    ) -> tuple[float, np.ndarray, dict[str, np.ndarray]]:
        """Run forward and backward; see the protocol."""
        name = next(iter(learned))
        differentiate = {"soft": self._by_vectors, "prefix": self._by_prefix}[name]
        vectors, prefix, *fed = self._tensors(batch, learned)
        labels = self._mindspore.Tensor(batch.labels.astype(np.int32))
        (loss, logits), gradient = differentiate(vectors, prefix, labels, *fed)
        found = self._array(gradient)
        if name == "soft":
            found = sum_at_slots(found, batch)
        return float(self._array(loss)), self._array(logits), {name: found}

    def logits(self, batch: LearningBatch, learned: Learned) -> np.ndarray:
        """Run forward; see the protocol."""
        return self._array(self._answer(*self._tensors(batch, learned)))

    def _tensors(self, batch: LearningBatch, learned: Learned) -> list[Any]:
        """Return what ``answer`` takes."""
        arrays = {
            "vectors": fill_slots(self._table, batch, learned),
            "mask": batch.attention_mask,
            "positions": batch.position_ids + self.sizes.first_position,
            "rows": batch.rows[:, None],
            "columns": batch.words.columns,
            "weights": np.ascontiguousarray(batch.words.weights.T),
        }
        if self._typed:
            arrays["types"] = batch.token_type_ids
        if "prefix" in learned:
            arrays["prefix"] = learned["prefix"]
        given = to_tensors(self._mindspore, arrays)
        order = ("vectors", "prefix", "mask", "positions", "types", "rows", "columns", "weights")
        return [given.get(name) for name in order]

    def _array(self, tensor: Any) -> np.ndarray:
        return to_numpy(self._mindspore, tensor)
