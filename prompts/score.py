"""Logits to labels, once for both sides, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.plan import Plan
from mindport.prompts.verbalizer import AGGREGATES

_Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution
_DEGENERATE = 0.95
_SHOWN = 10


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model answered, item by item; every array is in the order of the plan's items.

    Attributes:
        plan_digest: The plan that was scored.
        labels: In order.
        word_logits: float64 (items, words): the raw logits of all label words, label by label.
        label_logits: float64 (items, labels).
        label_log_probabilities: float64 (items, labels): log-softmax over the labels.
        predictions: int64 (items,): the label with the largest logit; of equals the first.
        margins: float64 (items,): how far the winner's logit is above the runner-up's.
        ties: How many items have two winners or more.
        accuracy: The share of right predictions.
        accuracy_interval: Wilson's 95 % interval of the accuracy.
        counts: How often each label was predicted.
    """

    plan_digest: str
    labels: tuple[str, ...]
    word_logits: np.ndarray
    label_logits: np.ndarray
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
        rows: (items, vocabulary) of any floating dtype, in the order of the plan's items.

    Raises:
        MindportError: If the rows do not fit the plan, or one holds NaN or infinity.
    """
    _check_rows(plan, rows)
    columns = [token for tokens in plan.label_token_ids for token in tokens]
    words = rows[:, columns].astype(np.float64)
    ends = np.cumsum([len(tokens) for tokens in plan.label_token_ids])
    aggregate = AGGREGATES[plan.aggregate]
    logits = np.stack([aggregate(part) for part in np.split(words, ends[:-1], axis=1)], axis=1)
    ordered = np.sort(logits, axis=1)
    predictions = logits.argmax(axis=1)  # of equals the first
    right = int((predictions == np.array(plan.label_indices)).sum())
    return Scores(
        plan_digest=plan.digest,
        labels=plan.labels,
        word_logits=words,
        label_logits=logits,
        label_log_probabilities=log_softmax(logits),
        predictions=predictions,
        margins=ordered[:, -1] - ordered[:, -2],
        ties=int((ordered[:, -1] == ordered[:, -2]).sum()),
        accuracy=right / len(plan),
        accuracy_interval=wilson_interval(right, len(plan)),
        counts=tuple(np.bincount(predictions, minlength=len(plan.labels)).tolist()),
    )


def _check_rows(plan: Plan, rows: np.ndarray) -> None:
    if rows.ndim != 2 or len(rows) != len(plan) or rows.shape[1] < plan.tokenizer_size:
        raise MindportError(
            f"The rows have shape {rows.shape}, but the plan has {len(plan)} items and a "
            f"vocabulary of {plan.tokenizer_size}.",
            "One row of logits an item is needed, as wide as the model's vocabulary.",
        )
    native = rows if rows.dtype.kind == "f" else rows.astype(np.float32)  # bfloat16 is none
    bad = np.flatnonzero(~np.isfinite(native).all(axis=1))
    if bad.size:
        names = ", ".join(plan.ids[item] for item in bad[:_SHOWN])
        more = f" and {bad.size - _SHOWN} more" if bad.size > _SHOWN else ""
        raise MindportError(
            f"{bad.size} of {len(plan)} rows hold NaN or infinity: {names}{more}.",
            "No label can be read from such a row; look for an overflow (float16?) or damaged "
            "weights.",
        )


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log-softmax over the last axis, with the maximum taken out first.

    Args:
        logits: float64 (items, labels).
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a proportion.

    Source: E. B. Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*,
    J. Am. Stat. Assoc. 22 (1927): the proportions p with |p - right/total| <= z sqrt(p(1-p)/total).
    """
    share, z2 = right / total, _Z95 * _Z95
    centre = share + z2 / (2 * total)
    spread = _Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    scale = 1 + z2 / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
