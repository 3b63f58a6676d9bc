from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mindport.migrate.errors import MindportError
from mindport.prompts import score_rows
from mindport.prompts.aggregate import AGGREGATES, NORMALIZERS
from mindport.prompts.parity.statistics import wilson_limits
from mindport.prompts.plan import PlannedWord
from mindport.prompts.score import log_mean_exp, log_softmax


def probability(row, token):
    """The share of a token, straight from the definition."""
    powers = np.exp(row.astype(np.float64))
    return powers[token] / powers.sum()


@pytest.fixture
def planned(plan, rows):
    """A plan with words of one to three tokens over three rows, and rows for a calibration."""
    words = (
        PlannedWord("a", 0, ((0, 5),), 1.0),
        PlannedWord("abc", 0, ((0, 5), (1, 6), (2, 7)), 3.0),
        PlannedWord("de", 1, ((0, 8), (1, 9)), 2.0),
        PlannedWord("f", 1, ((0, 9),), 1.0),
        PlannedWord("g", 1, ((0, 11),), 1.0),
    )
    made = replace(plan, words=words, rows_per_item=3)

    def make(inputs=0, **changes):
        rng = np.random.default_rng(1)
        shape = (len(made) + inputs, 3, rows.shape[2])
        priors = tuple(f"p{i}" for i in range(inputs))
        return replace(made, prior_texts=priors, **changes), rng.normal(size=shape) * 3

    return make


def word_scores(plan, rows):
    """Each word's summed log-probability over its divisor, from the definition."""
    return np.array(
        [
            [
                sum(np.log(probability(rows[i, r], t)) for r, t in word.steps) / word.divisor
                for word in plan.words
            ]
            for i in range(plan.items)
        ]
    )


def test_the_label_score_is_the_mean_of_its_words_log_probabilities(plan, rows):
    scores = score_rows(plan, rows)
    for label in range(2):
        tokens = [word.steps[0][1] for word in plan.words if word.label == label]
        expected = [np.mean([np.log(probability(row, t)) for t in tokens]) for row in rows[:, 0]]
        assert scores.label_scores[:, label] == pytest.approx(np.array(expected), rel=1e-12)
    assert scores.word_scores.shape == (5, 4)
    assert scores.word_scores.dtype == scores.label_scores.dtype == np.float64
    assert scores.predictions.dtype == np.int64
    assert (scores.predictions == scores.label_scores.argmax(axis=1)).all()
    gap = np.abs(scores.label_scores[:, 0] - scores.label_scores[:, 1])
    assert scores.margins == pytest.approx(gap)
    assert scores.counts == tuple(np.bincount(scores.predictions, minlength=2))
    right = (scores.predictions == np.array(plan.label_indices)).mean()
    assert scores.accuracy == right
    assert scores.accuracy_interval == wilson_limits(round(right * 5), 5)
    assert np.exp(scores.label_log_probabilities).sum(axis=1) == pytest.approx(1)
    assert scores.plan_digest == plan.digest


def test_unequal_numbers_of_words(plan, rows):
    uneven = replace(plan, words=(plan.words[0], *plan.words[2:]))
    scores, all_words = score_rows(uneven, rows), score_rows(plan, rows)
    assert (scores.label_scores[:, 0] == all_words.word_scores[:, 0]).all()
    assert (scores.label_scores[:, 1] == all_words.label_scores[:, 1]).all()


def test_words_of_several_tokens_add_their_log_probabilities(planned):
    plan, rows = planned()
    scores = score_rows(plan, rows)
    assert scores.word_scores == pytest.approx(word_scores(plan, rows), rel=1e-12)
    assert plan.shared_rows == frozenset()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("mean_log", lambda logs: np.mean(logs)),
        ("sum_prob", lambda logs: np.log(np.sum(np.exp(logs)))),
        ("max", lambda logs: np.max(logs)),
        ("first", lambda logs: logs[0]),
    ],
)
def test_aggregates(planned, name, rule):
    plan, rows = planned(aggregate=name)
    words = word_scores(plan, rows)
    expected = np.array([[rule(row[:2]), rule(row[2:])] for row in words])
    assert score_rows(plan, rows).label_scores == pytest.approx(expected, rel=1e-12)
    assert set(AGGREGATES) == {"mean_log", "sum_prob", "max", "first"}


@pytest.mark.parametrize("name", AGGREGATES)
@given(scores=arrays(np.float64, (3, 4), elements=st.floats(-50, 0)), shift=st.floats(-20, 20))
def test_aggregates_are_monotone_and_follow_a_shift(name, scores, shift):
    rule = AGGREGATES[name]
    assert rule(scores + shift) == pytest.approx(rule(scores) + shift, abs=1e-9)
    raised = scores + np.array([0.0, 1.0, 0.0, 2.0])
    assert (rule(raised) >= rule(scores)).all()


def test_sum_prob_does_not_underflow():
    assert AGGREGATES["sum_prob"](np.full((1, 2), -2000.0)) == pytest.approx(-2000 + np.log(2))


def test_normalizers():
    found = {name: rule("so là", 3) for name, rule in NORMALIZERS.items()}
    assert found == {"none": 1.0, "tokens": 3.0, "characters": 5.0, "bytes": 6.0}


