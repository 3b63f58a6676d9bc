"""``--emulate`` and ``--matmul`` as a user gives them; the candidate needs no framework."""

from __future__ import annotations

import json

import jsonschema
import pytest
from click.testing import CliRunner

from mindport.validate.cli import main
from tests.validate.conftest import SCHEMA

pytestmark = pytest.mark.xdist_group("frameworks")
TINY = ("--checkpoint", "random", "--batch", "2", "--length", "12")


def run(*argv):
    done = CliRunner().invoke(main, [*map(str, argv)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.torch
def test_an_emulation_runs_beside_torch(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    code, output = run("gpt2", *TINY, "--emulate", "ascend-fp16", "--report", tmp_path)
    assert code == 0, output
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    jsonschema.validate(verdict, SCHEMA)
    assert verdict["verdict"] == "emulated"
    assert verdict["identity"]["candidate"]["device"] == "Ascend (emulated)"
    assert "EMULATED emulated ascend-fp16: logits off by at most" in output
    assert "nothing was run on the device" in output
    assert "assumed" in output
    assert "source" in output
    assert "PASS" not in output


@pytest.mark.torch
@pytest.mark.slow
def test_prompts_tell_which_labels_the_unit_would_change(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    run("bert", "--emulate", "hf32", "--prompts", "sentiment", "--prompt-limit", 12,
        "--batch", 1, "--blocks-only", "--report", tmp_path)  # fmt: skip
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    jsonschema.validate(verdict, SCHEMA)
    assert verdict["verdict"] == "emulated"
    prompts = verdict["prompts"]
    assert prompts["items"] == 12
    levels = {level["name"]: level["ok"] for level in prompts["levels"]}
    assert levels["load"]
    assert levels["rows"]  # the logits are within what the unit's rounding predicts
    assert prompts["flips"] == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--device", "Ascend"), "--device Ascend --matmul hf32"),
        (("--candidate", "my_port.py:build"), "--candidate exclude each other"),
        (("--dtype", "float16"), "--dtype exclude each other"),
        (("--mode", "graph"), "--mode exclude each other"),
        (("--gradients",), "--gradients exclude each other"),
        (("--matmul", "hf32"), "--matmul exclude each other"),
    ],
)
def test_what_it_excludes_is_said(more, said):
    code, output = run("gpt2", *TINY, "--emulate", "hf32", *more)
    assert code == 2
    assert said in output


def test_other_wrong_requests():
    code, output = run("gpt2", *TINY, "--backend", "emulated")
    assert (code, "name the unit with --emulate" in output) == (2, True)
    code, output = run("gpt2", *TINY, "--matmul", "tf32", "--dtype", "float16")
    assert (code, "rounds the inputs of float32 networks" in output) == (2, True)
    code, output = run("gpt2", *TINY, "--emulate", "fp8")
    assert code == 2
