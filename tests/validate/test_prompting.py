"""Runs of prompts, compared: what passes, what fails and at which level, what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from mindport.migrate.errors import CheckpointError, MindportError
from mindport.prompts import PromptTokenizer, load_task, make_plan
from mindport.validate.backend import Identity, LoadReport
from mindport.validate.capture import CaptureManifest, save_capture
from mindport.validate.checkpoints import embedded_checkpoint
from mindport.validate.prompting.compare import compare_runs
from mindport.validate.prompting.rows import CONTROL, FLOOR, ROWS, PromptRecord, spread
from mindport.validate.prompting.run import SCHEMA, PromptRun
from mindport.validate.umbrella import prompts as command

ITEMS = 40
TORCH = Identity("torch", "torch", "2", "CPU", "float32", "eager", "eager")
MINDSPORE = Identity("mindspore", "mindspore", "2", "CPU", "float32", "eager", "eager")
WHOLE = LoadReport(52)


@pytest.fixture(scope="module")
def plan():
    tokenizer = PromptTokenizer.from_folder(embedded_checkpoint("gpt2"))
    return make_plan(
        load_task("sentiment"), tokenizer, architecture_shape="prefix", max_length=128, limit=ITEMS
    )


@pytest.fixture
def rows(plan):
    """Rows of a model that is right nine times out of ten."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(ITEMS, 1, plan.tokenizer_size)).astype(np.float32)
    for item, label in enumerate(plan.label_indices):
        said = label if item % 10 else 1 - label
        for word in plan.words:
            rows[item, 0, word.steps[0][1]] = 4.0 if word.label == said else 1.0
    return rows


@pytest.fixture
def run_folder(plan, tmp_path):
    """Write what ``prompts run`` writes, from given rows."""

    def make(name, rows, identity, report=WHOLE, asked=None):
        asked = asked or plan
        folder = tmp_path / name
        asked.save(folder / "plan")
        capture = folder / "capture"
        capture.mkdir()
        items = spread(len(asked), 8)
        np.save(capture / ROWS, rows)
        np.save(capture / FLOOR, rows[list(items)] + np.float32(1e-6))
        control = np.random.default_rng(1).normal(size=rows.shape).astype(np.float32)
        np.save(capture / CONTROL, control)
        record = PromptRecord(asked.digest, items, tuple(range(len(asked))))
        manifest = CaptureManifest(
            identity=identity, load_report=report, weights={}, inputs={}, taps=(), unstable=(),
            floor={}, seconds={}, peak_memory_bytes=0, prompts=record,
        )  # fmt: skip
        save_capture(capture, manifest, {})
        (folder / "run.json").write_text(json.dumps({"schema": SCHEMA}))
        return folder

    return make


def test_equal_answers_pass(run_folder, rows):
    noise = np.random.default_rng(2).normal(size=rows.shape).astype(np.float32) * 1e-6
    parity = compare_runs(run_folder("a", rows, TORCH), run_folder("b", rows + noise, MINDSPORE))
    assert parity.status == "pass", parity.headline
    assert parity.level("margins").figures["certified"] == 1
    assert parity.power.control_items == ITEMS


def test_rows_beyond_the_tolerance_fail(run_folder, rows):
    moved = rows.copy()
    moved[3, 0, 7] += 0.5  # no label word's column
    parity = compare_runs(run_folder("a", rows, TORCH), run_folder("b", moved, MINDSPORE))
    assert (parity.status, parity.failed.name) == ("fail", "rows")
    assert parity.flips == ()


def test_labels_that_flip_are_explained_by_their_rows(plan, run_folder, rows):
    moved = rows.copy()
    for word in plan.words:  # the other label wins item 5
        moved[5, 0, word.steps[0][1]] = 5.0 - moved[5, 0, word.steps[0][1]]
    parity = compare_runs(run_folder("a", rows, TORCH), run_folder("b", moved, MINDSPORE))
    assert (parity.status, parity.failed.name) == ("fail", "rows")
    assert [flip.id for flip in parity.flips] == [plan.ids[5]]
    assert parity.flips[0].explained


@pytest.mark.parametrize("side", ["a", "b"])
def test_rows_that_are_no_numbers_fail(run_folder, rows, side):
    broken = rows.copy()
    broken[2, 0, 9] = np.nan
    given = {"a": rows, "b": rows, side: broken}
    parity = compare_runs(
        run_folder("a", given["a"], TORCH), run_folder("b", given["b"], MINDSPORE)
    )
    assert (parity.status, parity.failed.name) == ("fail", "rows")
    assert "NaN" in parity.headline


