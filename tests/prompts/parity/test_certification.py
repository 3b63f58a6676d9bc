from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindport.migrate.errors import MindportError
from mindport.prompts.parity import bounds, certify, hardest, measure_rows

TWO = [[[(0, 1)]], [[(0, 2)]]]
THREE = [[[(0, 1)]], [[(0, 2)], [(0, 3)]], [[(0, 4)], [(0, 5)], [(0, 6)]]]


def judged(stand_in, plan, rows, other):
    ours, theirs = stand_in.score(plan, rows), stand_in.score(plan, other)
    return certify(plan, ours, theirs, measure_rows(plan, rows, other))


def lead(margins, width=8):
    """Return rows in which label 1 is ahead of label 0 by the margins."""
    rows = np.zeros((len(margins), 1, width))
    rows[:, 0, 2] = margins
    return rows


def test_the_same_rows(stand_in):
    plan = stand_in.plan(TWO, items=3)
    found = judged(stand_in, plan, lead([1, 0.5, 0]), lead([1, 0.5, 0]))
    assert found.certified.tolist() == [True, True, False]  # a tie is never certain
    assert not found.flips
    assert found.unexplained == 0
    for values in (found.kl, found.js, found.shifts, found.deltas):
        assert not values.any()


def test_a_flip_is_listed_and_explained(stand_in):
    plan = stand_in.plan(TWO, items=3, truth=[1, 1, 0])
    other = lead([1, 0.1, 1])
    other[1, 0, 1] = 0.3  # the loser gains 0.3
    found = judged(stand_in, plan, lead([1, 0.1, 1]), other)
    (flip,) = found.flips
    assert (flip.id, flip.text, flip.label) == ("item1", "text 1", "b")
    assert (flip.reference, flip.candidate) == ("b", "a")
    assert (flip.margin, flip.bound, flip.error) == pytest.approx((0.1, 0.6, 0.3))
    assert flip.explained
    assert found.certified.tolist() == [True, False, True]
    assert found.spare == pytest.approx([1, 0.1 - 0.6, 1])
    assert found.deltas == pytest.approx([0, 0.3, 0])
    assert found.used == pytest.approx([0, 0.5, 0])


def test_the_bound_is_that_of_the_rival(stand_in):
    # A flip to the far label is beyond its own gap, though the near label might have won.
    plan = stand_in.plan([[[(0, 1)]], [[(0, 2)]], [[(0, 3)]]], items=1)
    rows = np.zeros((1, 1, 6))
    rows[0, 0, 1:4] = [5, 4.9, 0]
    other = rows.copy()
    other[0, 0, 1] -= 0.3
    ours, theirs = stand_in.score(plan, rows), stand_in.score(plan, other)
    facts = measure_rows(plan, rows, other)
    assert certify(plan, ours, theirs, facts).unexplained == 0
    far = replace(theirs, predictions=np.array([2]))
    assert certify(plan, ours, far, facts).unexplained == 1
    assert not certify(plan, ours, far, facts).certified[0]


def test_a_flip_that_the_rows_do_not_explain(stand_in):
    plan = stand_in.plan(TWO, items=2)
    rows = lead([1, 0.5])
    scores = stand_in.score(plan, rows)
    wrong = replace(scores, predictions=1 - scores.predictions)
    found = certify(plan, scores, wrong, measure_rows(plan, rows, rows))
    assert found.unexplained == 2
    assert [flip.explained for flip in found.flips] == [False, False]


def test_a_flip_that_the_candidates_scores_do_not_want(stand_in):
    # The margin is small enough for a flip, but the candidate's own scores are against it.
    plan = stand_in.plan(TWO, items=1)
    rows, other = lead([0.1]), lead([0.5])
    ours, theirs = stand_in.score(plan, rows), stand_in.score(plan, other)
    facts = measure_rows(plan, rows, other)
    assert certify(plan, ours, theirs, facts).flips == ()
    found = certify(plan, ours, replace(theirs, predictions=np.array([0])), facts)
    assert found.flips[0].margin < found.flips[0].bound
    assert found.unexplained == 1


def test_long_texts_are_shortened(stand_in):
    plan = replace(stand_in.plan(TWO, items=1), texts=("x" * 500,))
    (flip,) = judged(stand_in, plan, lead([1]), lead([-1])).flips
    assert len(flip.text) == 80
    assert flip.text.endswith("…")


def test_scores_that_contradict_their_rows(stand_in):
    plan = stand_in.plan(TWO, items=2)
    rows = lead([1, 0.5])
    scores = stand_in.score(plan, rows)
    wrong = replace(scores, label_log_probabilities=scores.label_log_probabilities[:, ::-1])
    with pytest.raises(AssertionError, match=r"item 'item0'.*do not follow from the rows"):
        certify(plan, scores, wrong, measure_rows(plan, rows, rows))


