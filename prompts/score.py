"""Logits to labels, once for both sides, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.aggregate import AGGREGATES
from mindport.prompts.parity.statistics import wilson_limits
from mindport.prompts.plan import Plan

_DEGENERATE = 0.95
_SHOWN = 10


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model answered, item by item; every array is in the order of the plan's examples.

    Attributes:
        plan_digest: The plan that was scored.
        labels: In order.
        word_scores: float64 (items, words): each word's log-probability, normalised, and with
            ``pmi`` less its prior.
        label_scores: float64 (items, labels).
        label_log_probabilities: float64 (items, labels): log-softmax over the labels.
        predictions: int64 (items,): the label with the highest score; of equals the first.
        margins: float64 (items,): how far the winner's score is above the runner-up's.
        ties: How many items have two winners or more.
        accuracy: The share of right predictions.
        accuracy_interval: Wilson's 95 % interval of the accuracy.
        counts: How often each label was predicted.
    """

    plan_digest: str
    labels: tuple[str, ...]
    word_scores: np.ndarray
    label_scores: np.ndarray
    label_log_probabilities: np.ndarray
    predictions: np.ndarray
    margins: np.ndarray
    ties: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    counts: tuple[int, ...]

    @property
    def degenerate(self) -> bool:
        """Whether one label takes more than 95 % of the items."""
        return max(self.counts) > _DEGENERATE * len(self.predictions)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "counts": dict(zip(self.labels, self.counts, strict=True)),
            "ties": self.ties,
            "degenerate": self.degenerate,
        }


def score_rows(plan: Plan, rows: np.ndarray) -> Scores:
    """Score a model's rows of logits.

    Args:
        plan: What was run.
        rows: (plan.items, plan.rows_per_item, vocabulary) of any floating dtype; read item by
            item, so that a memory map may be larger than the memory.

    Raises:
        MindportError: If the rows do not fit the plan, or one holds NaN or infinity.
    """
    words = _word_scores(plan, rows)  # float64 (plan.items, words)
    count = len(plan)
    own, prior = words[:count], words[count:]
    if plan.calibration == "pmi":
        own = own - prior
    labels = aggregate_words(plan, own)
    if plan.calibration in ("contextual", "domain"):
        expected = log_mean_exp(log_softmax(aggregate_words(plan, prior)))
        labels = log_softmax(labels) - expected
    ordered = np.sort(labels, axis=1)
    predictions = labels.argmax(axis=1)  # of equals the first
    right = int((predictions == np.array(plan.label_indices)).sum())
    return Scores(
        plan_digest=plan.digest,
        labels=plan.labels,
        word_scores=own,
        label_scores=labels,
        label_log_probabilities=log_softmax(labels),
        predictions=predictions,
        margins=ordered[:, -1] - ordered[:, -2],
        ties=int((ordered[:, -1] == ordered[:, -2]).sum()),
        accuracy=right / count,
        accuracy_interval=wilson_limits(right, count),
        counts=tuple(np.bincount(predictions, minlength=len(plan.labels)).tolist()),
    )


def aggregate_words(plan: Plan, words: np.ndarray) -> np.ndarray:
    """Return the labels' scores.

    Args:
        plan: Says which word belongs to which label.
        words: float64 (items, words).

    Returns:
        float64 (items, labels).
    """
    aggregate = AGGREGATES[plan.aggregate]
    owner = np.array([word.label for word in plan.words])
    parts = [aggregate(words[:, owner == label]) for label in range(len(plan.labels))]
    return np.stack(parts, axis=1)


def _word_scores(plan: Plan, rows: np.ndarray) -> np.ndarray:
    shape = (plan.items, plan.rows_per_item)
    if rows.ndim != 3 or rows.shape[:2] != shape or rows.shape[2] < plan.tokenizer_size:
        raise MindportError(
            f"The rows have shape {rows.shape}, but the plan has {shape[0]} items with {shape[1]} "
            f"rows each and a vocabulary of {plan.tokenizer_size}.",
            "Each row must be as wide as the model's vocabulary.",
        )
    scores = np.empty((plan.items, len(plan.words)))
    bad = []
    for item in range(plan.items):
        native = rows[item].astype(np.float64)  # (rows_per_item, vocabulary)
        if not np.isfinite(native).all():
            bad.append(item)
            continue
        logs = log_softmax(native)
        for place, word in enumerate(plan.words):
            scores[item, place] = sum(logs[row, token] for row, token in word.steps) / word.divisor
    if bad:
        names = [*plan.ids, *(f"without content: {text!r}" for text in plan.prior_texts)]
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise MindportError(
            f"{len(bad)} of {plan.items} items have rows with NaN or infinity: "
            f"{', '.join(names[item] for item in bad[:_SHOWN])}{more}.",
            "No label can be read from such a row; look for an overflow (float16?) or damaged "
            "weights.",
        )
    return scores


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log-softmax over the last axis, with the maximum taken out first.

    Args:
        logits: float64 (..., classes).
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def log_mean_exp(logs: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean of what ``logs`` are logarithms of, over the first axis.

    Args:
        logs: float64 (inputs, labels).
    """
    highest = logs.max(axis=0)
    result: np.ndarray = highest + np.log(np.exp(logs - highest).mean(axis=0))
    return result
