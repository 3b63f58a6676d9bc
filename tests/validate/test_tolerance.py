"""Which difference is allowed: quantiles against simulations, and how a policy is chosen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mindport.migrate.errors import MindportError
from mindport.validate import tolerance
from mindport.validate.case import DTYPES
from mindport.validate.tolerance import (
    ALARM,
    FIXED,
    POLICIES,
    accumulated_limits,
    chi_square_share,
    choose_policy,
    isolated_limits,
    normal_peak,
    variance_ratio,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("elements", [1, 10, 1000])
def test_the_peak_of_normal_numbers(monkeypatch, rng, elements):
    """At a chance that can be simulated: never more alarms than said, and not absurdly fewer."""
    monkeypatch.setattr(tolerance, "ALARM", 0.05)
    limit = normal_peak(elements)
    largest = np.abs(rng.standard_normal((4000, elements))).max(1)
    share = np.mean(largest > limit)
    assert 0.05 / 20 < share <= 0.05


def test_the_peak_grows_slowly_and_keeps_its_chance():
    assert normal_peak(0) == normal_peak(1) == pytest.approx(math.sqrt(2 * math.log(2e6)))
    assert normal_peak(10**9) < 2 * normal_peak(1)
    for elements in (1, 10**4, 10**8):
        limit = normal_peak(elements)
        assert elements * 2 * math.exp(-(limit**2) / 2) == pytest.approx(ALARM)


@pytest.mark.parametrize("free", [1, 4, 40, 4000])
def test_a_mean_square(rng, free):
    """Wilson and Hilferty's quantile is that of the distribution, to a few per cent."""
    exceeded = np.mean(rng.chisquare(free, 2_000_000) / free > chi_square_share(free))
    assert 0.3e-4 < exceeded < 3e-4


@pytest.mark.parametrize(("free", "known"), [(6, 60), (100, 200), (2000, 4000)])
def test_a_ratio_of_mean_squares(rng, free, known):
    ratio = rng.f(free, known, 2_000_000)
    assert 0.3e-4 < np.mean(ratio > variance_ratio(free, known)) < 3e-4


def test_a_ratio_to_what_is_hardly_known_is_bounded():
    assert variance_ratio(1, 2) == variance_ratio(1, 1) == 2500
    assert all(variance_ratio(n, 4) <= 2500 for n in (1, 10, 1000))


def test_limits_of_many_elements_are_twice_the_prediction():
    limits = isolated_limits(10**8)
    assert limits.rms == pytest.approx(2, rel=1e-3)
    assert limits.peak == 2 * normal_peak(10**8)
    whole = accumulated_limits(10**8, 10**6, 16, 0.0)
    assert whole.rms == pytest.approx(2, rel=1e-2)
    assert whole.peak == pytest.approx(4 * normal_peak(10**8), rel=1e-2)


def test_limits_are_wider_where_less_is_known():
    few, many = accumulated_limits(640, 10, 2, 0.0), accumulated_limits(640, 10, 16, 0.0)
    assert few.rms > many.rms > accumulated_limits(64_000, 1000, 16, 0.0).rms > 2
    assert isolated_limits(4).rms > isolated_limits(400).rms > 2


def test_the_floor_widens_and_never_narrows():
    small, none = (accumulated_limits(1000, 50, 4, floor) for floor in (0.3, 0.0))
    assert small == none
    large = accumulated_limits(1000, 50, 4, 3.0)
    assert (large.rms, large.peak) == pytest.approx((3 * none.rms, 3 * none.peak))


def test_correct_runs_raise_no_alarm(rng):
    """Errors as large as predicted, in rows that share much of theirs: 300 taps, none beyond."""
    for _ in range(300):
        rows, width, copies = rng.integers(3, 40), 32, 4
        shared = rng.standard_normal((copies + 1, rows, 1))
        error = 0.8 * shared + 0.6 * rng.standard_normal((copies + 1, rows, width))
        deviation = np.sqrt(np.mean(error[1:] ** 2))
        limits = accumulated_limits(rows * width, rows, copies, 0.0)
        scaled = np.abs(error[0] / deviation)
        assert np.sqrt(np.mean(scaled**2)) < limits.rms
        assert scaled.max() < limits.peak


class TestPolicy:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("name", [None, "derived"])
    def test_derived_is_the_default(self, dtype, name):
        policy = choose_policy(dtype, name, None, None)
        assert (policy.name, policy.derived, policy.dtype) == ("derived", True, dtype)
        assert (policy.atol, policy.rtol) == (None, None)
        assert dtype in policy.basis

    @pytest.mark.parametrize(
        ("name", "figure"), [("community-1e-3", 1e-3), ("community-1e-4", 1e-4)]
    )
    def test_the_habits_of_others_have_fixed_figures(self, name, figure):
        policy = choose_policy("float16", name, None, None)
        assert (policy.name, policy.derived) == (name, False)
        assert (policy.atol, policy.rtol) == FIXED[name] == (figure, figure)
        assert "not derived for float16" in policy.basis

    def test_every_policy_can_be_chosen(self):
        assert [choose_policy("float32", name, None, None).name for name in POLICIES] == [*POLICIES]

    @pytest.mark.parametrize(
        ("atol", "rtol", "used"), [(1e-3, None, (1e-3, 0.0)), (None, 1e-2, (0.0, 1e-2)),
                                   (0.0, 0.0, (0.0, 0.0))],
    )  # fmt: skip
    def test_users_figures_are_used_as_they_are(self, atol, rtol, used):
        policy = choose_policy("float32", None, atol, rtol)
        assert (policy.name, policy.derived) == ("user", False)
        assert (policy.atol, policy.rtol) == used

    @pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
    @pytest.mark.parametrize("option", ["atol", "rtol"])
    def test_impossible_figures(self, value, option):
        figures = {"atol": None, "rtol": None, option: value}
        with pytest.raises(MindportError, match=f"--{option} is .* at least 0"):
            choose_policy("float32", None, **figures)

    @pytest.mark.parametrize("name", POLICIES)
    @pytest.mark.parametrize("figures", [(1e-3, None), (None, 1e-3), (1e-3, 1e-3), (0.0, None)])
    def test_a_name_and_figures_exclude_each_other(self, name, figures):
        with pytest.raises(MindportError, match="exclude each other"):
            choose_policy("float32", name, *figures)
