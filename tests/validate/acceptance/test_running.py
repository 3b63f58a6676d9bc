"""Running tasks: outcomes, exit codes, and what is kept after an interruption."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import signal
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
from click.testing import CliRunner

from mindport.migrate.errors import MindportError
from mindport.validate.acceptance.overview import record_elsewhere
from mindport.validate.acceptance.reading import read_task
from mindport.validate.cli import main
from tests.validate.acceptance.made import NAMES, TASK, change_code

BOTH = '["CPU", "Ascend"]'
MAY = TASK + '[[cell]]\ndevice = "Ascend"\nmay_be_absent = true\nperformance = false\n'
LM, NONE = NAMES


def statuses(accepted):
    return {result.cell.name: result.status for result in accepted.summary.results}


def checks(accepted, name):
    result = next(r for r in accepted.summary.results if r.cell.name == name)
    return {check.what: (check.status, check.said) for check in result.checks}


def test_an_accepted_task(workshop):
    accepted = workshop.accept(workshop.write(), signed_off_by="Ada <ada@example.org>")
    assert statuses(accepted) == {LM: "pass", NONE: "pass"}
    assert accepted.summary.exit_code == 0
    out = workshop.folder / "out"
    content = json.loads((out / "summary.json").read_text())
    assert content["outcome"] == "accepted"
    assert content["cells"][0]["ratio"] == 2.0
    assert list(content["cells"][0]["checkpoints"]) == ["reference", "candidate"]
    assert not (out / "references").exists()
    assert not list(out.rglob("*.part*"))
    text = (out / "summary.md").read_text()
    assert text.startswith("## ACCEPTED: A small GPT-2")
    assert "Signed-off-by: Ada" in text
    page = (out / "index.html").read_text()
    assert f'href="cells/{LM}/verdict.json"' in page
    suites = ElementTree.fromstring((out / "junit.xml").read_text())
    assert suites.get("failures") == "0"
    assert f"{LM}.validate.gpt2.lm" in [suite.get("name") for suite in suites]


def test_one_reference_serves_all_cells_that_share_it(workshop):
    task = workshop.write(TASK, devices=BOTH)
    workshop.accept(task)
    assert workshop.recorded.count(("reference", "lm")) == 1


def test_a_wrong_cell_fails_the_task(workshop):
    workshop.broken = {"none"}
    accepted = workshop.accept(workshop.write())
    assert statuses(accepted) == {LM: "pass", NONE: "fail"}
    assert accepted.summary.exit_code == 1
    assert "block.1.mlp is the first" in (workshop.folder / "out" / "summary.md").read_text()


def test_a_slow_cell_fails_although_it_is_right(workshop):
    workshop.ratio = 3.5
    accepted = workshop.accept(workshop.write())
    assert accepted.summary.exit_code == 1
    status, said = checks(accepted, LM)["performance"]
    assert (status, said) == (
        "fail", "3.50 times the reference's wall time (3.50 to 4.50 in 3 rounds), allowed 3"
    )  # fmt: skip


def test_the_processor_has_a_clock_of_its_own(workshop):
    text = TASK.replace("rounds = 3", 'rounds = 3\nclock = "processor"')
    accepted = workshop.accept(workshop.write(text))
    assert checks(accepted, LM)["performance"][1].startswith("4.00 times the reference's processor")


def test_what_is_shown_can_be_demanded(workshop):
    accepted = workshop.accept(workshop.write(TASK + "max_used = 0.001\n"))
    assert checks(accepted, LM)["tolerance used"][0] == "fail"
    assert checks(accepted, LM)["verdict"][0] == "pass"


def test_an_absent_device_is_not_run_and_not_accepted(workshop):
    accepted = workshop.accept(workshop.write(devices=BOTH))
    assert accepted.summary.exit_code == 3
    assert statuses(accepted)["lm-mindspore-Ascend-eager-float32"] == "not-run"
    assert accepted.summary.outcome == "not accepted"


def test_a_failure_counts_more_than_an_absence(workshop):
    workshop.broken = {"lm"}
    assert workshop.accept(workshop.write(devices=BOTH)).summary.exit_code == 1


def test_a_cell_that_may_be_absent_is_shown_as_not_run(workshop):
    accepted = workshop.accept(workshop.write(MAY, devices=BOTH))
    assert accepted.summary.exit_code == 0
    assert "not run (may be absent)" in (workshop.folder / "out" / "summary.md").read_text()
    assert "2 not run, 2 of these may be absent" in accepted.summary.headline


def test_nothing_but_absent_cells_is_no_evidence(workshop):
    accepted = workshop.accept(workshop.write(MAY, devices='["Ascend"]'))
    assert accepted.summary.exit_code == 3


def test_a_cell_that_may_be_absent_and_is_wrong_fails(workshop):
    workshop.absent, workshop.broken = set(), {"lm"}
    rule = '[[cell]]\nhead = "lm"\nmay_be_absent = true\n'
    assert workshop.accept(workshop.write(TASK + rule)).summary.exit_code == 1


def test_a_capture_from_elsewhere_is_judged(workshop):
    workshop.accept(workshop.write(keep="captures"))
    out = workshop.folder / "out"
    shutil.copytree(out / "cells" / LM / "capture", workshop.folder / "there")
    rule = '[[cell]]\nhead = "lm"\ncapture = "there"\nperformance = false\n'
    accepted = workshop.accept(workshop.write(TASK + rule), "other")
    assert statuses(accepted)[LM] == "pass"
    assert ("candidate", "lm", "CPU") not in workshop.recorded
    # of the device that it names, and no other
    rule = '[[cell]]\nhead = "lm"\ndevice = "Ascend"\ncapture = "there"\nperformance = false\n'
    accepted = workshop.accept(workshop.write(TASK + rule, devices=BOTH), "third")
    status, said = checks(accepted, "lm-mindspore-Ascend-eager-float32")["what ran"]
    assert status == "fail"
    assert "the verdict is of the device CPU, the cell of Ascend" in said


def test_an_interrupted_run_goes_on(workshop):
    task, out = workshop.write(), workshop.folder / "out"
    workshop.interrupt = ("candidate", "none", "CPU")
    with pytest.raises(KeyboardInterrupt):
        workshop.accept(task)
    assert [path.name for path in (out / "cells").iterdir()] == [LM]
    assert not (out / "integrity.json").exists()
    (out / "cells" / f".part-{NONE}").mkdir()  # as a run that was killed leaves it
    workshop.interrupt = ()
    accepted = workshop.accept(task)
    assert accepted.ran == (NONE,)
    assert workshop.recorded == [("candidate", "none", "CPU")]
    assert accepted.summary.exit_code == 0
    assert not list(out.rglob(".part*"))


def test_nothing_is_run_twice(workshop):
    task = workshop.write()
    first = workshop.accept(task)
    again = workshop.accept(task)
    assert (again.ran, workshop.recorded) == ((), [])
    assert statuses(again) == statuses(first)


@pytest.mark.parametrize(
    ("there", "instead", "ran"),
    [
        ("A small GPT-2", "Another name", ()),
        ("max_ratio = 3.0", "max_ratio = 4.0", NAMES),
        ("rounds = 3\n", "rounds = 3\n[tolerance]\natol = 1.0\nrtol = 1.0\n", NAMES),
        ('["lm", "none"]', '["none"]', ()),
    ],
)
def test_what_the_task_asks_of_a_cell_decides(workshop, there, instead, ran):
    workshop.accept(workshop.write())
    accepted = workshop.accept(workshop.write(TASK.replace(there, instead)))
    assert accepted.ran == ran
    left = sorted(path.name for path in (workshop.folder / "out" / "cells").iterdir())
    assert left == sorted(statuses(accepted))


def test_another_code_or_version_runs_everything_again(workshop, monkeypatch):
    task = workshop.write()
    workshop.accept(task)
    change_code(monkeypatch)
    assert workshop.accept(task).ran == NAMES
    monkeypatch.setattr(
        "mindport.validate.acceptance.fingerprint.versions_here", lambda: {"torch": "0"}
    )
    assert workshop.accept(task).ran == NAMES


def test_other_weights_run_everything_again(workshop, tmp_path, small_checkpoint):
    other = small_checkpoint("gpt2", "lm", {"initializer_range": 0.03})
    shutil.copytree(workshop.checkpoint, tmp_path / "weights")
    workshop.checkpoint = tmp_path / "weights"
    task = workshop.write()
    workshop.accept(task)
    for name in ("model.safetensors", "config.json"):
        shutil.copy(other / name, tmp_path / "weights" / name)
    with (tmp_path / "weights" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert workshop.accept(task).ran == NAMES


def test_a_verdict_that_was_changed_is_not_kept(workshop):
    task = workshop.write()
    workshop.accept(task)
    path = workshop.folder / "out" / "cells" / LM / "verdict.json"
    path.write_text(path.read_text().replace("agree", "disagree", 1))
    assert workshop.accept(task).ran == (LM,)


def test_what_did_not_run_is_tried_again(workshop):
    task = workshop.write(MAY, devices='["Ascend"]')
    workshop.accept(task)
    workshop.absent = set()
    assert len(workshop.accept(task).ran) == 2


def test_a_strange_folder_is_left_alone(workshop):
    out = workshop.folder / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(MindportError, match=r"holds thesis\.txt"):
        workshop.accept(workshop.write())
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_a_checkpoint_that_is_not_there_stops_before_anything_runs(workshop):
    with pytest.raises(MindportError):
        workshop.accept(workshop.write(checkpoint=workshop.folder / "none"))
    assert workshop.recorded == []


@pytest.mark.parametrize("keep", ["captures", "verdicts"])
def test_the_advice_for_another_machine_is_understood(workshop, keep):
    task = read_task(workshop.write(keep=keep, devices='["Ascend:1"]'))
    for words in record_elsewhere(task, task.cells()[0]):
        command, context = main, click.Context(main)
        words = list(words[1:])
        while isinstance(command, click.Group):
            command = command.get_command(context, words.pop(0))
            context = click.Context(command, parent=context)
        command.parse_args(context, words)


def run(*argv):
    handler = signal.getsignal(signal.SIGTERM)
    done = CliRunner().invoke(main, ["accept", *map(str, argv)])
    signal.signal(signal.SIGTERM, handler)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_the_command(workshop):
    task, out = workshop.write(), workshop.folder / "out"
    done = run(task, "-o", out)
    assert done.exit_code == 0, done.output
    digest = next(line for line in done.output.splitlines() if line.startswith("digest "))
    done = run("--verify", out, "--digest", digest.split()[1])
    assert done.exit_code == 0
    assert digest in done.output
    assert "2 of 2 cells" in done.output
    assert run("--verify", out, "--digest", "0" * 64).exit_code == 2
    workshop.broken = {"lm"}
    assert run(task, "-o", workshop.folder / "wrong").exit_code == 1
    assert run("--verify", workshop.folder / "wrong").exit_code == 1
    task = workshop.write(MAY, devices='["Ascend"]')
    assert run(task, "-o", workshop.folder / "absent").exit_code == 3
    assert run("--verify", workshop.folder / "absent").exit_code == 3


def test_templates_and_plans(tmp_path):
    path = tmp_path / "t.toml"
    assert run("--template", "gpt2", path).exit_code == 0
    done = run("--template", "bert", path)
    assert done.exit_code == 2
    assert "is there already" in done.output
    done = run("--plan", path)
    assert (
        "lm-mindspore-Ascend-graph-float32-sentiment: run, prompts, gradients, may be absent"
        in (done.output)
    )


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("none.toml",),
        ("--verify", "none"),
        ("--verify", Path(__file__).parent),
        ("task.toml", "--digest", "0" * 64),
        ("--verify", "none", "--digest", "abc"),
        ("task.toml", "--verify", "none"),
        ("task.toml", "--signed-off-by", "Ada"),
        ("--plan", "--template", "gpt2"),
        ("--verify", "none", "--signed-off-by", "Ada <a@b>"),
    ],
)
def test_bad_use_is_refused(argv):
    done = run(*argv)
    assert done.exit_code == 2
    assert "error:" in done.output


def test_the_page_can_be_read_in_both_languages_and_runs_our_script_alone(workshop):
    task = workshop.write()
    workshop.accept(task)
    page = (workshop.folder / "out" / "index.html").read_text(encoding="utf-8")
    for said in ("What this rests on", "以上结论的依据", "accepted", "验收通过", "tolerance used"):
        assert f">{said}</span>" in page, said
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
