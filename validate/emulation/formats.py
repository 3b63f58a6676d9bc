"""Short floating-point formats, bit for bit, in NumPy.

Values stay float32: a value *of* a format is a float32 that the format can hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

_MANTISSA = 23  # explicit bits of float32's
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_INFINITY = np.uint32(0x7F800000)


@dataclass(frozen=True)
class Format:
    """A binary format no wider than float32.

    Attributes:
        name: As users write it.
        bits: Explicit bits of the mantissa.
        lowest: Exponent of the smallest normal number; below it the spacing stays the same.
        highest: Exponent of the largest number.
        ties: Where a value goes that lies half-way: to the neighbour whose last bit is 0, or to
            the one farther from zero.
    """

    name: str
    bits: int
    lowest: int = -126
    highest: int = 127
    ties: Literal["even", "away"] = "even"

    @property
    def unit(self) -> float:
        """Unit roundoff: half the spacing at 1."""
        return float(2.0 ** -(self.bits + 1))

    @property
    def smallest(self) -> float:
        """The smallest normal number."""
        return float(2.0**self.lowest)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float((2 - 2.0**-self.bits) * 2.0**self.highest)

    def round(self, values: np.ndarray, *, saturate: bool = False) -> np.ndarray:
        """Return the nearest values of the format; a NaN stays one, a zero keeps its sign.

        Args:
            values: Any shape; taken as float32.
            saturate: Whether what is too large, infinity included, becomes the largest finite
                number; else it becomes infinite.

        Returns:
            float32, the same shape.
        """
        narrow = np.asarray(values, np.float32)
        with np.errstate(over="ignore"):
            # NumPy's conversion to float16 rounds to nearest, ties to even, subnormals too.
            half = self.name == "float16"
            rounded = narrow.astype(np.float16) if half else self._round_bits(narrow)
        if saturate:
            rounded = np.where(np.isinf(rounded), np.copysign(self.largest, rounded), rounded)
        return rounded.astype(np.float32)

    def _round_bits(self, values: np.ndarray) -> np.ndarray:
        """Round by adding to the bits: a carry out of the mantissa is the next exponent."""
        shift = _MANTISSA - self.bits
        bits = np.atleast_1d(values).view(np.uint32)
        half = np.uint32(1 << (shift - 1))
        last = (bits >> np.uint32(shift)) & np.uint32(1)
        more = half - np.uint32(1) + last if self.ties == "even" else half
        rounded = ((bits + more) & ~np.uint32((1 << shift) - 1)).view(np.float32)
        special = (bits & _MAGNITUDE) >= _INFINITY
        return np.where(special, np.atleast_1d(values), rounded).reshape(values.shape)


FLOAT16 = Format("float16", 10, lowest=-14, highest=15)
BFLOAT16 = Format("bfloat16", 7)
TF32 = Format("tf32", 10, ties="away")
HF32 = Format("hf32", 11)
FORMATS = {form.name: form for form in (FLOAT16, BFLOAT16, TF32, HF32)}
