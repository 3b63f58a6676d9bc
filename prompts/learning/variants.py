"""The same network computed otherwise: what two correct trainings may differ by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mindport.prompts.learning.model import LearnableModel, Learned, LearningBatch, Sizes

_EXTRA = 5  # padded positions that are added; odd, so that blocks of a sum end elsewhere


class Reordered:
    """A network whose batches are fed in reverse, with more padding.

    Args:
        model: The network.
    """

    def __init__(self, model: LearnableModel) -> None:
        self._model = model

    @property
    def sizes(self) -> Sizes:
        """Those of the network."""
        return self._model.sizes

    def embeddings(self) -> np.ndarray:
        """Return those of the network."""
        return self._model.embeddings()

    def gradients(
        self, batch: LearningBatch, learned: Learned
    ) -> tuple[float, np.ndarray, dict[str, np.ndarray]]:
        """See :class:`mindport.prompts.learning.model.LearnableModel`."""
        loss, logits, gradients = self._model.gradients(self._other(batch), learned)
        return loss, logits[::-1].copy(), gradients

    def logits(self, batch: LearningBatch, learned: Learned) -> np.ndarray:
        """See :class:`mindport.prompts.learning.model.LearnableModel`."""
        return self._model.logits(self._other(batch), learned)[::-1].copy()

    def _other(self, batch: LearningBatch) -> LearningBatch:
        length = batch.input_ids.shape[1]
        extra = max(min(_EXTRA, self.sizes.positions - length), 0)
        names = ("input_ids", "attention_mask", "token_type_ids", "slots", "rows", "labels")
        turned = {name: getattr(batch, name)[::-1].copy() for name in names}
        for name in names[:3]:
            turned[name] = np.pad(turned[name], ((0, 0), (0, extra)))
        positions = np.tile(np.arange(length + extra, dtype=np.int64), (len(batch.rows), 1))
        return replace(batch, **turned, position_ids=positions)


class Disturbed:
    """A network that is given every learned number one unit in the last place off, or exact.

    Args:
        model: The network.
        seed: Of which way each goes.
    """

    def __init__(self, model: LearnableModel, seed: int) -> None:
        self._model = model
        self._rng = np.random.default_rng((seed, 3))

    @property
    def sizes(self) -> Sizes:
        """Those of the network."""
        return self._model.sizes

    def embeddings(self) -> np.ndarray:
        """Return those of the network."""
        return self._model.embeddings()

    def gradients(
        self, batch: LearningBatch, learned: Learned
    ) -> tuple[float, np.ndarray, dict[str, np.ndarray]]:
        """See :class:`mindport.prompts.learning.model.LearnableModel`."""
        return self._model.gradients(batch, self._off(learned))

    def logits(self, batch: LearningBatch, learned: Learned) -> np.ndarray:
        """See :class:`mindport.prompts.learning.model.LearnableModel`."""
        return self._model.logits(batch, self._off(learned))

    def _off(self, learned: Learned) -> dict[str, np.ndarray]:
        moved = {}
        for name, array in learned.items():
            steps = self._rng.integers(-1, 2, array.shape)
            moved[name] = np.where(
                steps == 0, array, np.nextafter(array, np.copysign(np.float32(np.inf), steps))
            ).astype(np.float32)
        return moved
