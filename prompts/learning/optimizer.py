"""Adam in float64 NumPy: both sides update with the same code."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Adam:
    """Adam without weight decay.

    Source: D. P. Kingma, J. Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015,
    algorithm 1, with its defaults.

    Args:
        beta_1: Decay of the mean of the gradients.
        beta_2: Decay of the mean of their squares.
        epsilon: Added to the root of the latter.
    """

    def __init__(self, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8) -> None:
        self._beta_1, self._beta_2, self._epsilon = beta_1, beta_2, epsilon
        self._means: dict[str, np.ndarray] = {}
        self._squares: dict[str, np.ndarray] = {}
        self._steps = 0

    def update(
        self,
        parameters: Mapping[str, np.ndarray],
        gradients: Mapping[str, np.ndarray],
        rate: float,
    ) -> dict[str, np.ndarray]:
        """Return the parameters after one step.

        Args:
            parameters: float64 of any shape.
            gradients: Of the same names and shapes.
            rate: The learning rate of this step.
        """
        self._steps += 1
        updated = {}
        for name, value in parameters.items():
            gradient = gradients[name].astype(np.float64)
            mean = self._means.get(name, np.zeros_like(value))
            square = self._squares.get(name, np.zeros_like(value))
            mean = self._beta_1 * mean + (1 - self._beta_1) * gradient
            square = self._beta_2 * square + (1 - self._beta_2) * gradient**2
            self._means[name], self._squares[name] = mean, square
            mean = mean / (1 - self._beta_1**self._steps)
            square = square / (1 - self._beta_2**self._steps)
            updated[name] = value - rate * mean / (np.sqrt(square) + self._epsilon)
        return updated
