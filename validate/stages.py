"""The stages of a job, told one after the other to whoever wants to know."""

from __future__ import annotations

from collections.abc import Mapping

from mindport.migrate.progress import OnProgress, Progress
from mindport.validate.steps import Step

# How long the stages take, roughly and against each other.
PREPARING, RUN, WRITING, CHECKING, COMPARISON = 1.0, 6.0, 0.5, 0.5, 2.0


class Stages:
    """Counts stages, and tells of each; also of the steps inside one.

    Args:
        listener: Hears of them; None keeps them silent.
        shares: Of each stage to come, in order.
    """

    def __init__(self, listener: OnProgress | None = None, *shares: float) -> None:
        self._listener = listener
        self._shares = shares
        self._begun = 0
        self._words = ""

    def __call__(self, words: str) -> None:
        """Tell that the next stage has begun."""
        self._words = words
        self._begun += 1
        self._tell(0.0, {})

    def watch(self, steps: Mapping[str, Step]) -> None:
        """Tell what the workers of this stage are doing.

        Args:
            steps: By side.
        """
        part = sum(step.done / step.total for step in steps.values()) / len(steps)
        self._tell(part, {side: step.words for side, step in steps.items()})

    def end(self) -> None:
        """Tell that all is done."""
        if self._listener is not None:
            self._listener(Progress("done", 1.0))

    def _tell(self, part: float, running: Mapping[str, str]) -> None:
        if self._listener is None:
            return
        done = sum(self._shares[: self._begun - 1])
        now = self._shares[self._begun - 1] if self._begun <= len(self._shares) else 0.0
        whole = sum(self._shares) or 1.0
        self._listener(Progress(self._words, (done + part * now) / whole, running))
