"""The command as a user runs it: what passes, what fails and where, what is refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from mindport.migrate.architectures import architecture_names
from mindport.migrate.porting import port, prepare
from mindport.validate import embedded_checkpoint
from mindport.validate.cli import main

pytestmark = [
    pytest.mark.torch,
    pytest.mark.mindspore,
    pytest.mark.xdist_group("frameworks"),
    pytest.mark.usefixtures("frameworks"),
]


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("name", architecture_names())
def test_embedded_weights_pass_with_their_prompts(validate, name, mode):
    code, verdict, output = validate(name, "--mode", mode, "--prompts", "sentiment")
    assert (code, verdict["verdict"]) == (0, "pass"), output
    assert verdict["identity"]["reference"]["framework"] == "torch"
    assert verdict["identity"]["candidate"]["framework"] == "mindspore"
    assert verdict["identity"]["candidate"]["mode"] == mode
    assert len(verdict["taps"]) >= 14
    assert verdict["load"]["candidate"]["missing"] == []
    prompts = verdict["prompts"]
    assert prompts["agreement"] == 1
    assert prompts["informative"]
    assert prompts["reference"]["accuracy"] >= 0.75
    assert "PASS" in output


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("gpt2", "sequence-classification"),
        ("bert", "pretraining"),
        ("bert", "question-answering"),
    ],
)
def test_other_heads_pass(validate, name, head):
    code, verdict, output = validate(name, "--checkpoint", "random", "--head", head)
    assert (code, verdict["head"]) == (0, head), output


@pytest.mark.parametrize("name", architecture_names())
def test_float16_passes(validate, name):
    code, verdict, output = validate(name, "--checkpoint", "random", "--dtype", "float16")
    assert code == 0, output
    assert verdict["identity"]["candidate"]["dtype"] == "float16"


@pytest.mark.parametrize("name", architecture_names())
def test_ported_folder_and_file_pass(validate, tmp_path, name):
    source = embedded_checkpoint(name)
    folder = port(prepare(source, name), tmp_path / "folder")
    code, verdict, output = validate(name, "--candidate-checkpoint", folder)
    assert (code, verdict["notices"]) == (0, []), output
    ckpt = port(prepare(source, name), tmp_path / "ckpt", file_format="ckpt")
    lone = tmp_path / "lone.ckpt"
    shutil.copyfile(ckpt / "model.ckpt", lone)
    code, verdict, output = validate(name, "--candidate-checkpoint", lone)
    assert code == 0, output
    assert any("no manifest" in notice for notice in verdict["notices"])


def test_a_single_torch_file_is_a_reference(validate, tmp_path):
    source = embedded_checkpoint("bert")
    shutil.copyfile(source / "model.safetensors", tmp_path / "weights.safetensors")
    code, _, output = validate(
        "bert", "--checkpoint", tmp_path / "weights.safetensors", "--config",
        source / "config.json",
    )  # fmt: skip
    assert code == 0, output


def test_what_a_head_leaves_behind_is_no_fault(validate, tmp_path, checkpoint, monkeypatch):
    """As the hub's bert-base-uncased: TensorFlow's names, more heads than the config's class."""
    folder = tmp_path / "legacy"
    shutil.copytree(checkpoint("bert", "pretraining"), folder)
    tensors = load_file(folder / "model.safetensors")
    legacy = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    for modern, old in legacy.items():
        tensors = {name.replace(modern, old): array for name, array in tensors.items()}
    tensors["bert.embeddings.position_ids"] = np.arange(64)[None]
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    monkeypatch.chdir(tmp_path)  # a relative path must reach the workers as well
    code, verdict, output = validate("bert", "--checkpoint", "legacy", "--head", "nsp")
    assert code == 0, output
    assert "cls.predictions.bias" in verdict["load"]["reference"]["unexpected"]
    assert verdict["load"]["candidate"]["unexpected"] == []


def test_a_body_without_prefix_and_with_buffers(validate, tmp_path, checkpoint):
    """As the hub's gpt2."""
    folder = tmp_path / "bare"
    shutil.copytree(checkpoint("gpt2", "lm"), folder)
    tensors = {
        name.removeprefix("transformer."): array
        for name, array in load_file(folder / "model.safetensors").items()
    }
    tensors["h.0.attn.bias"] = np.tril(np.ones((1, 1, 64, 64), np.float32))
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    code, _, output = validate("gpt2", "--checkpoint", folder)
    assert code == 0, output


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--device", "Ascend"), "MindSpore 2"),
        (("--device", "GPU"), "sees no GPU device"),
        (("--dtype", "bfloat16"), "no bfloat16 kernels on the CPU"),
        (("--python", "/no/such/python"), "There is no Python"),
    ],
)
def test_what_cannot_run_here_exits_3(validate, argv, said):
    code, verdict, output = validate("gpt2", "--checkpoint", "random", *argv)
    assert code == 3, output
    assert said in output
    assert verdict is None or verdict["verdict"] == "not-run"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("gpt2", "--checkpoint", "./nowhere"), "There is no checkpoint"),
        (("gpt2", "--checkpoint", "random", "--size", "huge"), "huge"),
        (("gpt2", "--checkpoint", "random", "--config", "nowhere.json"), "There is no config"),
        (("gpt2", "--size", "tiny"), "--size is for --checkpoint random"),
        (("gpt2", "--config", "any.json"), "a config of their own"),
        (("gpt2", "--head", "sequence-classification"), "missing: score.weight"),
        (("gpt2", "--backend", "torch", "--mode", "graph"), "has no graph mode"),
        (("gpt2", "--batch", 0), "must be at least 1"),
        (("gpt2", "--length", 999), "positions"),
        (("gpt2", "--atol", -1), "at least 0"),
        (("gpt2", "--inputs", "nowhere.npz"), "There is no inputs file"),
        (("gpt2", "--prompts", "nonsense"), "nonsense"),
        (("gpt2", "--checkpoint", "random", "--prompts", "topic"), "tokenizer"),
        (("bert", "--checkpoint", "random", "--head", "none", "--prompts", "topic"),
         "predicts no words"),
        (("bert", "--backend", "torch"), "in mindspore's layout"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_bad_input_exits_2_with_a_sentence(validate, tmp_path, argv, said):
    if argv == ("bert", "--backend", "torch"):
        ported = port(prepare(embedded_checkpoint("bert"), "bert"), tmp_path / "ms")
        argv = (*argv, "--candidate-checkpoint", ported)
    code, verdict, output = validate(*argv)
    assert code == 2, output
    assert verdict is None
    assert said in output
    assert "Traceback" not in output


def test_torch_against_itself_is_never_a_pass(validate):
    code, verdict, _ = validate("gpt2", "--checkpoint", "random", "--backend", "torch")
    assert code == 1
    assert "compares a framework with itself" in verdict["headline"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(tmp_path, how):
    process = subprocess.Popen(
        [sys.executable, "-m", "mindport.validate", "gpt2", "--checkpoint", "random"],
        env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def workers():
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                if str(tmp_path).encode() in path.read_bytes():
                    found.append(path)
        return found

    for _ in range(300):
        if len(workers()) == 2:
            break
        time.sleep(0.1)
    else:
        process.kill()
        pytest.fail("the workers did not start")
    process.send_signal(how)
    assert process.wait(30) == 128 + how
    assert workers() == []
    assert list(tmp_path.iterdir()) == []


def test_quiet_prints_one_line():
    done = CliRunner().invoke(main, ["bert", "--checkpoint", "random", "--quiet"])
    assert done.exit_code == 0
    assert done.output.startswith("pass: ")
    assert len(done.output.splitlines()) == 1
