"""Which difference is allowed, and why. The only place that knows a number of this kind.

``docs/tolerance.md`` derives the numbers and shows what they were tried on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.validate.emulation.units import DTYPE, find_unit
from mindport.validate.formula.rounding import PRECISIONS, Precision

DERIVED = "derived"
USER = "user"
# What is judged by habit rather than by derivation: |c - r| <= atol + rtol |r|.
FIXED: Mapping[str, tuple[float, float]] = {
    "community-1e-3": (1e-3, 1e-3),
    "community-1e-4": (1e-4, 1e-4),
}
POLICIES = (DERIVED, *FIXED)

# The predicted deviation is trusted to a factor of two.
SAFETY = 2.0
# In the accumulated view the deviation is a scale per row times one per column, from which a
# single element's may differ by two again.
ELEMENT = 2.0
# Chance that one tap of a correct run has an element beyond the limit, were the errors normal and
# the deviations exact.
ALARM = 1e-6


@dataclass(frozen=True)
class Limits:
    """What the errors of a tap, in units of their predicted deviation, may be.

    Attributes:
        rms: Root mean square of all elements.
        peak: Largest element.
    """

    rms: float
    peak: float


def isolated_limits(elements: int) -> Limits:
    """Return the limits for a tap that is recomputed from its own inputs.

    Args:
        elements: How many are compared; their errors are independent.
    """
    spread = math.sqrt(chi_square_share(elements))
    return Limits(SAFETY * spread, SAFETY * normal_peak(elements))


def accumulated_limits(elements: int, rows: int, copies: int, floor: float) -> Limits:
    """Return the limits for a tap that is compared with the oracle.

    The errors of a row (a token, or a sequence where it is pooled) may all follow from one error
    further up, so rows and not elements are independent; and the deviation is itself an estimate,
    from so many rows of so many copies.

    Args:
        elements: How many are compared.
        rows: In how many rows.
        copies: From how many disturbed copies the deviation is known.
        floor: The largest root mean square, in the same units, that the reference itself shows,
            as fed or reordered. Below 1 the prediction counts.
    """
    size = SAFETY * max(1.0, floor)
    spread = math.sqrt(variance_ratio(rows, rows * copies))
    return Limits(size * spread, ELEMENT * size * spread * normal_peak(elements))


# Chance that a mean square exceeds what its spread allows, before the safety factor, as a standard
# normal quantile: 1e-4.
_SPREAD_ALARM = 3.72
# A ratio to an estimate from fewer numbers than this tells nothing; then it may be as large as:
_FEW, _MOST = 4, 50.0**2


def chi_square_share(free: float) -> float:
    """Return what a mean square of ``free`` standard normal numbers exceeds with chance 1e-4.

    The approximation of Wilson and Hilferty (*The distribution of chi-square*, 1931).
    """
    part = 2 / (9 * free)
    return float((1 - part + _SPREAD_ALARM * math.sqrt(part)) ** 3)


def variance_ratio(free: float, known: float) -> float:
    """Return what the ratio of two mean squares exceeds with chance 1e-4.

    Paulson's approximation of the F distribution (*Annals of Mathematical Statistics* 13, 1942),
    which takes the cube roots of both for normal.

    Args:
        free: Degrees of freedom of what is judged.
        known: Of what it is compared with.
    """
    if known < _FEW:
        return _MOST
    z = _SPREAD_ALARM
    c, d = 2 / (9 * known), 2 / (9 * free)
    a, b = 1 - c, 1 - d
    square = a * a - z * z * c
    if square <= 0:
        return _MOST
    root = (a * b + math.sqrt(a * a * b * b - square * (b * b - z * z * d))) / square
    return float(min(root**3, _MOST))


# Six or eight runs tell the number of free directions of an error to a factor of three or so.
_FREEDOM = 3.0


def gradient_limits(
    reordered: Sequence[Size], disturbed: Sequence[Size], single: bool = False
) -> Limits:
    """Return what the error of a gradient, in its own units, may be.

    The mean square of a gradient's error spreads from run to run, the wider the fewer free
    directions the error has: a bias of two classes has one, and an error in the loss moves all
    gradients at once. The number of directions follows from the spread of the disturbed runs
    (Satterthwaite 1946), and the chi-square quantile from that (Wilson and Hilferty 1931).

    Args:
        reordered: The errors of correct runs in the run's dtype.
        disturbed: The errors of runs of Monte Carlo arithmetic.
        single: Whether the error is one number.
    """
    squares = np.array([size.rms**2 for size in disturbed])
    mean, variance = float(squares.mean()), float(squares.var(ddof=1))
    free = 1.0 if single or not variance else max(1.0, 2 * mean**2 / variance / _FREEDOM)
    largest = max([math.sqrt(mean * chi_square_share(free)), *(size.rms for size in reordered)])
    shapes = (size.peak / size.rms for size in (*reordered, *disturbed) if size.rms)
    return Limits(SAFETY * largest, ELEMENT * SAFETY * largest * max(shapes, default=0.0))


@dataclass(frozen=True)
class Size:
    """How large an error is.

    Attributes:
        rms: Root mean square of all elements.
        peak: Largest element.
    """

    rms: float
    peak: float


def normal_peak(elements: int) -> float:
    """Return what the largest of so many standard normal numbers exceeds with chance ``ALARM``.

    From the union bound over ``2 exp(-x^2 / 2)``, which by Azuma and Hoeffding holds for sums of
    independent rounding errors as well (Higham and Mary 2019; Ipsen and Zhou, arXiv 1906.10465).
    """
    return math.sqrt(2 * math.log(2 * max(elements, 1) / ALARM))


@dataclass(frozen=True)
class TolerancePolicy:
    """How tolerances are chosen.

    Attributes:
        name: ``derived``, one of :data:`FIXED`, or ``user``.
        basis: The reason, in words, for the report.
        dtype: Of the candidate.
        reference_dtype: Of the reference.
        atol: Absolute tolerance; None if derived.
        rtol: Relative tolerance; None if derived.
        matmul: The matrix unit that may round the candidate's products; None for none.
    """

    name: str
    basis: str
    dtype: str
    reference_dtype: str
    atol: float | None = None
    rtol: float | None = None
    matmul: str | None = None

    @property
    def precision(self) -> Precision:
        """How a correct candidate rounds."""
        return find_unit(self.matmul).precision if self.matmul else PRECISIONS[self.dtype]

    @property
    def mixed(self) -> bool:
        """Whether the reference computes in another dtype than the candidate."""
        return self.dtype != self.reference_dtype

    @property
    def derived(self) -> bool:
        """Whether the tolerance follows from the oracle and the noise floor."""
        return self.atol is None

    def used(self, reference: np.ndarray, candidate: np.ndarray) -> np.ndarray:
        """Return which share of a fixed tolerance each element uses: above 1 is outside.

        Where nothing is allowed, an equal pair uses 0 and any other infinity.

        Args:
            reference: Float, any shape.
            candidate: The same shape.
        """
        r, c = reference.astype(np.float64), candidate.astype(np.float64)
        difference = np.abs(c - r)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = difference / ((self.atol or 0.0) + (self.rtol or 0.0) * np.abs(r))
        return np.where(difference == 0, 0.0, share)


def choose_policy(
    dtype: str,
    name: str | None,
    atol: float | None,
    rtol: float | None,
    matmul: str | None = None,
    reference_dtype: str | None = None,
) -> TolerancePolicy:
    """Return the policy for a run.

    Args:
        dtype: Of the candidate.
        name: One of :data:`POLICIES`; None takes ``derived``, or the user's figures.
        atol: The user's absolute tolerance, or None.
        rtol: The user's relative tolerance, or None. If only one of the two is given the other
            is zero.
        matmul: The matrix unit that may round the candidate's products, or None.
        reference_dtype: Of the reference; None for the candidate's.

    Raises:
        MindportError: If there is no such policy, a figure is negative or not finite, both a name
            and figures are given, or the unit does not take products of this dtype.
    """
    if name is not None and name not in POLICIES:
        raise MindportError(f"There is no policy {name!r}.{did_you_mean(name, POLICIES)}")
    unit, other = find_unit(matmul) if matmul else None, reference_dtype or dtype
    if unit is not None and dtype != DTYPE:
        raise MindportError(
            f"The matrix unit {unit.name} rounds the inputs of {DTYPE} networks, not of {dtype}.",
            "Leave out --dtype.",
        )
    if atol is None and rtol is None:
        if name is not None and name in FIXED:
            absolute, relative = FIXED[name]
            basis = f"the habit of community migration tasks, not derived for {dtype}"
            return TolerancePolicy(name, basis, dtype, other, absolute, relative, matmul)
        rounding = f"rounding in {dtype}"
        if unit is not None:
            rounding += f" with the inputs of matrix products in {unit.inputs.name} ({unit.name})"
        said = "or the reference shows"
        if other != dtype:  # the reference shows nothing about this dtype
            said = f"from the float64 network of its rounded weights; the reference is {other}"
        basis = f"{SAFETY:g} times the deviation that {rounding} predicts, {said}"
        return TolerancePolicy(DERIVED, basis, dtype, other, matmul=matmul)
    if name is not None:
        raise MindportError("--policy and --atol or --rtol exclude each other.", "Leave one out.")
    for option, value in (("--atol", atol), ("--rtol", rtol)):
        if value is not None and not (np.isfinite(value) and value >= 0):
            raise MindportError(f"{option} is {value}; a number of at least 0 is needed.")
    basis = "given on the command line"
    return TolerancePolicy(USER, basis, dtype, other, atol or 0.0, rtol or 0.0, matmul)
