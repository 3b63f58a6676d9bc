"""Disturb a float64 run, forward and backward, as rounding would: Monte Carlo arithmetic.

Every operation that rounds, and the gradient of each of its arguments, gets random errors of the
size that probabilistic rounding analysis predicts (:mod:`mindport.validate.formula.rounding` has
the model, Parker 1997, *Monte Carlo arithmetic*, the idea). The error of a sum follows from the
squares of its terms, not from the sum: where terms cancel it is large beside what is left, as it
is in the real dtype.
"""

from __future__ import annotations

import math
from typing import Any

from mindport.validate.formula.operands import ROUNDING
from mindport.validate.formula.rounding import EXP_SLOPE, PRECISIONS

# Of a plain sum of n terms, E (error / u)^2 = 0.18 (n / 2 sum(terms^2) + n / 3 sum^2).
_WALK, _DRIFT = ROUNDING / 2, ROUNDING / 3


class Rounding:
    """Makes random errors.

    Args:
        torch: The module torch.
        dtype: Whose rounding is imitated.
        seed: Of the errors.
    """

    def __init__(self, torch: Any, dtype: str, seed: int) -> None:
        self.torch, self.precision = torch, PRECISIONS[dtype]
        self._generator = torch.Generator().manual_seed(seed)
        precision = self.precision
        # What is stored is rounded; below the smallest normal number, to a fixed spacing.
        self._spacing = 2 * precision.unit * precision.smallest / math.sqrt(12)

    def noise(self, like: Any) -> Any:
        """Return standard normal numbers, float32 for speed: they are most of the work."""
        return self.torch.randn(like.shape, generator=self._generator)

    def stored(self, value: Any, variance: Any = 0.0) -> Any:
        """Return a value with the errors of computing it and of storing it.

        Args:
            value: float64.
            variance: Of the error of computing it, in the units of the value.
        """
        total = variance + self.precision.stored * value.square() + self._spacing**2
        return value + total.sqrt() * self.noise(value)

    def rounded(self, value: Any) -> Any:
        """Return a value with the errors of storing it; it may be as large as a mask is."""
        factor = 1 + math.sqrt(self.precision.stored) * self.noise(value)
        largest = self.torch.finfo(value.dtype).max
        return (value * factor + self._spacing * self.noise(value)).clamp(-largest, largest)

    def of_softmax(self, x: Any, shown: Any) -> tuple[Any, Any]:
        """Return the relative variance of a softmax's error: by row, and of each element.

        Args:
            x: What goes into it.
            shown: Which elements are not hidden by a mask.
        """
        precision = self.precision
        below = self.torch.where(shown, x - x.amax(-1, keepdim=True), 0.0)
        of_row = precision.kernel * shown.sum(-1, keepdim=True) / 3
        slope = precision.stored + (EXP_SLOPE * precision.inner) ** 2
        return of_row, slope * below.square() + precision.ulps("exp") + 3 * precision.stored

    def of_row_loss(self, like: Any, classes: int) -> Any:
        """Return the error of a cross entropy: that of one row, as if all rows made the same."""
        relative = self.precision.kernel * classes / 3 + self.precision.ulps("exp")
        return math.sqrt(relative) * self.noise(like)

    def of_sum(self, total: Any, squares: Any, terms: float | Any) -> Any:
        """Return the variance of the error of a sum.

        Args:
            total: The sum.
            squares: The sum of the squares of its terms.
            terms: How many there are.
        """
        drift = _DRIFT * total.square()
        return self.precision.inner**2 * terms * (_WALK * squares + drift)

    def of_dot(self, a: Any, b: Any) -> Any:
        """Return the sum of a product over the last axis, kept, and the variance of its error."""
        terms = a * b
        total = terms.sum(-1, keepdim=True)
        squares = terms.square().sum(-1, keepdim=True)
        return total, self.of_sum(total, squares, a.shape[-1])

    def product(self, a: Any, b: Any) -> Any:
        """Return a matrix product with its errors."""
        total = a @ b
        squares = (a.float().square() @ b.float().square()).double()
        return self.stored(total, self.of_sum(total, squares, a.shape[-1]))
