"""Which difference is allowed, and why. The only place that knows a number of this kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.validate.metrics import rms

# Relative to a tap's root mean square. On the CPU, MindSpore 2.10 against torch 2.13, correct ports
# used at most, of float32's: 0.13 (random 12 x 768, both architectures) and 0.24 (a trained 6-layer
# MiniLM); of float16's: 0.34 (random 12 x 768). bfloat16's is float16's times the ratio of the
# units in the last place, 2^3; no correct port was measured in it.
SCALED: Mapping[str, float] = {"float32": 4e-5, "float16": 4e-2, "bfloat16": 3.2e-1}


@dataclass(frozen=True)
class Tolerance:
    """What is allowed at one tap: ``|c - r| <= atol + rtol * |r|``."""

    atol: float
    rtol: float


@dataclass(frozen=True)
class TolerancePolicy:
    """How tolerances are chosen.

    Attributes:
        name: ``scaled`` (the default) or ``user``.
        basis: The reason, in words, for the report.
        dtype: The coarser dtype of the two sides.
        atol: Given by the user, or None.
        rtol: Given by the user, or None.
    """

    name: str
    basis: str
    dtype: str
    atol: float | None = None
    rtol: float | None = None

    def at(self, reference: np.ndarray) -> Tolerance:
        """Return the tolerance for a tap whose reference output is given."""
        if self.atol is not None and self.rtol is not None:
            return Tolerance(self.atol, self.rtol)
        factor = SCALED[self.dtype]
        return Tolerance(factor * rms(reference), factor)


def choose_policy(dtype: str, atol: float | None, rtol: float | None) -> TolerancePolicy:
    """Return the policy for a run.

    Args:
        dtype: The coarser dtype of the two sides.
        atol: The user's absolute tolerance, or None.
        rtol: The user's relative tolerance, or None. If only one of the two is given the other
            is zero.

    Raises:
        MindportError: If one is negative or not finite.
    """
    if atol is None and rtol is None:
        factor = SCALED[dtype]
        basis = (
            f"{factor:g} of a tap's root mean square plus {factor:g} of the element, for {dtype}"
        )
        return TolerancePolicy("scaled", basis, dtype)
    for name, value in (("--atol", atol), ("--rtol", rtol)):
        if value is not None and not (np.isfinite(value) and value >= 0):
            raise MindportError(f"{name} is {value}; a number of at least 0 is needed.")
    return TolerancePolicy("user", "given on the command line", dtype, atol or 0.0, rtol or 0.0)
