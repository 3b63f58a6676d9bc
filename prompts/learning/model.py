"""What learning a prompt needs of a network, and what the network is fed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

# By name: ``soft``, float32 (n, width), the vectors that stand at the slots; or ``prefix``, float32
# (layers, 2, heads, n, head_dim), keys and values that every token of every layer sees first.
# Empty: the plain prompt.
Learned = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network.

    Attributes:
        layers: How many blocks it has.
        heads: Attention heads of a block.
        head_dim: Width of a head.
        width: Width of an embedding.
        positions: The most tokens of an input.
        vocabulary: Rows of the embedding table.
        first_position: What the network calls the position of a sequence's first token.
    """

    layers: int
    heads: int
    head_dim: int
    width: int
    positions: int
    vocabulary: int
    first_position: int = 0


@dataclass(frozen=True, eq=False)
class LabelWords:
    """How a row of vocabulary logits becomes one logit a label.

    A label's logit is the mean of its words' logits. Between labels it differs by as much as the
    mean of their log-probabilities: the normaliser is the same for every word and cancels.

    Attributes:
        columns: int64 (words,), the token of every word, label by label.
        weights: float32 (labels, words), 1 / (the label's words) where a word is the label's.
    """

    columns: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class LearningBatch:
    """Prompts padded on the right.

    Attributes:
        input_ids: int64 (batch, seq); at a slot any id, which is not read.
        attention_mask: int64 (batch, seq), 1 on real tokens and slots.
        position_ids: int64 (batch, seq), 0, 1, 2, …, which a network counts on from its first
            position; a learned prefix takes no position.
        token_type_ids: int64 (batch, seq), zeros.
        slots: int64 (batch, n), where the learned vectors stand; n is 0 for a plain prompt.
        rows: int64 (batch,), the position whose logits hold the answer.
        labels: int64 (batch,), the true label.
        words: The label words.
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray
    position_ids: np.ndarray
    token_type_ids: np.ndarray
    slots: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    words: LabelWords


class LearnableModel(Protocol):
    """A network with fixed weights, without dropout; the only part that a framework computes."""

    @property
    def sizes(self) -> Sizes:
        """Its sizes."""
        ...

    def embeddings(self) -> np.ndarray:
        """Return the table of token embeddings, float32 (vocabulary, width)."""
        ...

    def gradients(
        self, batch: LearningBatch, learned: Learned
    ) -> tuple[float, np.ndarray, dict[str, np.ndarray]]:
        """Run forward and backward once.

        Args:
            batch: What is fed.
            learned: See :data:`Learned`; not empty.

        Returns:
            The mean cross entropy of the labels under the softmax over the label logits; the label
            logits, float32 (batch, labels); by learned array, the float32 gradient of the loss.
        """
        ...

    def logits(self, batch: LearningBatch, learned: Learned) -> np.ndarray:
        """Return the label logits, float32 (batch, labels).

        Args:
            batch: What is fed.
            learned: See :data:`Learned`.
        """
        ...


def fill_slots(table: np.ndarray, batch: LearningBatch, learned: Learned) -> np.ndarray:
    """Return the input vectors: token embeddings, and at the slots what was learned.

    Args:
        table: float32 (vocabulary, width).
        batch: What is fed.
        learned: Read is ``soft``, if it is there.

    Returns:
        float32 (batch, seq, width).
    """
    vectors: np.ndarray = table[batch.input_ids]
    if "soft" in learned:
        vectors[np.arange(len(vectors))[:, None], batch.slots] = learned["soft"]
    return vectors


def sum_at_slots(gradient: np.ndarray, batch: LearningBatch) -> np.ndarray:
    """Return the gradient of the vectors that stand at the slots of every row.

    Args:
        gradient: float32 (batch, seq, width), of the input vectors.
        batch: What was fed.

    Returns:
        float32 (n, width); summed over the rows in float64.
    """
    at = gradient[np.arange(len(gradient))[:, None], batch.slots]  # (batch, n, width)
    total: np.ndarray = at.astype(np.float64).sum(axis=0).astype(np.float32)
    return total
