"""Metrics, tolerances and the comparison of one tap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mindport.migrate.errors import MindportError
from mindport.validate import metrics
from mindport.validate.compare import compare_tap, first_fault
from mindport.validate.tolerance import choose_policy
from mindport.validate.verdict import TapResult

ONES = np.ones((2, 3), np.int64)
FINITE = st.floats(-1e6, 1e6, width=32)


def tap(reference, candidate, mask=ONES, atol=1e-6, rtol=0.0):
    policy = choose_policy("float32", atol, rtol)
    return compare_tap("tap", np.float32(reference), np.float32(candidate), mask, policy)


@given(arrays.arrays(np.float32, (3, 4), elements=FINITE),
       arrays.arrays(np.float32, (3, 4), elements=FINITE),
       st.floats(1e-6, 1), st.floats(0, 1))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_tolerance_used_is_allclose(r, c, atol, rtol):
    used = metrics.tolerance_used(r, c, atol, rtol)
    close = np.isclose(c.astype(np.float64), r.astype(np.float64), atol=atol, rtol=rtol)
    edge = np.abs(used - 1) < 1e-9
    assert np.array_equal((used <= 1)[~edge], close[~edge])


def test_zero_tolerance_admits_only_equality():
    used = metrics.tolerance_used(np.array([1.0, 1.0]), np.array([1.0, 1.0 + 1e-12]), 0, 0)
    assert used[0] == 0
    assert np.isinf(used[1])


def test_figures():
    r, c = np.array([3.0, 4.0]), np.array([3.0, 4.5])
    assert metrics.max_abs(r, c) == 0.5
    assert metrics.mean_abs(r, c) == 0.25
    assert metrics.rms(r) == pytest.approx(np.sqrt(12.5))
    assert metrics.cosine(r, 2 * r) == pytest.approx(1)
    assert metrics.cosine(r, -r) == pytest.approx(-1)
    assert metrics.cosine(np.zeros(2), np.zeros(2)) == 1
    assert metrics.cosine(np.zeros(2), r) == 0
    assert metrics.nonfinite(np.array([1, np.nan, np.inf])) == 2


def test_half_precision_does_not_overflow():
    big = np.full(100_000, 60_000, np.float16)
    assert metrics.cosine(big, big) == pytest.approx(1)
    assert metrics.rms(big) == pytest.approx(60_000, rel=1e-3)


def test_equal_taps_are_ok():
    result = tap(np.ones((2, 3, 4)), np.ones((2, 3, 4)))
    assert result.ok
    assert (result.max_abs, result.within, result.max_rel) == (0, 1, 0)


def test_one_element_outside_is_faulty_and_is_named():
    candidate = np.ones((2, 3, 4))
    candidate[1, 2, 3] += 1e-3
    result = tap(np.ones((2, 3, 4)), candidate)
    assert not result.ok
    assert result.worst_index == (1, 2, 3)
    assert result.within == pytest.approx(23 / 24)
    assert result.max_rel == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize("side", ["reference", "candidate", "both"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nonfinite_is_faulty_on_either_side(side, value):
    bad = np.ones((2, 3, 4))
    bad[0, 0, 0] = value
    good = np.ones((2, 3, 4))
    pair = {"reference": (bad, good), "candidate": (good, bad), "both": (bad, bad)}[side]
    result = tap(*pair, atol=1e9)
    assert not result.ok
    assert "NaN or infinite" in result.problem
    assert result.max_abs is None


def test_shapes_and_emptiness():
    assert "shapes differ" in tap(np.ones((2, 3, 4)), np.ones((2, 4, 3))).problem
    assert not tap(np.ones((2, 0)), np.ones((2, 0))).ok


def test_padded_positions_do_not_count():
    mask = np.array([[1, 1, 1], [1, 0, 0]])
    candidate = np.ones((2, 3, 4))
    candidate[1, 1] = 99
    assert tap(np.ones((2, 3, 4)), candidate, mask).ok
    candidate[1, 0, 0] = 2
    result = tap(np.ones((2, 3, 4)), candidate, mask)
    assert result.worst_index == (1, 0, 0)


def test_pooled_taps_compare_every_row():
    mask = np.array([[1, 1, 1], [1, 0, 0]])
    candidate = np.ones((2, 5))
    candidate[1, 4] = 2
    assert tap(np.ones((2, 5)), candidate, mask).worst_index == (1, 4)


class TestPolicy:
    def test_default_follows_the_scale_of_the_tap(self):
        policy = choose_policy("float32", None, None)
        small = policy.at(np.full(4, 0.5, np.float32))
        large = policy.at(np.full(4, 50.0, np.float32))
        assert large.atol == pytest.approx(100 * small.atol)
        assert policy.name == "scaled"
        assert policy.basis

    def test_users_figures_are_used_as_they_are(self):
        policy = choose_policy("float32", 1e-3, None)
        assert (policy.name, policy.at(np.ones(3)).atol, policy.at(np.ones(3)).rtol) == (
            "user", 1e-3, 0.0)  # fmt: skip

    @pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
    def test_impossible_figures(self, value):
        with pytest.raises(MindportError, match="at least 0"):
            choose_policy("float32", value, None)


def test_first_fault_is_the_first_in_order():
    taps = [TapResult(name, (1,), ok=ok) for name, ok in (("a", True), ("b", False), ("c", False))]
    assert first_fault(taps).name == "b"
    assert first_fault(taps[:1]) is None
