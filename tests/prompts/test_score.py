from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from mindport.migrate.errors import MindportError
from mindport.prompts import score_rows
from mindport.prompts.score import log_softmax, wilson_interval


def test_the_label_logit_is_the_mean_of_its_words(plan, rows):
    scores = score_rows(plan, rows)
    for label, tokens in enumerate(plan.label_token_ids):
        expected = rows[:, list(tokens)].astype(np.float64).mean(axis=1)
        assert (scores.label_logits[:, label] == expected).all()
    assert scores.word_logits.shape == (5, 4)
    assert scores.word_logits.dtype == scores.label_logits.dtype == np.float64
    assert (scores.predictions == scores.label_logits.argmax(axis=1)).all()
    gap = np.abs(scores.label_logits[:, 0] - scores.label_logits[:, 1])
    assert scores.margins == pytest.approx(gap)
    assert sum(scores.counts) == 5
    right = (scores.predictions == np.array(plan.label_indices)).mean()
    assert scores.accuracy == right
    assert np.exp(scores.label_log_probabilities).sum(axis=1) == pytest.approx(1)


def test_unequal_numbers_of_words(plan, rows):
    first, second = plan.label_token_ids
    uneven = replace(plan, label_token_ids=(first[:1], second))
    scores = score_rows(uneven, rows)
    assert (scores.label_logits[:, 0] == rows[:, first[0]]).all()
    assert scores.label_logits[:, 1] == pytest.approx(rows[:, list(second)].mean(axis=1), rel=1e-6)


def test_half_precision_rows_are_scored_in_float64(plan, rows):
    for dtype in (np.float16, ml_dtypes.bfloat16):
        half = rows.astype(dtype)
        scores = score_rows(plan, half)
        assert (scores.label_logits == score_rows(plan, half.astype(np.float64)).label_logits).all()


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
    rows[1, 7] = value  # no label word's column
    rows[3, plan.label_token_ids[0][0]] = value
    with pytest.raises(MindportError, match="2 of 5 rows hold NaN or infinity: b, d"):
        score_rows(plan, rows)
    with pytest.raises(MindportError, match="2 of 5 rows"):
        score_rows(plan, rows.astype(ml_dtypes.bfloat16))


def test_rows_that_do_not_fit(plan, rows):
    for wrong in (rows[:-1], rows[:, :-1], rows[0]):
        with pytest.raises(MindportError, match="The rows have shape"):
            score_rows(plan, wrong)
    wider = np.pad(rows, ((0, 0), (0, 3)))  # embeddings may be padded beyond the vocabulary
    assert (score_rows(plan, wider).label_logits == score_rows(plan, rows).label_logits).all()


def test_log_softmax_does_not_overflow():
    logits = np.array([[1e4, -1e4], [3.0, 3.0]])
    assert log_softmax(logits) == pytest.approx(np.array([[0.0, -2e4], [np.log(0.5)] * 2]))


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
    assert wilson_interval(right, total) == pytest.approx(interval, abs=1e-6)


def test_wilson_solves_its_equation():
    z = 1.959963984540054
    for right, total in ((1, 7), (60, 100), (199, 200)):
        for bound in wilson_interval(right, total):
            spread = z * np.sqrt(bound * (1 - bound) / total)
            assert abs(right / total - bound) == pytest.approx(spread)
