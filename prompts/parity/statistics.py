"""Exact binomial limits and paired statistics, in plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mindport.prompts.metrics import confusion_matrix

CONFIDENCE = 0.95
_TINY = 1e-300
_DRAWS_AT_ONCE = 1000


def regularised_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), for a, b > 0 and x in [0, 1].

    Source: the continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions,
    evaluated from the front (W. J. Lentz, *Appl. Opt.* 15, 1976), on the side of the mean where
    it converges fast.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _lower_beta(b, a, 1 - x)
    return _lower_beta(a, b, x)


def _lower_beta(a: float, b: float, x: float) -> float:
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    )  # fmt: skip
    numerator, denominator = 1.0, 0.0
    fraction = 1.0
    for step in range(100_000):
        half = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = half * (b - half) * x / ((a + step - 1) * (a + step))
        else:
            term = -(a + half) * (a + b + half) * x / ((a + step - 1) * (a + step))
        denominator = 1 / _away(1 + term * denominator)
        numerator = _away(1 + term / numerator)
        fraction *= numerator * denominator
        if step and abs(1 - numerator * denominator) < 1e-15:
            break
    # The loop evaluates 1 + 1/(1 + d1/(1 + ...)).
    return min(1.0, math.exp(log_front) * (fraction - 1))


def _away(value: float) -> float:
    """Return the value, kept away from 0 so that it can be divided by."""
    return value if abs(value) > _TINY else _TINY


def binomial_tail(successes: int, total: int, share: float) -> float:
    """Return P(X >= successes) for X binomial with ``total`` trials of probability ``share``."""
    if successes <= 0:
        return 1.0
    if successes > total:
        return 0.0
    return regularised_beta(successes, total - successes + 1, share)


def upper_limit(successes: int, total: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided Clopper-Pearson upper limit of a proportion.

    Source: C. J. Clopper, E. S. Pearson, *Biometrika* 26 (1934): the greatest proportion under
    which so few successes still have a probability of 1 - confidence.
    """
    if successes >= total:
        return 1.0
    return _bisect(lambda p: 1 - binomial_tail(successes + 1, total, p) > 1 - confidence)


