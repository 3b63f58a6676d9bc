from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mindport.migrate.errors import MindportError
from mindport.prompts.parity import (
    LEVELS,
    Answers,
    Control,
    Floor,
    Loads,
    Requirements,
    compare_scores,
)

WORDS = [[[(0, 1)]], [[(0, 2)], [(0, 3)]]]
CLEAN = Loads(True, "148 of 148 parameters were set on both sides, none was left over")
ITEMS = 200


@pytest.fixture
def plan(stand_in):
    return stand_in.plan(WORDS, items=ITEMS)


@pytest.fixture
def rows(plan):
    """Nine of ten items are labelled rightly, with margins around 1."""
    rng = np.random.default_rng(4)
    rows = rng.normal(scale=0.2, size=(ITEMS, 1, 10))
    given = np.array(plan.label_indices)
    given[::10] = 1 - given[::10]
    rows[given == 0, 0, 1] += 1
    rows[given == 1, 0, 2:4] += 1
    return rows


@pytest.fixture
def compare(stand_in, plan):
    """Return a function that compares two arrays of rows."""

    def run(reference, candidate, *, loads=CLEAN, plan=plan, atol=1e-3, change=None, **settings):
        theirs = stand_in.score(plan, candidate)
        requirements = settings.pop("requirements", {})
        return compare_scores(
            plan,
            Answers(stand_in.score(plan, reference), reference),
            Answers(change(theirs) if change else theirs, candidate),
            loads=loads,
            requirements=Requirements(**{"atol": atol, **requirements}),
            **settings,
        )

    return run


@pytest.fixture
def control(stand_in, plan):
    """The answers of random weights: as good as a coin."""
    return Control(stand_in.score(plan, np.random.default_rng(8).normal(size=(ITEMS, 1, 10))))


def noise(rows, size, seed=0):
    return rows + np.random.default_rng(seed).uniform(-size, size, rows.shape)


def test_a_pass(compare, rows, control):
    parity = compare(rows, noise(rows, 1e-4), control=control, floor=Floor([0, 5], rows[[0, 5]]))
    assert (parity.status, parity.ok, parity.failed) == ("pass", True, None)
    assert tuple(level.name for level in parity.levels) == LEVELS
    assert all(level.ok for level in parity.levels)
    assert parity.headline.startswith("no label flipped, and ")
    assert "of the labels are certain" in parity.headline
    assert parity.power.informative
    assert parity.power.control_agreement < 0.65
    assert parity.notices == ()
    assert parity.level("margins").figures["certified"] > 0.98
    metrics = parity.level("metrics").figures
    assert metrics["reference"]["accuracy"] == pytest.approx(0.9, abs=0.05)
    assert metrics["accuracy_difference"] == {"estimate": 0, "low": 0, "high": 0}
    assert metrics["equivalence"]["equal"]
    assert parity.level("decisions").figures["flip_rate_upper"] == pytest.approx(0.014867, abs=1e-6)


def test_the_first_level_that_fails_is_the_headline(compare, rows):
    parity = compare(rows, noise(rows, 3), loads=Loads(False, "148 parameters were not set"))
    assert parity.status == "fail"
    assert parity.failed.name == "load"
    assert parity.headline == "load: 148 parameters were not set"
    assert not parity.level("rows").ok  # those after it are still looked at


def test_another_plan_is_not_compared(compare, rows):
    parity = compare(rows, rows, change=lambda scores: replace(scores, plan_digest="other"))
    assert parity.status == "fail"
    assert parity.headline == "inputs: the scores of the candidate belong to another plan"
    assert [level.ok for level in parity.levels] == [True, False, *[None] * 6]
    assert parity.power is parity.certification is None
    assert json.dumps(parity.to_dict(), allow_nan=False)
    assert "| rows | not reached |" in parity.to_markdown()


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda s: replace(s, labels=("b", "a")), "other labels: b, a"),
        (lambda s: replace(s, label_scores=s.label_scores[:9]), "scored 9 of 200"),
    ],
)
def test_other_inputs(compare, rows, change, finding):
    assert finding in compare(rows, rows, change=change).headline


def test_labels_with_the_same_tokens(compare, stand_in, rows):
    plan = stand_in.plan([[[(0, 1)]], [[(0, 2)], [(0, 1)]]], items=ITEMS)
    assert "'w0' and 'w2' of different labels" in compare(rows, rows, plan=plan).headline


