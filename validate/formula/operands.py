"""What a matrix unit does to the inputs of a product: rounds them to a shorter format.

Blanchard, Higham, Lopez, Mary and Pranesh, *Mixed precision block fused multiply-add*, SIAM J.
Sci. Comput. 42 (2020), have the same model with two unit roundoffs as a bound: one of the inputs,
one of the sum. Here it is a variance, as in :mod:`mindport.validate.formula.rounding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mindport.migrate.computation import Mix, Project, Score, Step
from mindport.validate.formula.operations import (
    Setting,
    merge_heads,
    part_matrix,
    picked,
    scale_of,
    split_heads,
)

# E d^2 / u^2 of one rounding: d is uniform in +-u 2^e / x, x log-uniform in [2^e, 2^(e+1)), which
# gives 1/3 times the mean of (2^e / x)^2 = 3 / (8 ln 2).
ROUNDING = 3 / (8 * np.log(2)) / 3


@dataclass(frozen=True)
class Short:
    """How values are rounded to a shorter format on their way into or out of a product.

    Attributes:
        unit: Unit roundoff.
        smallest: The smallest normal number; below it the spacing stays the same.
    """

    unit: float
    smallest: float

    def variance(self, values: np.ndarray) -> np.ndarray:
        """Return the variance of the error of rounding each value; nothing happens to a zero."""
        size = np.square(values)
        # Below the normal numbers the error is uniform within half a spacing, or the value itself.
        below = np.minimum(size, (self.unit * self.smallest) ** 2 / 3)
        usual = ROUNDING * self.unit**2 * size
        result: np.ndarray = np.where(np.abs(values) < self.smallest, below, usual)
        return result


def operand_variance(
    step: Step, inputs: Sequence[np.ndarray], setting: Setting, short: Short
) -> np.ndarray | float:
    """Return the variance of a product's error if its inputs are rounded; 0 if it is none.

    ``s = sum x w`` becomes ``sum x (1 + d) w (1 + e)`` with independent ``d`` and ``e``, so the
    variance is ``sum var(x) w^2 + sum x^2 var(w)``, or ``0.36 u^2 sum (x w)^2``: it follows from
    the terms, however much they cancel, and does not grow with their number as that of adding does.

    Args:
        step: Which operation.
        inputs: Values of the taps that it reads.
        setting: Config, model inputs and parameters.
        short: How inputs are rounded.
    """

    def of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        of_x = short.variance(x).astype(np.float32)
        of_y = short.variance(y).astype(np.float32)
        total: np.ndarray = of_x @ squares(y) + squares(x) @ of_y
        return total

    match step.operation:
        case Project() as operation:
            x = picked(inputs[0], operation.rows, setting)
            variance = of(x, part_matrix(operation, setting))
            squeezed: np.ndarray = variance[..., 0] if operation.squeeze else variance
            return squeezed
        case Score() as operation:
            query, key = (split_heads(a, setting.config[operation.heads]) for a in inputs)
            scale = scale_of(step, setting, query.shape[-1])
            scaled: np.ndarray = scale**2 * of(query, key.swapaxes(-1, -2))
            return scaled
        case Mix() as operation:
            return merge_heads(
                of(inputs[0], split_heads(inputs[1], setting.config[operation.heads]))
            )
    return 0.0


def squares(array: np.ndarray) -> np.ndarray:
    """Return the square of each element, float32."""
    # A variance is needed to a few per cent: float32 halves the time of the product.
    narrow = array.astype(np.float32)
    return narrow * narrow
