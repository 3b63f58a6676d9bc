"""How well labels and their probabilities fit the truth."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_BINS = 15


@dataclass(frozen=True)
class LabelMetrics:
    """One label against all others; what would be 0/0 is 0.

    Attributes:
        label: Its name.
        precision: The share of its predictions that are right.
        recall: The share of its items that are found.
        f1: The harmonic mean of both.
        support: How many items have it.
        predicted: How many items were given it.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(frozen=True)
class ClassificationMetrics:
    """Figures of one side's labels.

    Attributes:
        accuracy: The share of right labels.
        macro_f1: The mean of the labels' F1, absent labels included.
        micro_f1: F1 of all decisions together; with one label per item it is the accuracy.
        weighted_f1: The mean of the labels' F1, weighted by support.
        mcc: Matthews' correlation coefficient for several labels (J. Gorodkin, *Comput. Biol.
            Chem.* 28, 2004); 0 if one side has one label only.
        brier: The mean of the squared distance between probabilities and truth, over all labels,
            from 0 to 2 (G. W. Brier, *Mon. Weather Rev.* 78, 1950).
        ece: Expected calibration error: the mean of |accuracy - confidence| over 15 equal bins of
            the winner's probability, weighted by items (C. Guo et al., ICML 2017).
        per_label: In the order of the labels.
        confusion: Items by true label (row) and predicted label (column).
    """

    accuracy: float
    macro_f1: float
    micro_f1: float
    weighted_f1: float
    mcc: float
    brier: float
    ece: float
    per_label: tuple[LabelMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, by name, as plain values for JSON."""
        content = asdict(self)
        content["per_label"] = list(content["per_label"])
        content["confusion"] = [list(row) for row in self.confusion]
        return content


def classification_metrics(
    labels: tuple[str, ...],
    truth: np.ndarray,
    predictions: np.ndarray,
    log_probabilities: np.ndarray,
) -> ClassificationMetrics:
    """Compute all figures.

    Args:
        labels: Names.
        truth: int64 (items,), label indices.
        predictions: int64 (items,), label indices.
        log_probabilities: float64 (items, labels).
    """
    matrix = confusion_matrix(truth, predictions, len(labels))
    hits, support, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    f1 = _ratio(2 * hits, support + predicted)
    accuracy = float(hits.sum() / len(truth))
    probabilities = np.exp(log_probabilities)
    return ClassificationMetrics(
        accuracy=accuracy,
        macro_f1=float(f1.mean()),
        micro_f1=accuracy,
        weighted_f1=float(f1 @ support / len(truth)),
        mcc=matthews(matrix),
        brier=float(((probabilities - np.eye(len(labels))[truth]) ** 2).sum(axis=1).mean()),
        ece=calibration_error(probabilities, truth, predictions),
        per_label=tuple(
            LabelMetrics(
                label=name,
                precision=float(precision[k]),
                recall=float(recall[k]),
                f1=float(f1[k]),
                support=int(support[k]),
                predicted=int(predicted[k]),
            )
            for k, name in enumerate(labels)
        ),
        confusion=tuple(map(tuple, matrix.tolist())),
    )


def confusion_matrix(truth: np.ndarray, predictions: np.ndarray, labels: int) -> np.ndarray:
    """Return how many items have each true label (row) and prediction (column), int64."""
    matrix = np.zeros((labels, labels), np.int64)
    np.add.at(matrix, (truth, predictions), 1)
    return matrix


def matthews(matrix: np.ndarray) -> float:
    """Return Matthews' correlation coefficient of a confusion matrix; 0 where it is 0/0."""
    counts = [[int(value) for value in row] for row in matrix]  # exact: the products are large
    size = range(len(counts))
    total = sum(map(sum, counts))
    support = [sum(row) for row in counts]
    predicted = [sum(row[k] for row in counts) for k in size]
    above = sum(counts[k][k] for k in size) * total - sum(
        s * p for s, p in zip(support, predicted, strict=True)
    )
    below = (total**2 - sum(s * s for s in support)) * (total**2 - sum(p * p for p in predicted))
    return above / math.sqrt(below) if below else 0.0


def calibration_error(
    probabilities: np.ndarray, truth: np.ndarray, predictions: np.ndarray
) -> float:
    """Return the expected calibration error over 15 equal bins of the winner's probability.

    Args:
        probabilities: float64 (items, labels).
        truth: int64 (items,).
        predictions: int64 (items,): the winners.
    """
    confidence = np.take_along_axis(probabilities, predictions[:, None], axis=1)[:, 0]
    # A bin holds its upper edge.
    bins = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    gap = np.bincount(bins, (truth == predictions) - confidence, minlength=_BINS)
    return float(np.abs(gap).sum() / len(truth))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.asarray(above / np.where(below == 0, 1, below))
