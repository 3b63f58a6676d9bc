from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindport.prompts.metrics import classification_metrics
from mindport.prompts.parity.statistics import (
    Difference,
    accuracy_equivalence,
    binomial_tail,
    cohen_kappa,
    lower_limit,
    marginal_difference,
    mcnemar,
    paired_bootstrap,
    regularised_beta,
    upper_limit,
    wilson_limits,
)

special = pytest.importorskip("scipy.special")
stats = pytest.importorskip("scipy.stats")


@given(st.floats(0.05, 5e4), st.floats(0.05, 5e4), st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_the_beta_function(a, b, x):
    assert regularised_beta(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-7, abs=1e-10)


@given(st.integers(1, 20_000), st.data())
@settings(max_examples=100, deadline=None)
def test_limits_of_a_proportion(total, data):
    successes = data.draw(st.integers(0, total))
    test = stats.binomtest(successes, total)
    high = test.proportion_ci(0.9, "exact").high  # two-sided 90 %: one-sided 95 %
    low = test.proportion_ci(0.9, "exact").low
    assert upper_limit(successes, total) == pytest.approx(high, rel=1e-7, abs=1e-12)
    assert lower_limit(successes, total) == pytest.approx(low, rel=1e-6, abs=1e-12)
    wilson = test.proportion_ci(0.95, "wilson")
    assert wilson_limits(successes, total) == pytest.approx((wilson.low, wilson.high), abs=1e-12)


@pytest.mark.parametrize(("total", "percent"), [(200, "1.49"), (872, "0.34"), (10_000, "0.03")])
def test_no_flip_at_all(total, percent):
    assert f"{100 * upper_limit(0, total):.2f}" == percent
    assert upper_limit(0, total) == pytest.approx(1 - 0.05 ** (1 / total))  # the closed form
    assert upper_limit(total, total) == 1
    assert lower_limit(0, total) == 0


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (3, 0, 1 / 4),
        (5, 0, 1 / 16),
        (6, 0, 1 / 32),
        (0, 6, 1 / 32),
        (10, 10, 1),
        (50, 50, 1),
        (0, 0, 1),
    ],
)
def test_mcnemar(first, second, p):
    assert mcnemar(first, second) == pytest.approx(p, abs=1e-12)


@given(st.integers(0, 3000), st.integers(0, 3000))
@settings(max_examples=60, deadline=None)
def test_mcnemar_is_the_binomial_test(first, second):
    if first + second:
        expected = stats.binomtest(first, first + second, 0.5).pvalue
        assert mcnemar(first, second) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_tails():
    assert (binomial_tail(0, 5, 0.3), binomial_tail(6, 5, 0.3)) == (1, 0)
    assert binomial_tail(2, 3, 0.5) == pytest.approx(0.5)


def test_kappa_by_hand():
    first = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    second = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    assert cohen_kappa(first, second, 2) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert cohen_kappa(first, first, 2) == pytest.approx(1)
    assert cohen_kappa(first, np.zeros(50, int), 2) == pytest.approx(0)
    assert cohen_kappa(np.zeros(5, int), np.zeros(5, int), 2) is None


def test_label_shares():
    change = marginal_difference(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    assert change.tolist() == [-0.25, 0.5, -0.25]


def sides(items, seed=0, labels=3):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, items)
    reference = np.where(rng.random(items) < 0.8, truth, rng.integers(0, labels, items))
    candidate = np.where(rng.random(items) < 0.95, reference, rng.integers(0, labels, items))
    return truth, reference, candidate


def test_the_bootstrap_is_that_of_items():
    truth, reference, candidate = sides(300)
    found = paired_bootstrap(truth, reference, candidate, 3)

    def macro(items):
        uniform = np.log(np.full((len(items), 3), 1 / 3))
        ours, theirs = (
            classification_metrics(("a", "b", "c"), truth[items], side[items], uniform).macro_f1
            for side in (reference, candidate)
        )
        return theirs - ours

    right = (candidate == truth).astype(float) - (reference == truth)
    rng = np.random.default_rng(9)
    draws = [rng.integers(0, 300, 300) for _ in range(3000)]
    for name, values, estimate in (
        ("accuracy", [right[items].mean() for items in draws], right.mean()),
        ("macro_f1", [macro(items) for items in draws[:1500]], macro(np.arange(300))),
    ):
        expected = np.quantile(values, [0.025, 0.975, 0.05, 0.95])
        difference = found[name]
        assert difference.estimate == pytest.approx(estimate)
        measured = (
            difference.low,
            difference.high,
            difference.equivalence_low,
            difference.equivalence_high,
        )
        np.testing.assert_allclose(measured, expected, atol=0.12 * (expected[1] - expected[0]))


def test_the_bootstrap_repeats_and_its_seed_counts():
    data = sides(100)
    assert paired_bootstrap(*data, 3) == paired_bootstrap(*data, 3)
    assert paired_bootstrap(*data, 3, draws=500) != paired_bootstrap(*data, 3, draws=500, seed=1)


def test_the_bootstrap_is_paired():
    truth, reference, _ = sides(200)
    for difference in paired_bootstrap(truth, reference, reference, 3).values():
        assert (difference.low, difference.estimate, difference.high) == (0, 0, 0)


def test_many_items_and_labels_are_fast():
    truth, reference, candidate = sides(10_000, labels=14)
    low = paired_bootstrap(truth, reference, candidate, 14)["accuracy"]
    # The normal interval of a mean of differences.
    right = (candidate == truth).astype(float) - (reference == truth)
    spread = 1.96 * right.std() / 100
    assert low.low == pytest.approx(right.mean() - spread, abs=0.1 * spread)
    assert low.high == pytest.approx(right.mean() + spread, abs=0.1 * spread)


def test_equivalence():
    wide = Difference(0, -0.03, 0.03, -0.025, 0.025)
    right = np.ones(200, bool)

    def equal(changed, margin, total=200, difference=wide):
        other = right[:total].copy()
        other[:changed] = False
        return accuracy_equivalence(right[:total], other, difference, margin)

    assert equal(0, 0.02).equal  # at most 1.49 % of the items change
    assert not equal(0, 0.01).equal
    assert not equal(0, 0.02, total=100).equal  # too few items, though no label changed
    assert "Clopper-Pearson" in equal(9, 0.02).method
    few = equal(3, 0.05)
    assert (few.low, few.high) == (-upper_limit(3, 200), upper_limit(3, 200))
    many = equal(10, 0.03)
    assert (many.equal, many.method, many.low, many.high) == (
        True,
        "paired bootstrap",
        -0.025,
        0.025,
    )
    assert not equal(10, 0.02).equal
    one_sided = Difference(0.02, 0, 0.04, 0.005, 0.035)
    assert not equal(10, 0.03, difference=one_sided).equal
