"""What became worse between two verdicts, and what does not count as worse."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from mindport.migrate.errors import MindportError
from mindport.validate.cli import main
from mindport.validate.report.difference import compare_verdicts
from tests.validate.report.verdicts import gradients, prompts


def change_tap(verdict, name, **fields):
    taps = [replace(tap, **fields) if tap.name == name else tap for tap in verdict.taps]
    return replace(verdict, taps=tuple(taps))


def with_used(verdict, name, used):
    return change_tap(verdict, name, used=used)


def test_the_same_twice(verdicts):
    for verdict in verdicts.values():
        found = compare_verdicts(verdict, verdict)
        assert (found.status, found.exit_code) == ("same", 0)
        content = found.to_dict()
        assert not any(value for value in content.values() if isinstance(value, (list, tuple)))


def test_a_fault_is_worse_and_its_mending_better(verdicts):
    found = compare_verdicts(verdicts["pass"], verdicts["fail"])
    assert (found.status, found.exit_code, found.before, found.after) == (
        "worse",
        1,
        "pass",
        "fail",
    )
    first = next(move for move in found.taps if move.name == "block.1.mlp")
    assert (first.kind, first.why) == ("worse", "became faulty")
    tap = next(tap for tap in verdicts["fail"].taps if tap.name == "block.1.mlp")
    assert first.after == tap.used
    assert first.ratio == pytest.approx(tap.used / first.before)
    assert not any(move.name.startswith("block.0") for move in found.taps)
    back = compare_verdicts(verdicts["fail"], verdicts["pass"])
    assert (back.status, back.exit_code) == ("better", 0)
    assert [move.name for move in back.taps] == [move.name for move in found.taps]


@pytest.mark.parametrize(
    ("before", "after", "factor", "kind"),
    [
        (0.3, 0.5, 1.5, "worse"),
        (0.3, 0.4, 1.5, None),  # less than half as much again
        (0.3, 0.5, 2.0, None),
        (0.01, 0.09, 1.5, None),  # nine times as much, of next to nothing
        (0.01, 0.2, 1.5, "worse"),
        (0.0, 0.2, 1.5, "worse"),
        (0.9, 0.3, 1.5, "better"),
        (None, None, 1.5, None),
        (0.3, None, 1.5, "worse"),
    ],
)
def test_use_of_the_tolerance(verdicts, before, after, factor, kind):
    ours, theirs = (with_used(verdicts["pass"], "block.0", used) for used in (before, after))
    found = compare_verdicts(ours, theirs, factor)
    assert [(move.name, move.kind) for move in found.taps] == ([("block.0", kind)] if kind else [])
    assert found.exit_code == (1 if kind == "worse" else 0)
    if before == 0.0:
        assert found.taps[0].ratio is None


def test_a_tap_that_is_compared_no_more_is_worse(verdicts):
    fewer = replace(verdicts["pass"], taps=verdicts["pass"].taps[1:])
    found = compare_verdicts(verdicts["pass"], fewer)
    assert [(move.name, move.kind) for move in found.taps] == [("embeddings", "worse")]
    assert compare_verdicts(fewer, verdicts["pass"]).exit_code == 0


def test_what_could_not_run_is_worse_than_anything(verdicts):
    for name in ("pass", "fail"):
        found = compare_verdicts(verdicts[name], verdicts["not-run"])
        assert (found.exit_code, found.lost) == (1, ("taps",))
    assert compare_verdicts(verdicts["not-run"], verdicts["fail"]).status == "better"


def test_labels(verdicts):
    asked = replace(verdicts["pass"], prompts=prompts(0))
    flipped = replace(verdicts["pass"], prompts=prompts(2))
    found = compare_verdicts(asked, flipped)
    assert (len(found.flips), found.exit_code) == (2, 1)
    back = compare_verdicts(flipped, asked)
    assert (len(back.unflipped), back.status) == (2, "better")
    other = prompts(2)
    other["flips"][1]["candidate"] = "neutral"
    assert compare_verdicts(flipped, replace(flipped, prompts=other)).flips == ("item-1",)
    assert compare_verdicts(asked, verdicts["pass"]).lost == ("prompts",)
    assert compare_verdicts(verdicts["pass"], flipped).flips == ()  # not asked before


def test_gradients(verdicts):
    ours, theirs = (replace(verdicts["pass"], gradients=gradients(n)) for n in (0, 1))
    found = compare_verdicts(ours, theirs)
    assert [(move.name, move.why) for move in found.gradients] == [
        ("layer.4.weight", "became faulty")
    ]
    assert found.exit_code == 1
    assert compare_verdicts(ours, verdicts["pass"]).lost == ("gradients",)


def test_versions_are_listed(verdicts):
    identity = verdicts["pass"].identity
    newer = {**identity, "candidate": {**identity["candidate"], "version": "3"}}
    found = compare_verdicts(verdicts["pass"], replace(verdicts["pass"], identity=newer))
    assert [(c.what, c.before, c.after) for c in found.changes] == [("candidate version", "2", "3")]
    assert found.status == "same"


def test_other_networks_are_not_compared(verdicts):
    with pytest.raises(MindportError, match="different networks: architecture gpt2 and bert"):
        compare_verdicts(verdicts["pass"], replace(verdicts["pass"], architecture="bert"))


def test_the_command(verdicts, store):
    folders = [str(store(verdicts[name], name)) for name in ("pass", "fail")]
    shown = CliRunner().invoke(main, ["diff", *folders])
    assert shown.exit_code == 1
    assert "tap block.1.mlp" in shown.output
    assert "WORSE pass before, fail now" in shown.output
    data = CliRunner().invoke(main, ["diff", *folders, "--json"])
    content = json.loads(data.output)
    assert (data.exit_code, content["status"], content["schema"]) == (1, "worse", 1)
    assert content["taps"][0]["name"] == "block.1.mlp"
    assert CliRunner().invoke(main, ["diff", *folders[::-1]]).exit_code == 0
