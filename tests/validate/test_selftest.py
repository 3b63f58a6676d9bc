"""The validator's own test: what is tried, what is counted, and that the goals can be missed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.config import resolve_config
from mindport.migrate.errors import MindportError
from mindport.migrate.positions import longest_sequence
from mindport.validate.cli import main
from mindport.validate.faults import FAULTS, HELD_OUT
from mindport.validate.selftest.markdown import selftest_page
from mindport.validate.selftest.running import Outcome
from mindport.validate.selftest.summary import summarise, to_dict
from mindport.validate.selftest.trials import (
    DEVELOPMENT,
    HELD_OUT_SET,
    chosen_trials,
    correct_trials,
    fault_trials,
)
from mindport.validate.verdict import Diagnosis

NAMES = architecture_names()


def right(trial):
    """Return the outcome of a trial in which the validator said what it should."""
    if trial.fault is None:
        return Outcome(trial, used=0.5)
    tap = trial.fault.tap_at(trial.stage.architecture, trial.block)
    return Outcome(trial, tap=tap, diagnosis=Diagnosis(tap, trial.fault.cause, True, "", 1.0))


@pytest.fixture(scope="module")
def outcomes():
    trials = [*fault_trials(NAMES, (DEVELOPMENT, HELD_OUT_SET), sweep=False)]
    return [right(trial) for trial in (*trials, *correct_trials(NAMES, 20))]


def test_every_fault_is_tried_in_every_architecture_that_has_it(outcomes):
    tried = {(o.trial.fault.name, o.trial.stage.architecture) for o in outcomes if o.trial.fault}
    for fault in (*FAULTS, *HELD_OUT):
        for name, described in zip(NAMES, map(load_architecture, NAMES), strict=True):
            fits = any(fault.fits(described, head) for head in described.heads)
            said = fault.name if fault in FAULTS else "a held-out one"
            assert ((fault.name, name) in tried) == fits, said
    blocks = {o.trial.block for o in outcomes if o.trial.fault and o.trial.fault.per_block}
    assert blocks == {0, 1, 2, 3}


def test_correct_ports_are_valid_and_follow_from_the_seed():
    trials = list(correct_trials(NAMES, 60, seed=3))
    assert trials == list(correct_trials(NAMES, 60, seed=3))
    assert trials != list(correct_trials(NAMES, 60, seed=4))
    for trial in trials:
        architecture = load_architecture(trial.stage.architecture)
        config = resolve_config(architecture, trial.stage.config)
        assert trial.stage.length <= longest_sequence(architecture, config)
    heads = {(t.stage.architecture, t.stage.head) for t in trials}
    assert heads == {(n, h) for n in NAMES for h in load_architecture(n).heads}
    assert {t.mode for t in trials} == {"eager", "graph"}
    assert {t.stage.dtype for t in trials} == {"float32", "float16"}


def test_a_perfect_validator_meets_its_goals(outcomes):
    summary = summarise(outcomes)
    assert summary.ok
    assert summary.correct == 20
    assert summary.largest_use["float32"] == 0.5
    page = selftest_page(summary, outcomes, "validate selftest")
    assert "100.0%" in page
    assert json.loads(json.dumps(to_dict(summary, outcomes)))["ok"]


def break_first(outcomes, which, **change):
    found = list(outcomes)
    place = next(n for n, o in enumerate(found) if which(o))
    found[place] = replace(found[place], **change)
    return summarise(found)


def test_one_missed_fault_is_a_failure(outcomes):
    summary = break_first(outcomes, lambda o: o.trial.fault, tap=None, diagnosis=None)
    assert not summary.ok
    assert summary.rates[DEVELOPMENT].detected == summary.rates[DEVELOPMENT].faults - 1


def test_one_false_alarm_is_a_failure(outcomes):
    summary = break_first(outcomes, lambda o: o.trial.fault is None, tap="logits")
    assert (summary.ok, summary.alarms) == (False, 1)


def test_what_could_not_run_counts_for_nothing(outcomes):
    summary = break_first(outcomes, lambda o: o.trial.fault, not_run="no such device")
    assert not summary.ok
    assert summary.rates[DEVELOPMENT].faults == summarise(outcomes).rates[DEVELOPMENT].faults - 1
    assert "no such device" in summary.not_run[0]


@pytest.mark.parametrize(("what", "share"), [("tap", 0.95), ("cause", 0.85)])
def test_held_out_faults_have_goals_of_their_own(outcomes, what, share):
    def spoil(outcome):
        if what == "tap":
            return replace(outcome, tap="elsewhere")
        return replace(outcome, diagnosis=replace(outcome.diagnosis, cause="unknown"))

    held = [o for o in outcomes if o.trial.held_out]
    others = [o for o in outcomes if not o.trial.held_out]
    allowed = int(len(held) * (1 - share))
    within = [*map(spoil, held[:allowed]), *held[allowed:]]
    assert summarise([*others, *within]).ok
    beyond = [*map(spoil, held[: allowed + 1]), *held[allowed + 1 :]]
    assert not summarise([*others, *beyond]).ok


def test_faults_by_name():
    trial, *others = chosen_trials(NAMES, ("up-noise@2=1e-5",), "base")
    assert len(others) == len(NAMES) - 1
    assert (trial.fault.name, trial.block, trial.severity) == ("up-noise", 2, 1e-5)
    assert trial.stage.checkpoint == "random"


@pytest.mark.parametrize(
    ("text", "size", "said"),
    [
        ("up-nose", None, "Did you mean 'up-noise'"),
        ("up-noise@9", None, "no block 9"),
        ("up-noise@two", None, "is not NAME"),
        ("up-noise", "huge", "no size 'huge'"),
    ],
)
def test_faults_that_are_none(text, size, said):
    with pytest.raises(MindportError, match=said):
        list(chosen_trials(NAMES, (text,), size))


@pytest.mark.torch
@pytest.mark.mindspore
@pytest.mark.slow
@pytest.mark.xdist_group("more-frameworks")
@pytest.mark.usefixtures("frameworks")
def test_the_command_on_a_few_trials(tmp_path):
    report = tmp_path / "selftest.json"
    done = CliRunner().invoke(
        main,
        ["selftest", "--limit", "10", "--correct", "6", "--seed", "5", "--report", str(report)],
    )
    assert done.exit_code == 0, done.output
    found = json.loads(report.read_text())
    assert found["correct"] == 6
    assert found["alarms"] == 0
    assert sum(rates["faults"] for rates in found["rates"].values()) >= 8
