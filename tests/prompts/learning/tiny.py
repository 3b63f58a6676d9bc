"""A network of three lines in NumPy, prompts for it, and sides that are broken on purpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mindport.prompts.learning.data import LearningData, PromptSet
from mindport.prompts.learning.model import LabelWords, Sizes, fill_slots, sum_at_slots
from mindport.prompts.score import log_softmax

SIZES = Sizes(layers=2, heads=2, head_dim=3, width=6, positions=32, vocabulary=40)
WORDS = LabelWords(
    np.array([30, 31, 32], np.int64), np.array([[1, 0, 0], [0, 0.5, 0.5]], np.float32)
)


class Tiny:
    """Every token, and the prefix, push one vector; the answer row reads it.

    Args:
        noise: Relative error of every gradient and logit, as another framework's rounding.
        change: Breaks the batch or what was learned before they are used.
        spoil: Breaks the gradients.
    """

    sizes = SIZES

    def __init__(
        self,
        noise: float = 0.0,
        change: Callable | None = None,
        spoil: Callable | None = None,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(7)
        self._table = rng.normal(size=(SIZES.vocabulary, SIZES.width)).astype(np.float32)
        self._inner = rng.normal(size=(SIZES.width, SIZES.width)) / 2
        self._push = rng.normal(size=(SIZES.layers, 2, SIZES.heads, SIZES.head_dim, SIZES.width))
        self._noise, self._rng = noise, np.random.default_rng(seed)
        self._change, self._spoil = change, spoil

    def embeddings(self):
        return self._table

    def gradients(self, batch, learned):
        batch, learned = self._changed(batch, learned)
        logits, state = self._forward(batch, learned)
        chances = np.exp(log_softmax(logits))
        loss = -log_softmax(logits)[np.arange(len(logits)), batch.labels].mean()
        outer = chances.copy()
        outer[np.arange(len(logits)), batch.labels] -= 1
        words = self._table[batch.words.columns].astype(np.float64)
        inner = (outer / len(logits)) @ batch.words.weights.astype(np.float64) @ words
        hidden = (inner * (1 - state**2)) @ self._inner.T  # (batch, width)
        share = batch.attention_mask / batch.attention_mask.sum(axis=1, keepdims=True)
        share = share * (1 + np.arange(share.shape[1]) / 8)
        found = {}
        if "soft" in learned:
            every = (hidden[:, None] * share[..., None]).astype(np.float32)
            found["soft"] = sum_at_slots(every, batch)
        if "prefix" in learned:
            pushed = self._push @ hidden.sum(axis=0)  # (layers, 2, heads, head_dim)
            shape = learned["prefix"].shape
            slope = 1 - np.tanh(learned["prefix"].astype(np.float64)) ** 2
            spread = np.broadcast_to(pushed[:, :, :, None], shape)
            found["prefix"] = (spread * slope).astype(np.float32)
        if self._spoil:
            found = self._spoil(found)
        return float(loss), self._off(logits), {k: self._off(v) for k, v in found.items()}

    def logits(self, batch, learned):
        return self._off(self._forward(*self._changed(batch, learned))[0])

    def _forward(self, batch, learned):
        vectors = fill_slots(self._table, batch, learned).astype(np.float64)
        share = batch.attention_mask / batch.attention_mask.sum(axis=1, keepdims=True)
        share = share * (1 + np.arange(share.shape[1]) / 8)  # places matter
        hidden = (vectors * share[..., None]).sum(axis=1)
        if "prefix" in learned:
            felt = np.tanh(learned["prefix"].astype(np.float64))
            hidden = hidden + np.einsum("lkhnd,lkhdw->w", felt, self._push)
        state = np.tanh(hidden @ self._inner)
        rows = state @ self._table.T.astype(np.float64)  # (batch, vocabulary)
        return rows[:, batch.words.columns] @ batch.words.weights.T.astype(np.float64), state

    def _changed(self, batch, learned):
        return self._change(batch, learned) if self._change else (batch, learned)

    def _off(self, array):
        errors = 1 + self._noise * self._rng.standard_normal(array.shape)
        return (array * errors).astype(np.float32)


def make_set(count: int, slots: int, seed: int, at: int = 0) -> PromptSet:
    """Prompts of random tokens whose label one of the tokens tells."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    prompts = []
    for label in labels:
        text = rng.integers(0, 20, rng.integers(4, 9))
        text[1] = 20 + label
        prompts.append(np.insert(text.astype(np.int64), at, [0] * slots))
    return PromptSet(
        tuple(f"row-{seed}-{item}" for item in range(count)),
        tuple(prompts),
        np.array([len(ids) - 1 for ids in prompts], np.int64),
        np.tile(at + np.arange(slots, dtype=np.int64), (count, 1)),
        labels.astype(np.int64),
    )


def make_tiny_data(slots: int = 3, at: int = 0) -> LearningData:
    """Twenty prompts to learn from, ten held out."""
    return LearningData(
        task="tiny",
        task_version=1,
        shape="prefix",
        template="[X] It was [Z]",
        labels=("negative", "positive"),
        words=WORDS,
        train=make_set(20, slots, 1, at),
        evaluation=make_set(10, slots, 2, at),
        start=np.array([3, 4, 5][:slots] or [3], np.int64),
        allowed=np.arange(30, dtype=np.int64),
        pad=0,
        positions=SIZES.positions,
    )
