"""What certified parity reads of a plan and of scores, and nothing more."""
# ruff: noqa: D102  (the classes document their attributes)

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class WordLike(Protocol):
    """A label word: which tokens of which rows add up to its score.

    Attributes:
        text: As written.
        label: The index of its label.
        steps: (row of the item, token id), one per token.
        divisor: What the sum of log-probabilities is divided by.
    """

    @property
    def text(self) -> str: ...

    @property
    def label(self) -> int: ...

    @property
    def steps(self) -> Sequence[tuple[int, int]]: ...

    @property
    def divisor(self) -> float: ...


class PlanLike(Protocol):
    """A plan: N items, then C calibration inputs, each with the same R rows of logits.

    Attributes:
        ids: The items' ids, N of them.
        texts: Their texts.
        label_indices: Their true labels.
        prior_texts: The calibration inputs, C of them.
        labels: In order.
        words: Every label's words.
        rows_per_item: R.
        aggregate: ``mean_log``, ``sum_prob``, ``max`` or ``first``.
        calibration: ``none``, ``contextual``, ``domain`` or ``pmi``.
        chance: The accuracy of guessing.
        digest: sha256 of all of it.
    """

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def texts(self) -> Sequence[str]: ...

    @property
    def label_indices(self) -> Sequence[int]: ...

    @property
    def prior_texts(self) -> Sequence[str]: ...

    @property
    def labels(self) -> Sequence[str]: ...

    @property
    def words(self) -> Sequence[WordLike]: ...

    @property
    def rows_per_item(self) -> int: ...

    @property
    def aggregate(self) -> str: ...

    @property
    def calibration(self) -> str: ...

    @property
    def chance(self) -> float: ...

    @property
    def digest(self) -> str: ...


class ScoresLike(Protocol):
    """A side's scores of a plan, in the order of its items.

    Attributes:
        plan_digest: The plan that was scored.
        labels: In order.
        label_scores: float64 (N, labels).
        label_log_probabilities: float64 (N, labels), log-softmax of the scores.
        predictions: int64 (N,): the label with the highest score; of equals the first.
        margins: float64 (N,): the winner above the runner-up.
        ties: How many items have two winners or more.
    """

    @property
    def plan_digest(self) -> str: ...

    @property
    def labels(self) -> Sequence[str]: ...

    @property
    def label_scores(self) -> np.ndarray: ...

    @property
    def label_log_probabilities(self) -> np.ndarray: ...

    @property
    def predictions(self) -> np.ndarray: ...

    @property
    def margins(self) -> np.ndarray: ...

    @property
    def ties(self) -> int: ...