@pytest.mark.parametrize("kind", ["contextual", "domain"])
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_contextual_calibration(planned, kind, aggregate):
    plan, rows = planned(inputs=3, calibration=kind, aggregate=aggregate)
    words = word_scores(plan, rows)
    rule = AGGREGATES[aggregate]
    labels = np.exp(np.stack([rule(words[:, :2]), rule(words[:, 2:])], axis=1))
    shares = labels / labels.sum(axis=1, keepdims=True)  # (items and inputs, labels)
    expected = np.log(shares[:5] / shares[5:].mean(axis=0))
    scores = score_rows(plan, rows)
    assert scores.label_scores == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert scores.word_scores.shape == (5, 5)
    quotient = shares[:5] / shares[5:].mean(axis=0)
    renormalised = quotient / quotient.sum(axis=1, keepdims=True)
    assert np.exp(scores.label_log_probabilities) == pytest.approx(renormalised, rel=1e-10)


def test_calibration_takes_the_prior_out(planned):
    # An input that answers like the item leaves nothing to choose by.
    for kind in ("contextual", "domain", "pmi"):
        plan, rows = planned(inputs=1, calibration=kind)
        rows[2] = rows[5]
        scores = score_rows(plan, rows)
        assert scores.label_scores[2] == pytest.approx(np.zeros(2), abs=1e-12)
        assert scores.margins[0] > 1e-3


def test_pmi(planned):
    plan, rows = planned(inputs=1, calibration="pmi")
    words = word_scores(plan, rows)
    scores = score_rows(plan, rows)
    assert scores.word_scores == pytest.approx(words[:5] - words[5], rel=1e-10, abs=1e-12)
    means = scores.word_scores
    expected = np.stack([means[:, :2].mean(axis=1), means[:, 2:].mean(axis=1)], axis=1)
    assert scores.label_scores == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_the_normaliser_of_a_shared_row_cancels(plan, rows):
    assert plan.shared_rows == {0}
    shifted = rows.astype(np.float64)
    shifted[:, :, 0] += 50  # no label word's column: all words lose as much
    before, after = score_rows(plan, rows), score_rows(plan, shifted)
    assert after.word_scores[0, 0] < before.word_scores[0, 0] - 1
    assert after.margins == pytest.approx(before.margins, rel=1e-9)


def test_shared_rows(planned):
    plan, _ = planned()
    one = tuple(replace(word, divisor=1.0) for word in plan.words)
    assert plan.shared_rows == frozenset()  # their divisors differ
    assert replace(plan, words=one).shared_rows == {0}  # not all words read rows 1 and 2
    twice = (replace(one[0], steps=((0, 5), (0, 6))), *one[1:])
    assert replace(plan, words=twice).shared_rows == frozenset()
    assert [plan.columns(row) for row in range(3)] == [(5, 8, 9, 11), (6, 9), (7,)]


def test_half_precision_rows_are_scored_in_float64(plan, rows):
    for dtype in (np.float16, ml_dtypes.bfloat16):
        half = rows.astype(dtype)
        scores = score_rows(plan, half)
        assert (scores.label_scores == score_rows(plan, half.astype(np.float64)).label_scores).all()


def test_ties_go_to_the_first_label_and_are_counted(plan, rows):
    rows[:] = 1.0
    scores = score_rows(plan, rows)
    assert scores.ties == 5
    assert scores.predictions.tolist() == [0] * 5
    assert scores.counts == (5, 0)
    assert scores.degenerate
    assert scores.to_dict()["counts"] == {"negative": 5, "positive": 0}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_never_a_label(plan, rows, value):
    rows[1, 0, 7] = value  # no label word's column
    rows[3, 0, plan.words[0].steps[0][1]] = value
    with pytest.raises(MindportError, match="2 of 5 items have rows with NaN or infinity: b, d"):
        score_rows(plan, rows)
    with pytest.raises(MindportError, match="2 of 5 items"):
        score_rows(plan, rows.astype(ml_dtypes.bfloat16))


def test_an_input_of_the_calibration_that_is_not_finite(planned):
    plan, rows = planned(inputs=2, calibration="contextual")
    rows[6, 2, 0] = np.nan
    with pytest.raises(MindportError, match=r"1 of 7 items .*: without content: 'p1'"):
        score_rows(plan, rows)


def test_rows_that_do_not_fit(plan, rows):
    for wrong in (rows[:-1], rows[:, :, :-1], rows[0], rows[:, 0], np.repeat(rows, 2, axis=1)):
        with pytest.raises(MindportError, match="The rows have shape"):
            score_rows(plan, wrong)
    # Embeddings may be padded beyond the vocabulary; they have a share like any other.
    wider = np.pad(rows, ((0, 0), (0, 0), (0, 3)), constant_values=-1e4)
    assert (score_rows(plan, wider).label_scores == score_rows(plan, rows).label_scores).all()


def test_log_softmax_does_not_overflow():
    logits = np.array([[1e4, -1e4], [3.0, 3.0]])
    assert log_softmax(logits) == pytest.approx(np.array([[0.0, -2e4], [np.log(0.5)] * 2]))


def test_log_mean_exp_does_not_underflow():
    logs = np.array([[-2000.0, 0.0], [-2000.0, np.log(3)]])
    assert log_mean_exp(logs) == pytest.approx(np.array([-2000.0, np.log(2)]))


@pytest.mark.parametrize(
    ("right", "total", "interval"),
    # Found by bisection of the defining equation, not by the closed form.
    [
        (0, 10, (0.0, 0.2775328)),
        (10, 10, (0.7224672, 1.0)),
        (5, 10, (0.2365931, 0.7634069)),
        (150, 200, (0.6856590, 0.8049183)),
    ],
)
def test_wilson(right, total, interval):
    assert wilson_limits(right, total) == pytest.approx(interval, abs=1e-6)


def test_wilson_solves_its_equation():
    z = 1.959963984540054
    for right, total in ((1, 7), (60, 100), (199, 200)):
        for bound in wilson_limits(right, total):
            spread = z * np.sqrt(bound * (1 - bound) / total)
            assert abs(right / total - bound) == pytest.approx(spread)
