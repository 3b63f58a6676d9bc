"""Stand-ins for plan and scores, with exactly the fields that parity reads, and a plain scorer.

The scorer is written from the definition of a score, apart from the toolkit's own, so that the
bounds are tried against something that they were not derived from.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest


@dataclass(frozen=True)
class Word:
    text: str
    label: int
    steps: tuple[tuple[int, int], ...]
    divisor: float = 1.0


@dataclass(frozen=True)
class Plan:
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    label_indices: tuple[int, ...]
    prior_texts: tuple[str, ...]
    labels: tuple[str, ...]
    words: tuple[Word, ...]
    rows_per_item: int
    aggregate: str
    calibration: str
    chance: float
    digest: str = "d" * 64
    truncated_items: tuple[int, ...] = ()


@dataclass(frozen=True)
class Scores:
    plan_digest: str
    labels: tuple[str, ...]
    word_scores: np.ndarray
    label_scores: np.ndarray
    label_log_probabilities: np.ndarray
    predictions: np.ndarray
    margins: np.ndarray
    ties: int


def log_sum(values, axis):
    return np.logaddexp.reduce(values, axis=axis)


def word_scores(words, rows):
    """(n, R, vocabulary) -> (n, words)."""
    logs = rows - log_sum(rows, axis=2)[..., None]
    return np.stack(
        [sum(logs[:, row, token] for row, token in w.steps) / w.divisor for w in words], axis=1
    )


def aggregate(plan, scores):
    """(n, words) -> (n, labels)."""
    rules = {
        "mean_log": lambda part: part.mean(axis=1),
        "sum_prob": lambda part: log_sum(part, axis=1),
        "max": lambda part: part.max(axis=1),
        "first": lambda part: part[:, 0],
    }
    owners = np.array([word.label for word in plan.words])
    rule = rules[plan.aggregate]
    return np.stack([rule(scores[:, owners == k]) for k in range(len(plan.labels))], axis=1)


def log_softmax(scores):
    return scores - log_sum(scores, axis=-1)[..., None]


def log_mean_share(scores):
    """(..., inputs, labels) -> (..., labels)."""
    return log_sum(log_softmax(scores), axis=-2) - np.log(scores.shape[-2])


def score(plan, rows):
    rows = np.asarray(rows, np.float64)
    count = len(plan.ids)
    words = word_scores(plan.words, rows)
    if plan.calibration == "pmi":
        words = words - words[count:]
    labels = aggregate(plan, words)
    if plan.calibration in ("contextual", "domain"):
        labels = log_softmax(labels) - log_mean_share(labels[count:])
    labels = labels[:count]
    ordered = np.sort(labels, axis=1)
    return Scores(
        plan_digest=plan.digest,
        labels=plan.labels,
        word_scores=words[:count],
        label_scores=labels,
        label_log_probabilities=log_softmax(labels),
        predictions=labels.argmax(axis=1),
        margins=ordered[:, -1] - ordered[:, -2],
        ties=int((ordered[:, -1] == ordered[:, -2]).sum()),
    )


def make_plan(
    words, *, items=1, priors=0, aggregate="mean_log", calibration="none", divisors=None, truth=None
):
    """Make a plan from one list per label of words, each a list of (row, token)."""
    flat = [(label, steps) for label, part in enumerate(words) for steps in part]
    divisors = [1.0] * len(flat) if divisors is None else divisors
    labels = tuple(map(chr, range(97, 97 + len(words))))
    truth = tuple(i % len(words) for i in range(items)) if truth is None else tuple(truth)
    return Plan(
        ids=tuple(f"item{i}" for i in range(items)),
        texts=tuple(f"text {i}" for i in range(items)),
        label_indices=truth,
        prior_texts=tuple(f"prior {c}" for c in range(priors)),
        labels=labels,
        words=tuple(
            Word(f"w{k}", label, tuple(map(tuple, steps)), float(divisor))
            for k, ((label, steps), divisor) in enumerate(zip(flat, divisors, strict=True))
        ),
        rows_per_item=1 + max(row for _, steps in flat for row, _ in steps),
        aggregate=aggregate,
        calibration=calibration,
        chance=1 / len(words),
    )


@pytest.fixture(scope="session")
def stand_in():
    return SimpleNamespace(
        plan=make_plan,
        score=score,
        word_scores=word_scores,
        aggregate=aggregate,
        log_mean_share=log_mean_share,
    )
