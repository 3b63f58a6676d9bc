"""ULP distances against plain definitions: counting steps, and listing every float16."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindport.validate.pairs import bits

FLOATS = st.floats(width=32, allow_nan=False)
FLOAT16 = np.arange(2**16, dtype=np.uint16).view(np.float16)


def distance(reference, candidate, dtype="float32"):
    found = bits.ulp_distance(np.float32([reference]), np.float32([candidate]), dtype)
    return int(found[0])


def walk(start, steps):
    value = np.float32(start)
    for _ in range(abs(steps)):
        with np.errstate(over="ignore"):
            value = np.nextafter(value, np.float32(np.inf if steps > 0 else -np.inf))
    return value


@given(st.floats(-(2.0**99), 2.0**99, width=32), st.integers(-20, 20))
@settings(max_examples=200, deadline=None)
def test_distance_counts_nextafter_steps(start, steps):
    assert distance(start, walk(start, steps)) == abs(steps)


@pytest.mark.parametrize(("start", "steps"), [(0.0, 3), (1e-45, -4), (1.0, -3), (3.4028235e38, 1)])
def test_distance_at_zero_at_a_power_of_two_and_at_infinity(start, steps):
    assert distance(start, walk(start, steps)) == abs(steps)


def test_float16_by_listing_all_of_them():
    line = np.unique(FLOAT16[~np.isnan(FLOAT16)])  # sorted; -0 and +0 are one
    rank = {float(value): place for place, value in enumerate(line)}
    rng = np.random.default_rng(0)
    r, c = (line[rng.integers(0, line.size, 20_000)].astype(np.float32) for _ in range(2))
    expected = [abs(rank[float(b)] - rank[float(a)]) for a, b in zip(r, c, strict=True)]
    assert bits.ulp_distance(r, c, "float16").tolist() == expected


def test_bfloat16_by_listing_all_of_them():
    values = np.arange(2**16, dtype=np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)
    line = np.unique(values[~np.isnan(values)])
    assert set(bits.ulp_distance(line[:-1], line[1:], "bfloat16").tolist()) == {1}
    assert distance(line[0], line[-1], "bfloat16") == line.size - 1


@given(FLOATS, FLOATS)
def test_distance_is_symmetric_and_goes_through_zero(r, c):
    assert distance(r, c) == distance(c, r)
    if (r < 0) != (c < 0):
        assert distance(r, c) == distance(r, 0.0) + distance(0.0, c)


def test_nan_and_signed_zero():
    assert distance(np.nan, 1) == distance(1, np.nan) == distance(np.nan, np.nan) == -1
    assert distance(0.0, -0.0) == 0
    assert distance(np.inf, -np.inf) == 2 * 0x7F800000


def test_unknown_dtype_is_named():
    with pytest.raises(ValueError, match="float64"):
        bits.ulp_distance(np.zeros(1, np.float32), np.zeros(1, np.float32), "float64")


def test_buckets_by_their_labels():
    for label in bits.LABELS[:-2]:
        low, _, high = label.partition("-")
        ends = np.array([int(low), int(high or low)])
        counts = bits.count_distances(ends)
        assert counts[bits.LABELS.index(label)] == 2
    assert bits.count_distances(np.array([2**22 + 1]))[bits.LABELS.index("more")] == 1
    assert bits.count_distances(np.array([-1]))[bits.LABELS.index("nan")] == 1


@pytest.mark.parametrize("dtype", bits.PRECISIONS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_fast_histogram_sorts_as_the_plain_one(dtype, data):
    shift = bits.PRECISIONS[dtype].shift
    edges = [2**power + step for power in range(23 - shift) for step in (-1, 0, 1)]
    near = st.integers(0, 2 ** (23 - shift) - 1)
    edge = st.sampled_from([e for e in edges if e < 2 ** (23 - shift)])
    chunks = data.draw(st.lists(st.lists(near | edge, min_size=1, max_size=9), max_size=4))
    histogram = bits.NearHistogram(9, shift)
    for chunk in chunks:
        distances = np.array(chunk, np.int32) << shift
        histogram.add(distances, np.empty(len(chunk), np.float32))
    every = [distance for chunk in chunks for distance in chunk]
    expected = bits.count_distances(np.array(every, np.int64))
    assert histogram.counts().tolist() == expected.tolist()
