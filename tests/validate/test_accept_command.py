"""``--accept`` from the command line: what it refuses, and runs with MindSpore's plain tanh."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mindport.validate.cli import main

NAME = "mindspore-cpu-tanh"
PORT = f"{Path(__file__).parent / 'ports' / 'plain_tanh.py'}:build"

needs_frameworks = [
    pytest.mark.torch,
    pytest.mark.mindspore,
    pytest.mark.slow,
    pytest.mark.xdist_group("more-frameworks"),
]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--accept", "mindspore-tanh"], NAME),  # what would have been understood
        (["--accept", NAME, "--device", "Ascend"], "is known of mindspore on CPU in float32"),
        (["--accept", NAME, "--dtype", "float16"], "of which it is not known"),
        (["--accept", NAME, "--atol", "1e-3"], "has a fixed one"),
        (["--accept", NAME, "--policy", "community-1e-3"], "has a fixed one"),
        (["--accept", NAME, "--gradients"], "not derived for an accepted departure"),
        (["--accept", NAME, "--emulate", "hf32"], "runs none"),
    ],
)
def test_what_cannot_be_accepted(options, said):
    done = CliRunner().invoke(main, ["gpt2", *options])
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split())


def accepted(verdict):
    (entry,) = verdict["accepted"]
    return entry


class TestGPT2:
    pytestmark = needs_frameworks

    def test_a_port_that_writes_its_gelu_down(self, validate):
        asked = ("gpt2", "--candidate", PORT, "--prompts", "topic", "--prompt-limit", "24")
        code, verdict, output = validate(*asked)
        assert (code, verdict["verdict"]) == (1, "fail"), output
        assert verdict["first_faulty_tap"].endswith(".activation")
        assert f"--accept {NAME} judges everything else" in verdict["headline"]

        code, verdict, output = validate(*asked, "--accept", NAME)
        assert (code, verdict["verdict"]) == (0, "pass"), output
        assert max(tap["used"] for tap in verdict["taps"]) < 0.7
        entry = accepted(verdict)
        assert (entry["status"], entry["function"]) == ("applied", "gelu_new")
        assert entry["share"] == pytest.approx(1, abs=0.02)
        for words in (f"accepting {NAME}", "accepted ", "of what it would do to gelu_new"):
            assert words in output
        # The labels are held against the true reference: by how far the rows really are apart.
        levels = {level["name"]: level for level in verdict["prompts"]["levels"]}
        assert verdict["prompts"]["status"] == "pass"
        assert levels["rows"]["figures"]["max"] > 2e-6

    def test_a_fault_beside_it(self, validate, tmp_path):
        from safetensors.numpy import load_file, save_file

        from mindport.migrate import port, prepare
        from mindport.validate import embedded_checkpoint

        right = port(prepare(embedded_checkpoint("gpt2"), "gpt2"), tmp_path / "right")
        wrong = tmp_path / "wrong"
        shutil.copytree(right, wrong, ignore=shutil.ignore_patterns("manifest.json", "*.safe*"))
        tensors = load_file(right / "model.safetensors")
        tensors["transformer.h.2.mlp.c_fc.bias"] *= 1.001
        save_file(tensors, wrong / "model.safetensors")
        code, verdict, output = validate(
            "gpt2", "--candidate", PORT, "--candidate-checkpoint", wrong, "--accept", NAME
        )
        assert (code, verdict["verdict"]) == (1, "fail"), output
        assert accepted(verdict)["status"] == "applied"
        assert verdict["first_faulty_tap"] == "block.2.up"
        assert {t["name"] for t in verdict["taps"] if t["own_fault"]} == {"block.2.up"}

    def test_recorded_sides(self, validate, tmp_path, monkeypatch):
        runner = CliRunner()
        for argv in (
            ["gpt2", "--reference", "--without-weights", "-o", "r"],
            ["gpt2", "--case", "r", "--candidate", PORT, "-o", "c"],
        ):
            paths = [str(tmp_path / one) if one in ("r", "c") else one for one in argv]
            done = runner.invoke(main, ["record", *paths])
            assert done.exit_code == 0, done.output
        sides = tmp_path / "r", tmp_path / "c"
        code, verdict, output = validate("compare", *sides, "--accept", NAME)
        assert (code, verdict["verdict"]) == (0, "pass"), output
        assert accepted(verdict)["status"] == "applied"
        code, _, _ = validate("compare", *sides)
        assert code == 1
        where = "mindport.validate.recording.comparing.find_weights"
        monkeypatch.setattr(where, lambda *_: None)
        code, _, output = validate("compare", *sides, "--accept", NAME)
        assert code == 2
        assert "is computed from the reference's weights" in " ".join(output.split())


class TestBertsPooler:
    pytestmark = needs_frameworks

    @pytest.fixture
    def trained(self, checkpoint, tmp_path):
        """Return weights with which the pooler's tanh gets numbers near 5."""
        from safetensors.numpy import load_file, save_file

        folder = tmp_path / "trained"
        folder.mkdir()
        source = checkpoint("bert", "sequence-classification")
        (folder / "config.json").write_bytes((source / "config.json").read_bytes())
        tensors = load_file(source / "model.safetensors")
        weight = tensors["bert.pooler.dense.weight"]
        tensors["bert.pooler.dense.weight"] = (weight / np.std(weight) * 0.6).astype(np.float32)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return folder

    def test_a_port_with_the_plain_tanh(self, validate, trained):
        asked = ("bert", "--checkpoint", trained, "--candidate", PORT)
        code, verdict, output = validate(*asked)
        assert (code, verdict["first_faulty_tap"]) == (1, "pooler"), output
        assert f"--accept {NAME}" in json.dumps(verdict["diagnosis"])
        code, verdict, output = validate(*asked, "--accept", NAME)
        assert (code, verdict["verdict"]) == (0, "pass"), output
        entry = accepted(verdict)
        assert (entry["status"], entry["function"], entry["taps"]) == (
            "applied",
            "tanh",
            ["pooler"],
        )
        assert entry["share"] == pytest.approx(1, abs=0.02)
