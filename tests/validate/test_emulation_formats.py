"""Short formats bit by bit: against ml_dtypes and NumPy, plain arithmetic, and by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindport.validate.emulation.formats import BFLOAT16, FLOAT16, FORMATS, HF32, TF32

LARGEST = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).smallest_subnormal)
# Every sign and exponent, with mantissas about every place where some format may round.
LOW = np.array([0, 1, 0x7FF, 0x800, 0x801, 0xFFF, 0x1000, 0x1001, 0x17FF, 0x1800, 0x1FFF,
                0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)  # fmt: skip


def same(found, wanted):
    """Equal bit by bit, but a NaN is a NaN."""
    found, wanted = np.asarray(found, np.float32), np.asarray(wanted, np.float32)
    equal = (found.view(np.uint32) == wanted.view(np.uint32)) | (np.isnan(found) & np.isnan(wanted))
    return bool(equal.all())


@pytest.fixture(scope="module")
def patterns():
    high = np.arange(1 << 16, dtype=np.uint32) << 16
    return (high[:, None] | LOW).ravel().view(np.float32)


def test_bfloat16_is_that_of_ml_dtypes(patterns):
    with np.errstate(invalid="ignore", over="ignore"):
        wanted = patterns.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert same(BFLOAT16.round(patterns), wanted)


def test_float16_keeps_its_own_values_and_rounds_between_them():
    """All 65536 of them, and every point half-way between two neighbours."""
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    assert same(FLOAT16.round(values.astype(np.float32)), values.astype(np.float32))
    finite = np.arange(0x7BFF, dtype=np.uint16)  # each has a finite neighbour above
    low, high = (bits.view(np.float16).astype(np.float32) for bits in (finite, finite + 1))
    even = np.where(finite % 2 == 0, low, high)
    half_way = (low + high) / 2
    assert same(FLOAT16.round(half_way), even)
    assert same(FLOAT16.round(np.nextafter(half_way, np.float32(0))), low)
    assert same(FLOAT16.round(np.nextafter(half_way, np.float32(np.inf))), high)
    assert same(FLOAT16.round(-half_way), -even)


def by_arithmetic(form, value):
    """Round with fractions: no bit of the code under test."""
    if not math.isfinite(value) or value == 0:
        return value
    exponent = max(math.frexp(abs(value))[1] - 1, form.lowest)
    quotient = Fraction(abs(value)) / Fraction(2) ** (exponent - form.bits)
    below, rest = divmod(quotient, 1)
    up = rest > Fraction(1, 2) or (
        rest == Fraction(1, 2) and (form.ties == "away" or below % 2 == 1)
    )
    rounded = (below + up) * Fraction(2) ** (exponent - form.bits)
    magnitude = math.inf if rounded > Fraction(form.largest) else float(rounded)
    return math.copysign(magnitude, value)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@given(values=st.lists(st.floats(width=32), min_size=1, max_size=8))
def test_any_number_goes_to_the_nearest(form, values):
    wanted = [by_arithmetic(form, value) for value in values]
    assert same(form.round(np.array(values, np.float32)), wanted)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_what_is_rounded_stays(form, patterns):
    once = form.round(patterns)
    assert same(form.round(once), once)
    normal = np.isfinite(once) & (np.abs(patterns) >= form.smallest)
    wide = patterns[normal].astype(np.float64)
    assert np.abs(once[normal] / wide - 1).max() <= form.unit


@pytest.mark.parametrize(
    ("form", "value", "rounded"),
    [
        # 10 bits behind the point: the spacing at 1 is 2^-10, a tie is 2^-11.
        (TF32, 1 + 2**-11, 1 + 2**-10),
        (TF32, 1 + 2**-11 - 2**-23, 1.0),
        (TF32, 1 + 3 * 2**-11, 1 + 2**-9),
        (TF32, -(1 + 2**-11), -(1 + 2**-10)),
        (TF32, 2 - 2**-23, 2.0),
        (TF32, 1e-40, round(1e-40 / 2**-136) * 2**-136),  # subnormals: spacing 2^(-126 - 10)
        (TF32, 2**-137, 2**-136),
        (TF32, 2**-137 - TINY, 0.0),
        (TF32, 65504.0, 65504.0),
        (TF32, 1e30, by_arithmetic(TF32, float(np.float32(1e30)))),
        (TF32, LARGEST, math.inf),
        # 11 bits: the spacing at 1 is 2^-11, a tie is 2^-12 and goes to the even neighbour.
        (HF32, 1 + 2**-11, 1 + 2**-11),
        (HF32, 1 + 2**-12, 1.0),
        (HF32, 1 + 3 * 2**-12, 1 + 2**-10),
        (HF32, 1 + 2**-12 + 2**-23, 1 + 2**-11),
        (HF32, -(1 + 2**-12), -1.0),
        (HF32, 2**-138, 0.0),  # a tie between 0 and the smallest, 2^-137
        (HF32, 3 * 2**-138, 2**-136),
        (HF32, LARGEST, math.inf),
        (HF32, (2 - 2**-11) * 2.0**127, (2 - 2**-11) * 2.0**127),
        (FLOAT16, 65519.0, 65504.0),
        (FLOAT16, 65520.0, math.inf),
        (FLOAT16, 2**-25, 0.0),
        (FLOAT16, 3 * 2**-26, 2**-24),
        (BFLOAT16, 1 + 2**-8, 1.0),
        (BFLOAT16, 1 + 3 * 2**-8, 1 + 2**-6),
    ],
)
def test_by_hand(form, value, rounded):
    assert same(form.round(np.array([value], np.float32)), [rounded])


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_zeros_infinities_and_nan(form):
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)
    assert same(form.round(special), special)
    largest = form.largest
    assert same(form.round(special, saturate=True), [0.0, -0.0, largest, -largest, np.nan])
    assert same(form.round(np.array([LARGEST]), saturate=True), [largest])
    assert form.round(np.float32(1.5)).shape == ()
