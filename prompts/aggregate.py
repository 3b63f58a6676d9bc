"""How the scores of a label's words become the label's score."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Aggregate = Callable[[np.ndarray], np.ndarray]  # float64 (items, words of a label) -> (items,)


def mean_log(scores: np.ndarray) -> np.ndarray:
    """Return the mean of the words' log-probabilities, as OpenPrompt's ``ManualVerbalizer``."""
    mean: np.ndarray = scores.mean(axis=1)
    return mean


def sum_prob(scores: np.ndarray) -> np.ndarray:
    """Return the logarithm of the sum of the words' probabilities.

    So do T. Zhao et al., *Calibrate Before Use* (ICML 2021).
    """
    highest = scores.max(axis=1, keepdims=True)
    total: np.ndarray = highest[:, 0] + np.log(np.exp(scores - highest).sum(axis=1))
    return total


def max_log(scores: np.ndarray) -> np.ndarray:
    """Return the log-probability of the likeliest word."""
    highest: np.ndarray = scores.max(axis=1)
    return highest


def first_log(scores: np.ndarray) -> np.ndarray:
    """Return the log-probability of the first word."""
    first: np.ndarray = scores[:, 0]
    return first


# Each is monotone, and a shift of all words shifts the label by as much: parity relies on both.
AGGREGATES: Mapping[str, Aggregate] = {
    "mean_log": mean_log,
    "sum_prob": sum_prob,
    "max": max_log,
    "first": first_log,
}

# What a word's summed log-probability is divided by, from its text and its number of tokens.
NORMALIZERS: Mapping[str, Callable[[str, int], float]] = {
    "none": lambda text, tokens: 1.0,
    "tokens": lambda text, tokens: float(tokens),
    "characters": lambda text, tokens: float(len(text)),
    "bytes": lambda text, tokens: float(len(text.encode())),
}
