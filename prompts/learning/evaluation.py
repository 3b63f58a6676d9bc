"""What a model answers to labelled prompts: scores, in float64 NumPy for both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.parity.statistics import wilson_limits
from mindport.prompts.score import log_softmax

if TYPE_CHECKING:
    from mindport.prompts.learning.data import LearningData, PromptSet
    from mindport.prompts.learning.model import LearnableModel, Learned

_BATCH = 32


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Answers to labelled prompts.

    Attributes:
        logits: float64 (items, labels).
        labels: int64 (items,), the true ones.
    """

    logits: np.ndarray
    labels: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        """int64 (items,), the label with the largest logit; of equals the first."""
        found: np.ndarray = self.logits.argmax(axis=1)
        return found

    @property
    def margins(self) -> np.ndarray:
        """float64 (items,), how far the winner's logit is above the runner-up's."""
        ordered = np.sort(self.logits, axis=1)
        margins: np.ndarray = ordered[:, -1] - ordered[:, -2]
        return margins

    @property
    def right(self) -> np.ndarray:
        """Bool (items,), whether the prediction is true."""
        found: np.ndarray = self.predictions == self.labels
        return found

    @property
    def accuracy(self) -> float:
        """The share of right predictions."""
        return float(self.right.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_limits(int(self.right.sum()), len(self.right))

    @property
    def loss(self) -> float:
        """The mean cross entropy."""
        return mean_loss(self.logits, self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        counts = np.bincount(self.predictions, minlength=self.logits.shape[1])
        return {
            "items": len(self.labels),
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.interval),
            "loss": self.loss,
            "counts": counts.tolist(),
        }


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross entropy, computed in float64.

    Args:
        logits: (batch, labels).
        labels: int64 (batch,).

    Raises:
        MindportError: If a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise MindportError(
            "A label logit is NaN or infinite: the training has run away, or the weights are "
            "damaged.",
            "Try a smaller learning rate.",
        )
    scores = log_softmax(logits.astype(np.float64))
    return float(-scores[np.arange(len(labels)), labels].mean())


def evaluate(
    model: LearnableModel, data: LearningData, prompts: PromptSet, learned: Learned
) -> Evaluation:
    """Ask a model all prompts of a set.

    Args:
        model: The network.
        data: What the set belongs to.
        prompts: The set.
        learned: What stands at its slots, or the prefix; empty for plain prompts.
    """
    lengths = np.array([len(prompt) for prompt in prompts.prompts])
    order = np.argsort(-lengths, kind="stable")  # the like long together: less padding
    logits = np.empty((len(prompts), len(data.labels)))
    for start in range(0, len(order), _BATCH):
        items = np.resize(order[start : start + _BATCH], _BATCH)  # repeated: all of one shape
        logits[items] = model.logits(data.batch(prompts, items), learned)
    mean_loss(logits, prompts.labels)  # refuses what is not finite
    return Evaluation(logits, prompts.labels)