def test_weights_left_at_random_fail_at_load(run_folder, rows):
    report = LoadReport(1, missing=tuple(f"p{i}" for i in range(148)))
    parity = compare_runs(run_folder("a", rows, TORCH), run_folder("b", rows, MINDSPORE, report))
    assert (parity.status, parity.failed.name) == ("fail", "load")
    assert "148 parameters at random" in parity.headline


def test_a_model_that_guesses_proves_nothing(run_folder, rows):
    guessed = np.random.default_rng(3).normal(size=rows.shape).astype(np.float32)
    parity = compare_runs(run_folder("a", guessed, TORCH), run_folder("b", guessed, MINDSPORE))
    assert parity.status == "uninformative"


def test_runs_that_cannot_be_compared(plan, run_folder, rows, tmp_path):
    ours = run_folder("a", rows, TORCH)
    with pytest.raises(MindportError, match="compares a framework with itself"):
        compare_runs(ours, run_folder("same", rows, TORCH))
    other = replace(plan, task_version=9)
    with pytest.raises(MindportError, match="another task version"):
        compare_runs(ours, run_folder("other", rows, MINDSPORE, asked=other))
    with pytest.raises(CheckpointError, match="is not a folder of `prompts run`"):
        compare_runs(ours, tmp_path / "nowhere")
    cut = run_folder("cut", rows, MINDSPORE)
    content = (cut / "capture" / ROWS).read_bytes()
    (cut / "capture" / ROWS).write_bytes(content[:-100])
    with pytest.raises(CheckpointError, match="is not a folder of `prompts run`"):
        compare_runs(ours, cut)


@pytest.mark.parametrize("damage", ["[]", "{}", "nonsense", '{"schema": 99}'])
def test_damaged_summaries(run_folder, rows, damage):
    folder = run_folder("a", rows, TORCH)
    (folder / "run.json").write_text(damage)
    with pytest.raises(CheckpointError, match="Run it again"):
        PromptRun.load(folder)


def test_the_command_prints_every_form(run_folder, rows):
    folders = [str(run_folder("a", rows, TORCH)), str(run_folder("b", rows, MINDSPORE))]
    done = CliRunner().invoke(command, ["compare", *folders])
    assert done.exit_code == 0, done.output
    assert "PASS no label flipped" in done.output
    as_json = CliRunner().invoke(command, ["compare", *folders, "--json"])
    assert json.loads(as_json.output)["status"] == "pass"
    markdown = CliRunner().invoke(command, ["compare", *folders, "--markdown"])
    assert "| level |" in markdown.output
    refused = CliRunner().invoke(command, ["compare", folders[0], "/nowhere"])
    assert refused.exit_code == 2
    assert "Traceback" not in refused.output


@pytest.mark.torch
@pytest.mark.mindspore
@pytest.mark.xdist_group("more-frameworks")
@pytest.mark.usefixtures("frameworks")
class TestBothFrameworks:
    """The commands as a user runs them."""

    def test_run_and_compare(self, tmp_path):
        folders = [tmp_path / "torch", tmp_path / "mindspore"]
        for folder in folders:
            argv = ["run", "sentiment", "bert", "--backend", folder.name, "--limit", "60"]
            done = CliRunner().invoke(command, [*argv, "--shots", "2", "-o", str(folder)])
            assert done.exit_code == 0, done.output
            assert "accuracy" in done.output
        again = CliRunner().invoke(command, [*argv, "-o", str(folders[0])])
        assert (again.exit_code, "exists already" in again.output) == (2, True)
        lines = (folders[0] / "samples.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(lines) == 60
        first = json.loads(lines[0])
        assert first["target"] in ("negative", "positive")
        assert len(first["arguments"]) == len(first["resps"]) == 4
        assert first["arguments"][0][0].count("[Z]") == 1
        parity = compare_runs(*folders)
        assert parity.status in ("pass", "uninformative"), parity.headline
        assert parity.flips == ()

    def test_a_body_that_was_never_loaded(self, validate, tmp_path):
        """The course's notebook: only the head came from the checkpoint."""
        from safetensors.numpy import load_file, save_file

        folder = tmp_path / "head-only"
        shutil.copytree(embedded_checkpoint("gpt2"), folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
        weights = load_file(folder / "model.safetensors")
        save_file(
            {"lm_head.weight": weights["transformer.wte.weight"]},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        argv = ["gpt2", "--checkpoint", folder, "--prompts", "sentiment", "--blocks-only"]
        code, verdict, output = validate(*argv)
        assert (code, verdict) == (2, None)
        assert "missing: transformer.wte.weight" in output
        code, verdict, output = validate(*argv, "--allow-missing", "--prompt-limit", 60)
        assert (code, verdict["verdict"]) == (1, "uninformative"), output
        assert all(tap["ok"] for tap in verdict["taps"])
        assert "52 parameters were missing" in " ".join(verdict["notices"])
