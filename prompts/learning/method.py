"""What a way to learn a prompt does in a step; the ways are in ``methods/``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mindport.prompts.learning.evaluation import mean_loss
from mindport.prompts.learning.model import LearnableModel, Learned, LearningBatch
from mindport.prompts.learning.optimizer import Adam

if TYPE_CHECKING:
    from mindport.prompts.learning.settings import LearningSettings


@dataclass(frozen=True)
class Search:
    """What AutoPrompt looked at in a step.

    Attributes:
        position: Which trigger token was to be replaced.
        standing: The token that stood there.
        tokens: The tokens that promise most, best first: those that were tried and as many more.
        scores: What the gradient promises for each: how far the loss falls.
        tried: How many of them were tried.
        losses: The loss with each token that was tried.
        present: The loss with the token that stood there.
        chosen: The token that stands there now.
    """

    position: int
    standing: int
    tokens: tuple[int, ...]
    scores: tuple[float, ...]
    tried: int
    losses: tuple[float, ...]
    present: float
    chosen: int


@dataclass(frozen=True, eq=False)
class Step:
    """What came of one step.

    Attributes:
        loss: Before the update, in float64 from the label logits.
        gradients: By the network's learned arrays, float32.
        search: AutoPrompt's, or None.
    """

    loss: float
    gradients: Mapping[str, np.ndarray]
    search: Search | None = None


@dataclass(frozen=True, eq=False)
class Start:
    """What a method begins with.

    Attributes:
        model: The network.
        settings: What is asked for.
        rng: Of whatever the method draws.
        tokens: int64 (tokens,), whose embeddings stand at the slots in the beginning.
        allowed: int64, the tokens that AutoPrompt may use: no special ones, no label words.
    """

    model: LearnableModel
    settings: LearningSettings
    rng: np.random.Generator
    tokens: np.ndarray
    allowed: np.ndarray


class Method(ABC):
    """A way to learn a prompt.

    Args:
        start: What it begins with.

    Attributes:
        SLOTS: Whether it needs places in the prompt.
        LEARNING_RATE: The rate that is taken where none is asked for.
    """

    SLOTS: ClassVar[bool] = True
    LEARNING_RATE: ClassVar[float] = 0.01

    def __init__(self, start: Start) -> None:
        self.model = start.model
        self.settings = start.settings

    @abstractmethod
    def learned(self) -> Learned:
        """Return what the network is given now."""

    @abstractmethod
    def step(self, batch: LearningBatch, fresh: LearningBatch, number: int) -> Step:
        """Do one update.

        Args:
            batch: Of the gradient.
            fresh: The batch of the next step.
            number: Of the step, from 1 up.
        """

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Return all that was learned, as it must be kept."""

    @abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to what :meth:`state` returned."""


class GradientMethod(Method):
    """A way that follows the gradient, with Adam; a subclass says what its parameters mean."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.parameters = self.begin(start)
        self._optimizer = Adam()

    @abstractmethod
    def begin(self, start: Start) -> dict[str, np.ndarray]:
        """Return the float64 parameters to begin with."""

    @abstractmethod
    def learned(self) -> Learned:
        """Return what the network is given now."""

    @abstractmethod
    def backward(self, gradients: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return the gradients of the parameters from those of the learned arrays."""

    def step(self, batch: LearningBatch, fresh: LearningBatch, number: int) -> Step:
        """Do one update; see :class:`Method`."""
        loss, gradients = checked_gradients(self.model, batch, self.learned())
        rate = self.settings.rate(number)
        self.parameters = self._optimizer.update(self.parameters, self.backward(gradients), rate)
        return Step(loss, gradients)

    def state(self) -> dict[str, np.ndarray]:
        """Return the parameters."""
        return dict(self.parameters)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Set the parameters."""
        self.parameters = dict(state)


def checked_gradients(
    model: LearnableModel, batch: LearningBatch, learned: Learned
) -> tuple[float, dict[str, np.ndarray]]:
    """Return the loss, in float64 from the label logits, and the gradients.

    Raises:
        AssertionError: If the backend's own loss is another, or a shape is wrong: a bug of ours.
        MindportError: If a number is not finite.
    """
    own, logits, gradients = model.gradients(batch, learned)
    loss = mean_loss(logits, batch.labels)
    if abs(own - loss) > 1e-4 * (1 + abs(loss)):
        raise AssertionError(f"the backend's loss is {own}, that of its label logits {loss}")
    for name, array in learned.items():
        if gradients[name].shape != array.shape:
            raise AssertionError(f"{name} is {array.shape}, its gradient {gradients[name].shape}")
    return loss, gradients
