"""The ``migrate`` command: what it prints, writes and exits with."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.cli import main


@pytest.fixture
def migrate():
    def run(*argv):
        done = CliRunner().invoke(main, list(map(str, argv)))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert "Traceback" not in done.output
        return done

    return run


def test_port_and_report(migrate, checkpoint, tmp_path):
    done = migrate("gpt2", checkpoint("gpt2", "lm"), tmp_path / "ms", "--report", tmp_path / "r")
    assert done.exit_code == 0, done.output
    assert "transformer.h.0.ln_1.gamma" in done.output
    assert "52 tensors in, 52 ported (16 transposed), 0 left over" in done.output
    report = json.loads((tmp_path / "r").read_text())
    assert report["written_to"] == str(tmp_path / "ms")
    assert report["totals"]["ported"] == len(report["parameters"]) == 52
    row = next(p for p in report["parameters"] if p["layout"] == "transpose")
    assert row["shape"] == row["target_shape"][::-1]
    manifest = json.loads((tmp_path / "ms" / "manifest.json").read_text())
    assert manifest["layout"] == "mindspore"
    assert set(manifest["files"]) == {"model.safetensors", "config.json"}


def test_dry_run_writes_nothing(migrate, checkpoint, tmp_path):
    done = migrate("bert", checkpoint("bert", "nsp"), tmp_path / "ms", "--dry-run")
    assert done.exit_code == 0
    assert "nothing was written" in done.output
    assert list(tmp_path.iterdir()) == []
    assert migrate("bert", checkpoint("bert", "nsp"), "--dry-run").exit_code == 0


def test_quiet_is_quiet(migrate, checkpoint, tmp_path):
    assert migrate("gpt2", checkpoint("gpt2", "lm"), tmp_path / "ms", "-q").output == ""


def test_refusal_writes_its_problems_into_the_report(migrate, checkpoint, tmp_path):
    done = migrate("gpt2", checkpoint("gpt2", "lm"), tmp_path / "ms",
                   "--head", "sequence-classification", "--report", tmp_path / "r")  # fmt: skip
    assert done.exit_code == 2
    assert "missing: score.weight [2, 64]" in done.output
    assert "--allow-missing" in done.output
    assert json.loads((tmp_path / "r").read_text())["problems"] == ["missing: score.weight [2, 64]"]
    assert not (tmp_path / "ms").exists()
    done = migrate("gpt2", checkpoint("gpt2", "lm"), tmp_path / "ms",
                   "--head", "sequence-classification", "--allow-missing")  # fmt: skip
    assert done.exit_code == 0
    assert "1 generated" in done.output
    assert "note: some tensors were ignored or generated" in done.output


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("gpt2", "{source}"), "DST is missing"),
        (("gpt2", "./nowhere", "x"), "There is no checkpoint"),
        (("gpt2", "{source}", "/proc/x"), "cannot be written"),
        (("gpt2", "{source}", "/no/such/x"), "There is no folder"),
        (("gpt2", "{source}", "{source}", "--force"), "is the source itself"),
        (("gpt2", "{source}", "/"), "exists already"),
        (("gpt2", "{source}", "x", "--config", "/no/config"), "There is no config"),
        (("gpt2", "{source}", "x", "--to", "torch"), "in torch's layout already"),
        (("gpt2", "{source}", "{out}", "--report", "/no/such/r"), "cannot be written"),
        (("bert", "{source}", "x"), "model_type 'gpt2'"),
        (("roberta", "{source}", "x"), "model_type 'gpt2'"),
        (("robberta", "{source}", "x"), "No such command"),
        (("gpt2", "{source}", "x", "--head", "mlm"), "Invalid value"),
    ],
)
def test_bad_input_exits_2_with_a_sentence(migrate, checkpoint, tmp_path, argv, said):
    names = {"source": str(checkpoint("gpt2", "lm")), "out": str(tmp_path / "out")}
    done = migrate(*(word.format(**names) for word in argv))
    assert done.exit_code == 2, done.output
    assert said in done.output


def test_ckpt_is_mindspores(migrate, checkpoint, tmp_path):
    assert migrate("gpt2", checkpoint("gpt2", "lm"), tmp_path / "ms", "-q").exit_code == 0
    done = migrate("gpt2", tmp_path / "ms", tmp_path / "back", "--format", "ckpt")
    assert done.exit_code == 2
    assert "The ckpt format is MindSpore's" in done.output


class TestInspect:
    def test_table(self, migrate, checkpoint):
        done = migrate("inspect", checkpoint("bert", "mlm"))
        assert done.exit_code == 0
        assert "bert.embeddings.word_embeddings.weight" in done.output
        assert "torch layout, architecture bert, head mlm: 74 tensors" in done.output

    def test_json(self, migrate, checkpoint):
        content = json.loads(migrate("inspect", checkpoint("gpt2", "none"), "--json").output)
        assert (content["head"], content["count"], content["layout"]) == ("none", 52, "torch")
        assert content["tensors"]["wte.weight"] == {"shape": [512, 64], "dtype": "float32"}

    def test_nothing_there(self, migrate):
        assert migrate("inspect", "./nowhere").exit_code == 2


def test_every_architecture_is_a_command(migrate):
    listing = migrate("--help").output
    for name in architecture_names():
        assert name in listing
        assert all(head in migrate(name, "--help").output.replace("\n", "").replace(" ", "")
                   for head in load_architecture(name).heads)  # fmt: skip


def test_module_form():
    done = subprocess.run(
        [sys.executable, "-m", "mindport.migrate", "gpt2", "./nowhere", "x"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: There is no checkpoint at ./nowhere.")
