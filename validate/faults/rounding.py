"""Numbers in fewer bits."""

from __future__ import annotations

import numpy as np

HALF_BITS = 10  # float16; TF32 has as many
BFLOAT16_BITS = 7


def keep_bits(array: np.ndarray, bits: int) -> np.ndarray:
    """Return an array whose numbers keep ``bits`` bits of mantissa, rounded to nearest even.

    The range stays that of the array's dtype.

    Args:
        array: Of a floating dtype, any shape.
        bits: Stored bits of the mantissa: 7 as bfloat16, 10 as float16 and TF32.
    """
    mantissa, exponent = np.frexp(array.astype(np.float64))
    steps = 2.0 ** (bits + 1)  # frexp's mantissa lies in [0.5, 1)
    rounded = np.ldexp(np.round(mantissa * steps) / steps, exponent)
    return np.asarray(rounded, array.dtype)
