"""The loop: batches, steps, the choice of the best step. Shared by both sides."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.learning.data import LearningData, PromptSet, draw_batches
from mindport.prompts.learning.evaluation import evaluate
from mindport.prompts.learning.method import Method, Start
from mindport.prompts.learning.methods import load_method
from mindport.prompts.learning.model import LearnableModel
from mindport.prompts.learning.result import LearningResult, StepRecord
from mindport.prompts.learning.settings import LearningSettings


class Training:
    """One training of one prompt on one network.

    Args:
        model: The network.
        data: What it is fed.
        settings: What is learned, and how.

    Raises:
        MindportError: If there are too few rows to set some aside.
    """

    def __init__(
        self, model: LearnableModel, data: LearningData, settings: LearningSettings
    ) -> None:
        self.model, self.data, self.settings = model, data, settings
        rng = np.random.default_rng((settings.seed, 4))
        self._train, self._validation = _set_aside(data.train, settings)
        start = Start(model, settings, rng, data.start, data.allowed)
        self.method: Method = load_method(settings.method)(start)
        self._records: list[StepRecord] = []
        self._first: Mapping[str, np.ndarray] = {}
        self._best: tuple[float, int, dict[str, np.ndarray]] | None = None

    def run(self) -> Iterator[StepRecord]:
        """Do the steps and yield what came of each.

        Raises:
            MindportError: If a number stops being finite.
        """
        begun = time.perf_counter()
        order = draw_batches(len(self._train), self.settings.batch_size, self.settings.seed)
        batch = self.data.batch(self._train, next(order))
        for number in range(1, self.settings.steps + 1):
            fresh = self.data.batch(self._train, next(order))
            step = self.method.step(batch, fresh, number)
            _check_finite(step.gradients, number)
            if number == 1:
                self._first = step.gradients
            norm = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum())
                               for g in step.gradients.values()))  # fmt: skip
            record = StepRecord(
                step=number,
                loss=step.loss,
                gradient_norm=float(norm),
                learning_rate=self.settings.rate(number),
                seconds=time.perf_counter() - begun,
                validation_loss=self._validate(number),
                search=step.search,
            )
            self._records.append(record)
            yield record
            if self._is_over(number):
                return
            batch = fresh

    def result(self, identity: Mapping[str, Any] | None = None) -> LearningResult:
        """Return what was learned and how well it answers; call it once, after :meth:`run`.

        Args:
            identity: What really ran, for the report.
        """
        best = len(self._records)
        if self._best is not None:
            best = self._best[1]
            self.method.restore(self._best[2])
        learned = {name: array.copy() for name, array in self.method.learned().items()}
        held_out = self.data.evaluation
        return LearningResult(
            settings=self.settings.to_dict(),
            data_digest=self.data.digest,
            labels=self.data.labels,
            item_ids=held_out.ids,
            records=tuple(self._records),
            best_step=best,
            state=self.method.state(),
            learned=learned,
            first_gradients=dict(self._first),
            before=evaluate(self.model, self.data, held_out.plain(), {}),
            after=evaluate(self.model, self.data, held_out, learned),
            identity=dict(identity or {}),
        )

    def _validate(self, number: int) -> float | None:
        last = number == self.settings.steps
        if self._validation is None or (number % self.settings.validate_every and not last):
            return None
        learned = self.method.learned()
        loss = evaluate(self.model, self.data, self._validation, learned).loss
        if self._best is None or loss < self._best[0]:
            self._best = (loss, number, self.method.state())
        return loss

    def _is_over(self, number: int) -> bool:
        if self._best is None:
            return False
        looks = (number - self._best[1]) // self.settings.validate_every
        return looks >= self.settings.patience


def train(model: LearnableModel, data: LearningData, settings: LearningSettings) -> LearningResult:
    """Learn a prompt and return the result; :class:`Training` tells of every step as well."""
    training = Training(model, data, settings)
    for _ in training.run():
        pass
    return training.result()


def _set_aside(
    prompts: PromptSet, settings: LearningSettings
) -> tuple[PromptSet, PromptSet | None]:
    """Return rows to learn from and rows to choose the step by, the same share of each label."""
    if settings.validation == 0:
        return prompts, None
    rng = np.random.default_rng((settings.seed, 5))
    aside: list[int] = []
    for label in np.unique(prompts.labels):
        items = rng.permutation(np.flatnonzero(prompts.labels == label))
        aside += items[: round(settings.validation * len(items))].tolist()
    rest = np.setdiff1d(np.arange(len(prompts)), aside)
    if not aside or not len(rest):
        raise MindportError(
            f"Of {len(prompts)} rows, {len(aside)} would be set aside.",
            "Give more rows, or another share with validation.",
        )
    return prompts.take(rest), prompts.take(np.sort(np.array(aside)))


def _check_finite(gradients: Mapping[str, np.ndarray], number: int) -> None:
    for name, gradient in gradients.items():
        if not np.isfinite(gradient).all():
            raise MindportError(
                f"The gradient of {name!r} holds NaN or infinity in step {number}.",
                "Try a smaller learning rate.",
            )