def test_rows_of_another_size(compare, stand_in, plan, rows):
    scores = stand_in.score(plan, rows)
    parity = compare_scores(
        plan, Answers(scores, rows), Answers(scores, rows[..., :8]), loads=CLEAN,
        requirements=Requirements(1e-3),
    )  # fmt: skip
    assert parity.headline.startswith("inputs: the reference has a vocabulary of 10")


def test_rows_beyond_the_tolerance(compare, rows):
    other = rows.copy()
    other[3, 0, 9] += 0.01  # a token that no word takes
    parity = compare(rows, other)
    assert parity.failed.name == "rows"
    assert "differ by 0.01 at most, allowed are 0.001" in parity.headline
    figures = parity.level("rows").figures
    assert (figures["max"], figures["label_max"]) == (pytest.approx(0.01), 0)
    assert figures["mean"] == pytest.approx(0.01 / rows.size)
    # The other levels say that the labels do not suffer from it.
    assert all(level.ok for level in parity.levels if level.name != "rows")
    assert compare(rows, other, requirements={"rtol": 0.1}).level("rows").ok


def test_a_floor_allows_what_the_reference_does_itself(compare, rows):
    one_by_one = noise(rows[[7, 2]], 1e-3)
    apart = np.abs(one_by_one - rows[[7, 2]]).max()
    parity = compare(rows, noise(rows, 5e-3), floor=Floor([7, 2], one_by_one))
    assert parity.level("rows").ok
    assert parity.level("rows").figures["floor"] == apart
    assert parity.level("rows").figures["limit"] == 8 * apart
    assert not compare(rows, noise(rows, 5e-3)).level("rows").ok
    strict = {"floor_factor": 2}
    floor = Floor([7, 2], one_by_one)
    assert not compare(rows, noise(rows, 5e-3), floor=floor, requirements=strict).level("rows").ok


@pytest.mark.parametrize("items", [[0], [0, 200], [0, -1]])
def test_a_floor_that_does_not_fit(compare, rows, items):
    with pytest.raises(MindportError, match="floor"):
        compare(rows, rows, floor=Floor(items, rows[:2]))


def test_a_floor_with_no_number(compare, rows):
    with pytest.raises(MindportError, match="floor hold NaN"):
        compare(rows, rows, floor=Floor([0], np.full((1, 1, 10), np.nan)))


def test_certified_labels_may_be_required(compare, rows):
    parity = compare(rows, noise(rows, 0.7), atol=1, requirements={"certified": 0.9})
    assert parity.failed.name == "margins"
    assert "90.0% are required" in parity.headline
    assert compare(rows, noise(rows, 0.7), atol=1).level("margins").ok


def test_unexplained_flips_always_fail(compare, rows):
    def exchange(scores):
        predictions = scores.predictions.copy()
        predictions[0] = 1 - predictions[0]
        return replace(scores, predictions=predictions)

    parity = compare(rows, rows, atol=1e9, change=exchange)
    assert parity.failed.name == "flips"
    assert "1 of 1 flipped labels are beyond what the logits explain" in parity.headline
    assert "**unexplained**" in parity.to_markdown()
    assert not parity.power.informative or parity.status == "fail"


def test_scores_that_move_without_their_rows(compare, rows):
    def raise_one(scores):
        label_scores = scores.label_scores.copy()
        label_scores[0, scores.predictions[0]] += 1  # no label changes
        return replace(scores, label_scores=label_scores)

    parity = compare(rows, noise(rows, 1e-4), change=raise_one)
    assert parity.failed.name == "flips"
    assert "scores of 1 items moved beyond what their logits explain" in parity.headline
    assert parity.level("flips").figures["count"] == 0


def test_explained_flips_pass_and_are_listed(compare, rows, control):
    rows[4, 0, 1:4] = 0, 1e-5, 1e-5
    other = rows.copy()
    other[4, 0, 1] = 2e-5
    parity = compare(rows, other, control=control)
    assert parity.status == "pass"
    (flip,) = parity.flips
    assert (flip.id, flip.reference, flip.candidate, flip.explained) == ("item4", "b", "a", True)
    assert parity.level("flips").figures == {
        "count": 1, "explained": 1, "unexplained": 0, "contradictions": 0
    }  # fmt: skip
    hard = parity.level("margins").figures["hardest"]
    assert hard["ids"][0] == "item4"
    assert (hard["items"], hard["certified"], hard["agreement"]) == (50, 0.98, 0.98)
    assert "| item4: text 4 |" in parity.to_markdown()


