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


def _sigmoid(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = 0.5 * (1 + np.tanh(x / 2))
    return result


def gelu_argument(x: np.ndarray) -> np.ndarray:
    """Return what the tanh approximation of GELU takes the tanh of."""
    result: np.ndarray = _SQRT_2_OVER_PI * (x + 0.044715 * (x * x * x))
    return result


def gelu_with(tanh: Function) -> Function:
    """Return the tanh approximation of GELU, made with a tanh."""

    def gelu(x: np.ndarray) -> np.ndarray:
        result: np.ndarray = 0.5 * x * (1 + tanh(gelu_argument(x)))
        return result

    return gelu


ACTIVATIONS: Mapping[str, Function] = {
    "gelu": _gelu,  # Hendrycks and Gimpel, arXiv 1606.08415
    "gelu_new": gelu_with(np.tanh),  # its tanh approximation
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),  # its sigmoid approximation
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
}
