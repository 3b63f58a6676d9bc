from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mindport.migrate.errors import MindportError
from mindport.prompts import compare_scores, score_rows
from mindport.prompts import parity as parity_module

LOOSE = {"atol": 1e9, "rtol": 0.0}


def test_the_same_rows(plan, rows):
    scores = score_rows(plan, rows)
    parity = compare_scores(plan, scores, scores, atol=0, rtol=0)
    assert parity.ok
    assert (parity.difference, parity.error, parity.max_kl) == (0, 0, 0)
    assert (parity.agreement, parity.certified, parity.flips) == (1, 1, ())


def test_within_and_beyond_the_tolerance(plan, rows):
    reference = score_rows(plan, rows)
    moved = score_rows(plan, rows + np.float32(0.01))
    shift = np.abs(reference.label_logits - moved.label_logits).max()
    scale = np.abs(reference.label_logits).max()
    assert compare_scores(plan, reference, moved, atol=0.011, rtol=0).ok
    assert not compare_scores(plan, reference, moved, atol=0.009, rtol=0).ok
    parity = compare_scores(plan, reference, moved, atol=0.005, rtol=0.006 / scale)
    assert parity.ok
    assert parity.difference == shift
    assert parity.allowed == pytest.approx(0.011)


def test_a_flip_is_listed_and_explained(plan, rows):
    rows[:] = 0
    negative, positive = plan.label_token_ids
    rows[:, list(positive)] = 1
    rows[2, list(negative)] = 0.9
    other = rows.copy()
    other[2, list(negative)] = 1.2
    parity = compare_scores(plan, score_rows(plan, rows), score_rows(plan, other), **LOOSE)
    (flip,) = parity.flips
    assert (flip.id, flip.label, flip.reference, flip.candidate) == (
        "c", "positive", "positive", "negative"
    )  # fmt: skip
    assert flip.margin == pytest.approx(0.1)
    assert flip.error == pytest.approx(0.3)
    assert flip.explained
    assert parity.ok
    assert parity.unexplained == 0
    assert parity.agreement == pytest.approx(0.8)
    assert parity.certified == pytest.approx(0.8)
    assert parity.reference["counts"] == {"negative": 0, "positive": 5}
    assert parity.candidate["counts"] == {"negative": 1, "positive": 4}


def test_a_flip_that_the_logits_do_not_explain_always_fails(plan, rows):
    reference = score_rows(plan, rows)
    predictions = reference.predictions.copy()
    predictions[0] = 1 - predictions[0]  # such as two labels exchanged on one side
    wrong = replace(reference, predictions=predictions)
    parity = compare_scores(plan, reference, wrong, **LOOSE)
    assert parity.unexplained == 1
    assert not parity.ok


def test_scores_that_contradict_their_logits(plan, rows):
    reference = score_rows(plan, rows)
    log_probabilities = reference.label_log_probabilities[:, ::-1]
    wrong = replace(reference, label_log_probabilities=log_probabilities)
    with pytest.raises(AssertionError, match="do not follow from the logits"):
        compare_scores(plan, reference, wrong, **LOOSE)


def test_long_texts_are_shortened(plan, rows):
    long = replace(plan, texts=("x" * 500, *plan.texts[1:]))
    parity = compare_scores(long, score_rows(long, rows), score_rows(long, -rows), **LOOSE)
    text = next(flip.text for flip in parity.flips if flip.id == "a")
    assert len(text) == 80
    assert text.endswith("…")


def test_a_reference_no_better_than_chance_tells_little(plan, rows):
    rows[:] = 0
    for item, label in enumerate(plan.label_indices):
        rows[item, list(plan.label_token_ids[label])] = 1
    right = score_rows(plan, rows)
    assert right.accuracy == 1
    assert compare_scores(plan, right, right, **LOOSE).informative
    assert not compare_scores(plan, score_rows(plan, -rows), right, **LOOSE).informative
    rows[0] = -rows[0]  # four of five is above chance, but five items are too few to tell
    few = score_rows(plan, rows)
    assert few.accuracy == pytest.approx(0.8)
    assert not compare_scores(plan, few, few, **LOOSE).informative
    rows[:] = 0  # constant: agrees perfectly and proves nothing
    constant = score_rows(plan, rows)
    parity = compare_scores(plan, constant, constant, **LOOSE)
    assert parity.ok
    assert not parity.informative
    assert parity.reference["degenerate"]


def test_scores_of_another_plan(plan, rows):
    other = score_rows(replace(plan, task="other"), rows)
    with pytest.raises(MindportError, match="scores of the candidate belong to another plan"):
        compare_scores(plan, score_rows(plan, rows), other, **LOOSE)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_tolerances_are_numbers(plan, rows, value):
    scores = score_rows(plan, rows)
    with pytest.raises(MindportError, match="atol must be a finite number"):
        compare_scores(plan, scores, scores, atol=value, rtol=0)


def test_to_dict_is_json(plan, rows):
    parity = compare_scores(plan, score_rows(plan, rows), score_rows(plan, -rows), **LOOSE)
    content = json.loads(json.dumps(parity.to_dict(), allow_nan=False))
    assert content["items"] == 5
    assert len(content["flips"]) == len(parity.flips) > 0
    assert content["reference"]["accuracy"] == parity.reference["accuracy"]


@pytest.fixture
def brute_force(plan):
    """Return a function that compares many perturbed rows; ten thousand items a call.

    Half of the perturbations are random. The others push the winner down and the rest up as far
    as they may, which is the worst there is.
    """
    copies = 2_000
    many = replace(
        plan,
        ids=tuple(f"{name}{k}" for k in range(copies) for name in plan.ids),
        texts=plan.texts * copies,
        label_indices=plan.label_indices * copies,
        labels=("one", "two", "three"),
        label_words=(("a",), ("b", "c"), ("d", "e", "f")),
        label_token_ids=((10,), (11, 12), (13, 14, 15)),
    )
    labels = [np.array(ids) for ids in many.label_token_ids]
    rng = np.random.default_rng(11)
    rows = np.zeros((len(many), plan.tokenizer_size))
    rows[:, np.concatenate(labels)] = rng.normal(size=(len(many), 6))
    reference = score_rows(many, rows)
    winners = reference.predictions

    def compare(spread):
        noise = np.zeros_like(rows)
        noise[:, np.concatenate(labels)] = rng.uniform(-1, 1, size=(len(many), 6))
        for label, ids in enumerate(labels):
            push = np.where(winners[::2] == label, -1.0, 1.0)
            noise[::2, ids] = push[:, None]
        sizes = spread * rng.uniform(0.1, 1, size=(len(many), 1))
        return compare_scores(many, reference, score_rows(many, rows + sizes * noise), **LOOSE)

    return compare


@pytest.mark.parametrize("spread", [1e-9, 1e-4, 0.5, 5.0])
def test_no_flip_above_twice_the_error(brute_force, spread):
    parity = brute_force(spread)
    assert parity.unexplained == 0
    assert parity.error == pytest.approx(spread, rel=0.01)
    assert parity.certified + len(parity.flips) / parity.items <= 1
    if spread >= 0.5:
        assert len(parity.flips) > 1000


def test_the_two_is_sharp(brute_force, monkeypatch):
    monkeypatch.setattr(parity_module, "_GAP", 1.9)
    assert brute_force(0.5).unexplained > 0


def test_the_bounds_of_the_distributions_are_nearly_reached(brute_force):
    parity = brute_force(0.5)
    assert 0.9 * parity.error / 2 < parity.max_probability_difference <= parity.error / 2
    assert 0.9 * parity.error**2 / 2 < parity.max_kl <= parity.error**2 / 2