def test_distributions_beyond_what_the_limit_allows(compare, rows):
    other = rows.copy()
    other[3, 0, 1] += 0.5  # a word
    parity = compare(rows, other)
    assert not parity.level("rows").ok
    assert not parity.level("distributions").ok
    figures = parity.level("distributions").figures
    assert figures["kl"]["max"] > figures["max_kl_allowed"] == pytest.approx(1e-6 / 2)
    assert parity.certification.kl.argmax() == 3


def test_labels_that_agree_too_seldom(compare, rows):
    rows *= 1e-3  # every margin is within the tolerance
    other = rows.copy()
    other[: ITEMS // 4] = -other[: ITEMS // 4]
    parity = compare(rows, other, atol=0.1)
    assert parity.failed.name == "decisions"
    assert "an agreement of 90.0% is required" in parity.headline
    assert parity.level("decisions").figures["agreement"] == 0.75
    assert parity.level("decisions").figures["kappa"] == pytest.approx(0.5, abs=0.1)
    assert any("McNemar" in notice for notice in parity.notices)
    assert compare(rows, other, atol=0.1, requirements={"agreement": 0.7}).level("decisions").ok


def test_few_items_do_not_fail_by_chance(compare, stand_in, rows):
    plan = stand_in.plan(WORDS, items=5)
    rows, other = 1e-3 * rows[:5], 1e-3 * rows[:5]
    other[0] = -other[0]
    parity = compare(rows, other, plan=plan, atol=0.1)
    assert parity.level("decisions").ok
    assert parity.status == "uninformative"


def test_accuracies_that_differ(compare, plan, rows):
    rows *= 1e-3
    other = rows.copy()
    truth = np.array(plan.label_indices)
    right = np.flatnonzero((rows[:, 0, 1] < rows[:, 0, 2:4].mean(axis=1)) == truth)[:15]
    other[right] = -other[right]
    parity = compare(rows, other, atol=0.1)
    assert parity.failed.name == "metrics"
    assert "different within 0.02" in parity.headline
    figures = parity.level("metrics").figures
    assert figures["mcnemar"]["only_reference_right"] == 15
    assert figures["mcnemar"]["p"] < 1e-3
    assert figures["accuracy_difference"]["estimate"] == pytest.approx(-15 / ITEMS)
    assert figures["macro_f1_difference"]["high"] < -0.02
    assert not figures["equivalence"]["equal"]


def test_a_reference_no_better_than_chance(compare, rows, control):
    wrong = rows[::-1].copy()
    parity = compare(wrong, wrong, control=control)
    assert parity.status == "uninformative"
    assert not parity.ok
    assert parity.failed is None
    assert "not clearly better than guessing" in parity.headline
    fails = compare(wrong, noise(wrong, 1))
    assert fails.status == "fail"  # what is uninformative may still be wrong


def test_a_reference_no_better_than_the_majority(compare, stand_in, rows):
    plan = stand_in.plan(WORDS, items=ITEMS, truth=[1] * 180 + [0] * 20)
    rows[:] = 0
    rows[:, 0, 2:4] = 1
    parity = compare(rows, rows, plan=plan)
    assert parity.power.accuracy == 0.9
    assert parity.status == "uninformative"
    assert parity.power.reasons == (parity.headline,)
    assert "always the same label" in parity.headline
    assert any("gives 'b' to 200 of 200" in notice for notice in parity.notices)
    assert parity.level("decisions").figures["kappa"] is None


def test_no_label_is_certain(compare, rows):
    parity = compare(rows, noise(rows, 0.01), atol=1)
    assert parity.status == "pass"
    other = rows.copy()
    other[..., 1:4] += 5  # all alike: no label changes, but so large an error could
    parity = compare(rows, other, atol=10)
    assert parity.level("flips").figures["count"] == 0
    assert parity.status == "uninformative"
    assert "exceeds every margin" in parity.headline


@pytest.mark.parametrize("part", [None, range(0, ITEMS, 2)])
def test_random_weights_that_answer_like_the_reference(compare, stand_in, plan, rows, part):
    items = range(ITEMS) if part is None else part
    few = stand_in.plan(WORDS, items=len(items)) if part else plan
    few = replace(few, digest="few") if part else few
    like = Control(stand_in.score(few, noise(rows[list(items)], 0.05)), part)
    parity = compare(rows, rows, control=like)
    assert parity.status == "uninformative"
    assert "random weights agree with the reference" in parity.headline
    assert parity.power.control_items == len(items)


def test_a_control_of_some_items(compare, stand_in, rows):
    few = replace(stand_in.plan(WORDS, items=40), digest="few")
    coin = stand_in.score(few, np.random.default_rng(0).normal(size=(40, 1, 10)))
    parity = compare(rows, rows, control=Control(coin, range(0, ITEMS, 5)))
    assert parity.status == "pass"
    assert parity.power.agreement_lower > parity.power.control_upper > 0.5
    for wrong in (Control(coin), Control(coin, range(39)), Control(coin, [0] * 40)):
        with pytest.raises(MindportError, match="control scored 40"):
            compare(rows, rows, control=wrong)


def test_controls_that_do_not_fit(compare, control, rows):
    for name, value in (("labels", ("x", "y")), ("plan_digest", "other")):
        other = Control(replace(control.scores, **{name: value}))
        with pytest.raises(MindportError, match="control"):
            compare(rows, rows, control=other)


def test_notices(compare, plan, rows):
    rows[0] = 0
    plan = replace(plan, texts=("same", "same", *plan.texts[2:]), truncated_items=(3, 4))
    notices = compare(rows, rows, plan=plan).notices
    assert notices == (
        "no control with random weights was run",
        "1 items have two winners or more on the reference's side",
        "1 items have two winners or more on the candidate's side",
        "no floor was run: the tolerance of the rows stands alone",
        "1 items repeat the text of an earlier one",
        "2 items were cut to fit",
    )


def test_calibration_inputs_count(compare, stand_in, rows):
    plan = stand_in.plan(WORDS, items=ITEMS - 2, priors=2, calibration="contextual")
    other = rows.copy()
    other[-1, 0, 1] += 0.4  # the second prior input
    parity = compare(rows, other, plan=plan, atol=1)
    assert parity.level("rows").figures["max"] == pytest.approx(0.4)
    assert parity.level("margins").figures["median_bound"] == pytest.approx(0.8)
    assert parity.level("flips").ok


def test_nan_is_not_compared(stand_in, plan, rows):
    other = rows.copy()
    other[5] = np.nan
    scores = stand_in.score(plan, rows)
    with pytest.raises(MindportError, match=r"'item5' \(candidate\)"):
        compare_scores(
            plan, Answers(scores, rows), Answers(scores, other), loads=CLEAN,
            requirements=Requirements(1e-3),
        )  # fmt: skip


def test_an_empty_plan(compare, plan, rows):
    empty = replace(plan, ids=(), texts=(), label_indices=())
    with pytest.raises(MindportError, match="no items"):
        compare_scores(
            empty, Answers(None, rows), Answers(None, rows), loads=CLEAN,
            requirements=Requirements(0),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"atol": -1}, "atol must be a finite number"),
        ({"atol": float("nan")}, "atol must be a finite number"),
        ({"atol": 0, "rtol": float("inf")}, "rtol must be a finite number"),
        ({"atol": 0, "agreement": 1.5}, "agreement must be a share"),
    ],
)
def test_requirements_are_numbers(change, message):
    with pytest.raises(MindportError, match=message):
        Requirements(**change)


def test_to_dict_is_json(compare, rows, control):
    parity = compare(rows, -rows, control=control)
    content = json.loads(json.dumps(parity.to_dict(), allow_nan=False))
    assert set(content) == {
        "status", "headline", "items", "levels", "power", "flips", "room", "notices"
    }  # fmt: skip
    assert [level["name"] for level in content["levels"]] == list(LEVELS)
    assert all(set(x) == {"name", "ok", "finding", "figures"} for x in content["levels"])
    assert len(content["flips"]) > 100
    assert len(content["room"]) == parity.items
    assert {item["id"] for item in content["room"] if item["flipped"]} == {
        flip["id"] for flip in content["flips"]
    }
    assert all(item["certified"] == (item["margin"] > item["bound"]) for item in content["room"])
    text = parity.to_markdown()
    assert text.startswith("**fail**: rows: ")
    assert f"… and {len(parity.flips) - 10} more." in text


def test_tables_are_not_broken_by_texts(compare, plan, rows):
    plan = replace(plan, texts=("a|b\nc", *plan.texts[1:]))
    assert "item0: a\\|b c |" in compare(rows, -rows, plan=plan).to_markdown()
