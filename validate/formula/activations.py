"""Activation functions in float64, by the names that configs give them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]

_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)


def erf(x: np.ndarray) -> np.ndarray:
    """Return the error function of each element; NumPy has none, so the C library's is used."""
    values = np.fromiter(map(math.erf, x.ravel().tolist()), np.float64, x.size)
    return values.reshape(x.shape)


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def _gelu_new(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = 0.5 * x * (1 + np.tanh(gelu_argument(x)))
    return result


def _sigmoid(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = 0.5 * (1 + np.tanh(x / 2))
    return result


def fraction_tanh(x: np.ndarray) -> np.ndarray:
    """Return tanh as MindSpore's CPU kernel computes it: up to 1e-4 off, most where x is near 5.

    Its continued fraction, cut off; beyond 5 the result is one. Measured on MindSpore 2.7.0 and
    2.10.0, whose float32 results it gives to 2.4e-7.
    """
    s = x * x
    over = (((s + 378) * s + 17325) * s + 135135) * x
    under = ((28 * s + 3150) * s + 62370) * s + 135135
    return np.where(np.abs(x) > 5, np.sign(x), over / under)


def gelu_argument(x: np.ndarray) -> np.ndarray:
    """Return what the tanh approximation of GELU takes the tanh of."""
    result: np.ndarray = _SQRT_2_OVER_PI * (x + 0.044715 * (x * x * x))
    return result


ACTIVATIONS: Mapping[str, Function] = {
    "gelu": _gelu,  # Hendrycks and Gimpel, arXiv 1606.08415
    "gelu_new": _gelu_new,  # its tanh approximation
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),  # its sigmoid approximation
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
}