def lower_limit(successes: int, total: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided Clopper-Pearson lower limit of a proportion."""
    return 1 - upper_limit(total - successes, total, confidence)


def _bisect(below: Callable[[float], bool]) -> float:
    """Return where a condition on [0, 1], true on the left, stops being true."""
    low, high = 0.0, 1.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high) or high - low < 1e-15:
            return high
        low, high = (middle, high) if below(middle) else (low, middle)


def wilson_limits(successes: int, total: int) -> tuple[float, float]:
    """Return Wilson's two-sided 95 % score interval of a proportion.

    Source: E. B. Wilson, *J. Am. Stat. Assoc.* 22 (1927): the proportions p with
    |p - successes/total| <= z sqrt(p (1 - p) / total).
    """
    z = 1.959963984540054  # the 97.5 % point of the normal distribution
    share = successes / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def cohen_kappa(first: np.ndarray, second: np.ndarray, labels: int) -> float | None:
    """Return Cohen's kappa: agreement beyond what the two label counts alone would give.

    None if both sides give one and the same label to everything: nothing is left to agree on.

    Source: J. Cohen, *Educ. Psychol. Meas.* 20 (1960).

    Args:
        first: int64 (items,), label indices.
        second: The same of the other side.
        labels: How many labels there are.
    """
    joint = confusion_matrix(first, second, labels) / len(first)
    chance = float(joint.sum(axis=0) @ joint.sum(axis=1))
    if chance >= 1:
        return None
    return (float(np.trace(joint)) - chance) / (1 - chance)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided McNemar p: are the items that one side alone gets right balanced?

    An alarm for bias, and no proof of equality: fifty against fifty has p = 1, and five against
    none 0.0625.

    Source: Q. McNemar, *Psychometrika* 12 (1947), with the binomial distribution in place of chi
    squared.
    """
    total = only_first + only_second
    if only_first == only_second:
        return 1.0
    return min(1.0, 2 * binomial_tail(max(only_first, only_second), total, 0.5))


def marginal_difference(first: np.ndarray, second: np.ndarray, labels: int) -> np.ndarray:
    """Return how much the share of each predicted label grew from the first side to the second.

    Args:
        first: int64 (items,), label indices.
        second: The same of the other side.
        labels: How many labels there are.

    Returns:
        float64 (labels,), of sum 0.
    """
    counts = [np.bincount(side, minlength=labels) for side in (first, second)]
    return np.asarray((counts[1] - counts[0]) / len(first))


@dataclass(frozen=True)
class Difference:
    """How much larger a figure is on the candidate's side.

    Attributes:
        estimate: On the items as they are.
        low: The 2.5 % point of the paired bootstrap.
        high: Its 97.5 % point.
        equivalence_low: Its 5 % point.
        equivalence_high: Its 95 % point: the two one-sided tests at 5 % each both reject if this
            and the former lie within the margin.
    """

    estimate: float
    low: float
    high: float
    equivalence_low: float
    equivalence_high: float


def paired_bootstrap(
    truth: np.ndarray,
    reference: np.ndarray,
    candidate: np.ndarray,
    labels: int,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Return percentile intervals of the differences in accuracy and macro-F1.

    Items are drawn in pairs, with both sides' answers. Items with the same three labels (true,
    reference's, candidate's) are alike, so their counts are drawn, from a multinomial
    distribution; that is the same as drawing items and far faster.

    Source: B. Efron, R. J. Tibshirani, *An Introduction to the Bootstrap* (1993), section 13.3.

    Args:
        truth: int64 (items,), true labels.
        reference: The reference's.
        candidate: The candidate's.
        labels: How many labels there are.
        draws: How many resamples.
        seed: Of the generator.

    Returns:
        ``accuracy`` and ``macro_f1``.
    """
    cells, counts = np.unique(np.stack([truth, reference, candidate]), axis=1, return_counts=True)
    rng = np.random.default_rng(seed)
    shares = counts / counts.sum()
    found = {"accuracy": np.zeros(draws), "macro_f1": np.zeros(draws)}
    for start in range(0, draws, _DRAWS_AT_ONCE):
        part = slice(start, min(start + _DRAWS_AT_ONCE, draws))
        sample = rng.multinomial(len(truth), shares, size=part.stop - start).astype(np.float64)
        for name, value in _differences(cells, sample, labels).items():
            found[name][part] = value
    result = {}
    for name, estimate in _differences(cells, counts[None].astype(np.float64), labels).items():
        points = np.quantile(found[name], [0.025, 0.975, 0.05, 0.95])
        result[name] = Difference(float(estimate[0]), *map(float, points))
    return result


def _differences(cells: np.ndarray, counts: np.ndarray, labels: int) -> dict[str, np.ndarray]:
    """Return candidate less reference for each row of counts, float64 (draws, cells)."""
    truth, *sides = cells
    one_hot = np.eye(labels)
    actual = counts @ one_hot[truth]  # (draws, labels)
    accuracy, macro = [], []
    for side in sides:
        right = one_hot[truth] * (truth == side)[:, None]
        hits = counts @ right
        # An F1 of 0/0 is 0, as in the metrics.
        whole = actual + counts @ one_hot[side]
        macro.append((2 * hits / np.where(whole == 0, 1, whole)).mean(axis=1))
        accuracy.append(hits.sum(axis=1) / counts.sum(axis=1))
    return {"accuracy": accuracy[1] - accuracy[0], "macro_f1": macro[1] - macro[0]}


@dataclass(frozen=True)
class Equivalence:
    """Whether two accuracies are shown to be equal within a margin.

    Attributes:
        margin: The greatest difference that counts as equal.
        equal: Whether the interval lies within the margin.
        low: The interval's lower end.
        high: Its upper end.
        method: How the interval was made.
    """

    margin: float
    equal: bool
    low: float
    high: float
    method: str


def accuracy_equivalence(
    reference_right: np.ndarray,
    candidate_right: np.ndarray,
    difference: Difference,
    margin: float,
) -> Equivalence:
    """Test by two one-sided tests, at 5 % each, that the accuracies differ by less than a margin.

    With ten items or more that one side alone gets right, from the paired bootstrap. With fewer
    the bootstrap is too sure of itself (with none its interval is a point); then from the
    Clopper-Pearson upper limit of the share of such items, which no difference can exceed.

    Source: D. J. Schuirmann, *J. Pharmacokinet. Biopharm.* 15 (1987).

    Args:
        reference_right: bool (items,).
        candidate_right: bool (items,).
        difference: Of the accuracies, from :func:`paired_bootstrap`.
        margin: The greatest difference that counts as equal.
    """
    changed = int((reference_right != candidate_right).sum())
    low, high = difference.equivalence_low, difference.equivalence_high
    method = "paired bootstrap"
    if changed < 10:
        high = upper_limit(changed, len(reference_right))
        low, method = -high, "Clopper-Pearson limit of the changed items"
    return Equivalence(margin, -margin < low and high < margin, low, high, method)
