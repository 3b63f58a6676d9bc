"""Errors in units of their predicted deviation, fixed tolerances, and the comparison of one tap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

from mindport.validate.metrics import Errors, errors_of, rms, whole_index
from mindport.validate.tap_results import compare_captures, first_fault
from mindport.validate.tolerance import Limits, choose_policy
from mindport.validate.verdict import TapResult

FINITE = st.floats(-1e6, 1e6, width=32)
ONES = np.ones((2, 3, 4))


def test_root_mean_square():
    assert rms(np.array([3.0, 4.0])) == pytest.approx(np.sqrt(12.5))
    assert rms(np.zeros((0, 3))) == 0
    big = np.full(100_000, 60_000, np.float16)
    assert rms(big) == pytest.approx(60_000, rel=1e-3)  # squared in float16 it would overflow


def test_errors_are_counted_in_deviations():
    expected, deviation = np.zeros((2, 2)), np.array([[1.0, 2.0], [4.0, 8.0]])
    found = np.array([[1.0, -2.0], [4.0, 24.0]])
    valid = np.ones(2, bool)
    errors = errors_of(found, expected, deviation, valid, Limits(2.0, 4.0))
    assert errors.absolute == pytest.approx(np.sqrt((1 + 4 + 16 + 576) / 4))
    assert errors.rms == pytest.approx(np.sqrt((1 + 1 + 1 + 9) / 4))
    assert (errors.peak, errors.worst_index) == (3.0, (1, 1))
    assert errors.used == pytest.approx(max(np.sqrt(3) / 2, 3 / 4))
    assert errors.ok


def test_what_is_not_valid_does_not_count():
    found, valid = ONES.copy(), np.array([[True, True, True], [True, False, False]])
    found[1, 1] = 99
    errors = errors_of(found, ONES, ONES, valid, Limits(1, 1))
    assert (errors.rms, errors.peak) == (0, 0)
    found[1, 0, 2] = 3
    errors = errors_of(found, ONES, ONES, valid, Limits(1, 1))
    assert (errors.peak, errors.worst_index) == (2, (1, 0, 2))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_an_index_among_the_valid_is_one_of_the_whole(axes):
    array = np.random.default_rng(0).standard_normal((3, 4, 5))
    valid = np.random.default_rng(1).random(array.shape[:axes]) < 0.5
    chosen = array[valid]
    for flat in range(0, chosen.size, 3):
        index = np.unravel_index(flat, chosen.shape)
        assert array[whole_index(valid, index)] == chosen[index]


@pytest.mark.parametrize(
    ("size", "peak", "ok"),
    [(0.9, 3.9, True), (1.1, 3.9, False), (0.9, 4.1, False), (1.0, 4.0, True),
     (float("nan"), 1.0, False), (1.0, float("nan"), False)],
)  # fmt: skip
def test_both_statistics_must_be_within_their_limits(size, peak, ok):
    errors = Errors(0.0, size, peak, (0,), limit_rms=1.0, limit_peak=4.0)
    assert errors.ok is ok


@given(arrays.arrays(np.float32, (3, 4), elements=FINITE),
       arrays.arrays(np.float32, (3, 4), elements=FINITE),
       st.floats(1e-6, 1), st.floats(0, 1))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_a_fixed_tolerance_is_allclose(r, c, atol, rtol):
    used = choose_policy("float32", None, atol, rtol).used(r, c)
    close = np.isclose(c.astype(np.float64), r.astype(np.float64), atol=atol, rtol=rtol)
    edge = np.abs(used - 1) < 1e-9
    assert np.array_equal((used <= 1)[~edge], close[~edge])


def test_zero_tolerance_admits_only_equality():
    policy = choose_policy("float32", None, 0.0, None)
    used = policy.used(np.array([1.0, 1.0]), np.array([1.0, 1.0 + 1e-12]))
    assert used[0] == 0
    assert np.isinf(used[1])


@pytest.fixture(scope="module")
def net(small):
    return small("bert", "nsp", config={"num_hidden_layers": 1}, batch=3, length=10)


@pytest.fixture
def compare(net, tmp_path):
    def make(change, atol=1e-3, rtol=None, policy=None):
        exact = {name: net.rounded(array) for name, array in net.run(noise=0).items()}
        taps = {name: array.copy() for name, array in exact.items()}
        change(taps)
        reference = net.capture(tmp_path / "r", exact, oracle=True)
        candidate = net.capture(tmp_path / "c", taps)
        chosen = choose_policy("float32", policy, None if policy else atol, rtol)
        results = compare_captures(
            reference, candidate, net.network.steps, net.network.setting, chosen,
            required=net.case.taps, details=net.network.details,
        )  # fmt: skip
        return {result.name: result for result in results}

    return make


@pytest.fixture(scope="module")
def padded(net):
    """Row and first position of padding."""
    row = int(np.argmin(net.inputs["attention_mask"].sum(1)))
    return row, int(net.inputs["attention_mask"][row].sum())


class TestOneTap:
    """A run that differs at chosen elements of chosen taps."""

    def test_equal_taps_are_ok(self, compare):
        for tap in compare(lambda taps: None, atol=0.0).values():
            assert tap.ok, tap.name
            assert (tap.used, tap.within, tap.facts.max_abs, tap.facts.equal) == (0, 1, 0, 1)

    @pytest.mark.parametrize("policy", [None, "derived"])
    def test_one_element_outside_is_faulty_and_is_named(self, compare, policy):
        def change(taps):
            taps["block.0.up"][1, 2, 3] += 1.5e-3

        tap = compare(change, policy=policy)["block.0.up"]
        assert not tap.ok
        assert tap.own_fault
        assert tap.worst_index == tap.facts.worst_index == (1, 2, 3)
        assert tap.facts.max_abs == pytest.approx(1.5e-3, rel=1e-3)
        assert tap.within == pytest.approx(1 - 1 / tap.facts.compared)
        assert tap.facts.first_difference.index == (1, 2, 3)
        if policy is None:
            assert tap.used == pytest.approx(1.5, rel=1e-3)
            assert "1.5 times the tolerance" in tap.problem

    @pytest.mark.parametrize("policy", [None, "derived"])
    def test_padded_positions_do_not_count(self, compare, padded, policy):
        row, start = padded

        def change(taps):
            for name in ("embeddings", "block.0.key", "block.0"):
                taps[name][row, start:] = 99
            taps["block.0.weights"][row, :, start:] = 99
            taps["block.0.scores"][row, :, start:] = 99

        assert all(tap.ok for tap in compare(change, policy=policy).values())

    @pytest.mark.parametrize("policy", [None, "derived"])
    def test_the_last_real_position_counts(self, compare, padded, policy):
        row, start = padded

        def change(taps):
            taps["block.0.key"][row, start - 1, 5] += 1

        found = compare(change, policy=policy)
        assert found["block.0.key"].worst_index == (row, start - 1, 5)
        assert first_fault(list(found.values())).name == "block.0.key"

    @pytest.mark.parametrize("policy", [None, "derived"])
    def test_pooled_taps_compare_every_row(self, compare, padded, policy):
        row, _ = padded

        def change(taps):
            taps["pooler"][row, 4] += 1

        tap = compare(change, policy=policy)["pooler"]
        assert not tap.ok
        assert tap.worst_index == (row, 4)

    @pytest.mark.parametrize("policy", [None, "derived"])
    def test_a_hidden_key_that_is_seen_is_a_fault_whatever_the_tolerance(
        self, compare, padded, policy
    ):
        row, start = padded

        def change(taps):
            taps["block.0.scores"][row, 2, 0, start] = 1.0

        tap = compare(change, policy=policy, atol=1e9)["block.0.scores"]
        assert not tap.ok
        assert tap.own_fault
        assert "1 of " in tap.problem
        assert "keys that must be hidden are seen" in tap.problem

    @pytest.mark.parametrize("policy", [None, "derived"])
    def test_emptiness_is_no_agreement(self, net, tmp_path, policy):
        taps = net.run(noise=0)
        pair = net.capture(tmp_path / "r", taps, oracle=True), net.capture(tmp_path / "c", taps)
        empty = {**taps, "logits": taps["logits"][:, :0].copy()}
        for capture in pair:
            save_file(empty, capture.folder / "taps.safetensors")
        *others, last = compare_captures(
            *pair, net.network.steps, net.network.setting,
            choose_policy("float32", policy, None if policy else 1.0, None),
            required=net.case.taps,
        )  # fmt: skip
        assert all(tap.ok for tap in others)
        assert (last.name, last.ok, last.problem) == ("logits", False, "there is nothing in it")


def test_first_fault_is_the_first_in_order():
    taps = [TapResult(name, (1,), ok=ok) for name, ok in (("a", True), ("b", False), ("c", False))]
    assert first_fault(taps).name == "b"
    assert first_fault(taps[:1]) is None


def test_a_tap_at_fault_itself_counts_before_one_that_only_follows():
    taps = [TapResult("a", (1,), ok=False), TapResult("b", (1,), ok=False, own_fault=True)]
    assert first_fault(taps).name == "b"
    # Under a loose policy a tap may be ok although rounding does not explain it.
    taps = [TapResult("a", (1,), ok=True, own_fault=True), TapResult("b", (1,), ok=False)]
    assert first_fault(taps).name == "b"
