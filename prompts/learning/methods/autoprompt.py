"""AutoPrompt: real tokens, found by what the gradient promises and tried one by one.

Source: T. Shin et al., *AutoPrompt: Eliciting Knowledge from Language Models with Automatically
Generated Prompts*, EMNLP 2020. Ours takes the trigger tokens in turn, where theirs draws one, and
keeps the token that stands there unless another has a lower loss on the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mindport.prompts.learning.evaluation import mean_loss
from mindport.prompts.learning.method import Method, Search, Start, Step, checked_gradients
from mindport.prompts.learning.model import Learned, LearningBatch


class AutoPrompt(Method):
    """Learns ``triggers``, int64 (tokens,)."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self._table = self.model.embeddings()
        self._allowed = start.allowed
        self.triggers = start.tokens.astype(np.int64)

    def learned(self) -> Learned:
        """Return the embeddings of the trigger tokens."""
        return {"soft": self._table[self.triggers]}

    def step(self, batch: LearningBatch, fresh: LearningBatch, number: int) -> Step:
        """Replace one trigger token, or keep it; see :class:`Method`.

        The gradient is that of one batch, the tokens are tried on the next: what is best on the
        rows that it was chosen by says little.
        """
        loss, gradients = checked_gradients(self.model, batch, self.learned())
        position = (number - 1) % len(self.triggers)
        standing = int(self.triggers[position])
        tokens, scores = self._rank(gradients["soft"][position], standing)
        tried = min(self.settings.candidates, len(tokens))
        present = self._loss(fresh, self.triggers)
        losses = []
        for token in tokens[:tried]:
            triggers = self.triggers.copy()
            triggers[position] = token
            losses.append(self._loss(fresh, triggers))
        best = int(np.argmin(losses))  # of equals the one that promised more
        chosen = int(tokens[best]) if losses[best] < present else standing
        self.triggers = self.triggers.copy()
        self.triggers[position] = chosen
        search = Search(
            position=position,
            standing=standing,
            tokens=tuple(int(token) for token in tokens),
            scores=tuple(float(score) for score in scores),
            tried=tried,
            losses=tuple(losses),
            present=present,
            chosen=chosen,
        )
        return Step(loss, gradients, search)

    def state(self) -> dict[str, np.ndarray]:
        """Return the trigger tokens."""
        return {"triggers": self.triggers.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Set the trigger tokens."""
        self.triggers = state["triggers"].copy()

    def _rank(self, gradient: np.ndarray, present: int) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens and how far, to first order, each lowers the loss; the best first."""
        allowed = self._allowed[self._allowed != present]
        change = self._table[allowed].astype(np.float64) - self._table[present]
        scores = -(change @ gradient.astype(np.float64))
        order = np.argsort(-scores, kind="stable")[: 2 * self.settings.candidates]
        return allowed[order], scores[order]

    def _loss(self, batch: LearningBatch, triggers: np.ndarray) -> float:
        logits = self.model.logits(batch, {"soft": self._table[triggers]})
        return mean_loss(logits, batch.labels)


METHOD = AutoPrompt