def test_scores_of_another_plan(stand_in):
    plan = stand_in.plan(TWO, items=2)
    rows = lead([1, 0.5])
    scores = stand_in.score(plan, rows)
    other = replace(scores, plan_digest="other")
    with pytest.raises(MindportError, match="scores of the candidate belong to another plan"):
        certify(plan, scores, other, measure_rows(plan, rows, rows))


@pytest.fixture
def brute_force(stand_in):
    """Return a function that certifies ten thousand perturbed items."""
    plan = stand_in.plan(THREE, items=10_000)
    rng = np.random.default_rng(11)
    rows = rng.normal(size=(10_000, 1, 12))
    winners = stand_in.score(plan, rows).predictions
    noise = rng.uniform(-1, 1, size=rows.shape)
    for word in plan.words:
        ((_, token),) = word.steps
        noise[::2, 0, token] = np.where(winners[::2] == word.label, -1, 1)

    def run(spread):
        sizes = spread * rng.uniform(0.1, 1, size=(10_000, 1, 1))
        return judged(stand_in, plan, rows, rows + sizes * noise)

    return run


@pytest.mark.parametrize("spread", [1e-9, 1e-4, 0.5, 5.0])
def test_no_certified_label_flips(brute_force, spread):
    found = brute_force(spread)
    assert found.unexplained == 0
    assert found.certified.mean() + len(found.flips) / 10_000 <= 1
    assert 0.98 < found.used.max() <= 1
    if spread >= 0.5:
        assert len(found.flips) > 1000


def test_a_smaller_factor_contradicts_itself(brute_force, monkeypatch):
    monkeypatch.setattr(bounds, "GAP", 1.9)
    monkeypatch.setattr("mindport.prompts.parity.certification._check_distances", lambda *_: None)
    assert brute_force(0.5).unexplained > 0


def test_a_smaller_factor_breaks_the_distributions(brute_force, monkeypatch):
    monkeypatch.setattr(bounds, "GAP", 1.9)
    with pytest.raises(AssertionError, match="above its bound"):
        brute_force(0.5)


def test_the_bounds_of_the_distributions_are_nearly_reached(stand_in):
    plan = stand_in.plan(TWO, items=1)
    # From -d to d, where the logistic function is steepest.
    for delta in (1e-3, 0.1, 1.0, 4.0):
        rows, other = np.zeros((1, 1, 5)), np.zeros((1, 1, 5))
        rows[0, 0, [1, 2]] = delta / 2, -delta / 2
        other[0, 0, [1, 2]] = -delta / 2, delta / 2
        found = judged(stand_in, plan, rows, other)
        assert found.deltas[0] == pytest.approx(delta)
        assert found.shifts[0] == pytest.approx(np.tanh(delta / 2), rel=1e-9)
        # The variance of the change is greatest at even odds, and stays so only for a small one.
        assert 0.999 * (delta < 0.01) < found.kl[0] / (delta**2 / 2) <= 1
        assert 0.999 * (delta < 0.01) < found.js[0] / (delta**2 / 8) <= 1


@given(st.integers(2, 6), st.floats(1e-4, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_distances_keep_within_half_the_gaps(labels, delta, seed):
    """KL, JS and |dp| of any two distributions whose log odds differ by at most 2 delta."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(scale=rng.choice([0.1, 1, 5]), size=(500, labels))
    change = rng.choice([-delta, delta], size=scores.shape)
    p, q = (x - np.logaddexp.reduce(x, axis=1)[:, None] for x in (scores, scores + change))
    middle = np.logaddexp(p, q) - np.log(2)
    kl = (np.exp(p) * (p - q)).sum(axis=1)
    js = ((np.exp(p) * (p - middle)) + np.exp(q) * (q - middle)).sum(axis=1) / 2
    assert kl.max() <= delta**2 / 2 + 1e-12
    assert js.max() <= delta**2 / 8 + 1e-12
    assert np.abs(np.exp(p) - np.exp(q)).max() <= np.tanh(delta / 2) + 1e-12


def test_the_hardest_items(stand_in):
    plan = stand_in.plan(TWO, items=5)
    scores = stand_in.score(plan, lead([3, 0.1, -2, 0, 0.1]))
    assert hardest(scores, 3).tolist() == [3, 1, 4]
    assert len(hardest(scores, 99)) == 5
    assert len(hardest(scores, 0)) == 0


@pytest.mark.parametrize("calibration", ["none", "pmi", "contextual"])
def test_rounding_is_allowed_for(stand_in, calibration):
    """Logits of real size: float64 rounds, and identical rows still contradict nothing."""
    priors = 0 if calibration == "none" else 1
    plan = stand_in.plan(THREE, items=200, priors=priors, calibration=calibration)
    rng = np.random.default_rng(0)
    rows = 5 * rng.normal(size=(200 + priors, 1, 5000)) - 100
    shifted = rows - 37.3  # no probability changes, but every rounding
    ours, theirs = stand_in.score(plan, rows), stand_in.score(plan, shifted)
    facts = measure_rows(plan, rows, rows)
    found = certify(plan, ours, theirs, facts)
    assert found.used.max() < 0.5
    assert found.certified.all()
