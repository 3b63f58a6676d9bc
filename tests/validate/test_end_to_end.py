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

from mindport.migrate.architecture import network_order
from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.config import read_config_file
from mindport.migrate.porting import port, prepare
from mindport.validate import embedded_checkpoint
from mindport.validate.checkpoints import embedded_checkpoints
from mindport.validate.cli import main
from tests.reborn import as_distilbert, as_roberta

pytestmark = [
    pytest.mark.torch,
    pytest.mark.mindspore,
    pytest.mark.xdist_group("frameworks"),
    pytest.mark.usefixtures("frameworks"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return trained weights of an architecture: embedded, or the embedded BERT renamed."""
    folder = tmp_path_factory.mktemp("trained")
    reborn = {"roberta": as_roberta, "distilbert": as_distilbert}

    def find(name):
        if name not in reborn:
            return embedded_checkpoint(name)
        return folder / name if (folder / name).exists() else reborn[name](folder / name)

    return find


def tap_names(name, folder=None, detail=True):
    """Return the taps of an embedded model with its default head, in network order."""
    architecture = load_architecture(name)
    head = architecture.heads[architecture.default_head]
    config = read_config_file((folder or embedded_checkpoint(name)) / "config.json")
    taps = network_order(head.taps, config[architecture.layers])
    return [tap.name for tap in taps if detail or not tap.detail]


# Each mode, and each architecture; each mode of each that has weights of its own.
RUNS = [(name, mode) for name in architecture_names() for mode in ("eager", "graph")
        if embedded_checkpoints(name) or (name == "roberta") == (mode == "graph")]  # fmt: skip


@pytest.mark.parametrize(("name", "mode"), RUNS)
def test_trained_weights_pass_with_their_prompts(validate, trained, name, mode):
    argv = () if embedded_checkpoints(name) else ("--checkpoint", trained(name))
    code, verdict, output = validate(name, *argv, "--mode", mode, "--prompts", "sentiment")
    assert (code, verdict["verdict"]) == (0, "pass"), output
    assert verdict["identity"]["reference"]["framework"] == "torch"
    assert verdict["identity"]["candidate"]["framework"] == "mindspore"
    assert verdict["identity"]["candidate"]["mode"] == mode
    assert verdict["policy"]["name"] == "derived"
    assert [tap["name"] for tap in verdict["taps"]] == tap_names(name, trained(name))
    assert not any(tap["own_fault"] for tap in verdict["taps"])
    assert verdict["diagnosis"] == []
    assert verdict["load"]["candidate"]["missing"] == []
    prompts = verdict["prompts"]
    levels = {level["name"]: level for level in prompts["levels"]}
    assert all(level["ok"] for level in levels.values())
    assert (prompts["status"], prompts["flips"]) == ("pass", [])
    assert levels["decisions"]["figures"]["agreement"] == 1
    assert levels["margins"]["figures"]["certified"] == 1
    assert levels["metrics"]["figures"]["reference"]["accuracy"] >= 0.75
    assert prompts["power"]["control_items"] == 100
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
    assert verdict["policy"]["dtype"] == "float16"
    # It is judged by what rounding to 11 bits does, not waved through.
    for tap in verdict["taps"]:
        assert 0 < tap["accumulated"]["candidate"]["rms"] <= tap["accumulated"]["candidate"][
            "limit_rms"], tap["name"]  # fmt: skip
        assert tap["facts"]["reference_rms"] > 20 * tap["deviation"], tap["name"]


def changed(tmp_path, name, parameter, change):
    """Return a ported folder with one parameter changed."""
    ported = port(prepare(embedded_checkpoint(name), name), tmp_path / "changed")
    tensors = load_file(ported / "model.safetensors")
    tensors[parameter] = change(tensors[parameter])
    (ported / "model.safetensors").unlink()
    save_file(tensors, ported / "model.safetensors")
    return ported


UP = "transformer.h.1.mlp.c_fc.weight"


def test_a_loose_policy_lets_a_small_fault_pass_and_says_so(validate, tmp_path):
    ported = changed(tmp_path, "gpt2", UP, lambda array: array * np.float32(1 + 2e-5))
    argv = ("gpt2", "--candidate-checkpoint", ported)
    code, verdict, output = validate(*argv, "--policy", "community-1e-3")
    assert (code, verdict["verdict"], verdict["policy"]["name"]) == (0, "pass", "community-1e-3")
    assert (verdict["policy"]["atol"], verdict["policy"]["rtol"]) == (1e-3, 1e-3)
    (notice,) = [n for n in verdict["notices"] if "--policy derived fails there" in n]
    assert "block.1.up" in notice
    assert notice.split()[0] in output
    code, verdict, output = validate(*argv)
    assert (code, verdict["first_faulty_tap"]) == (1, "block.1.up"), output
    assert (verdict["diagnosis"][0]["cause"], verdict["diagnosis"][0]["confirmed"]) == (
        "scaled", True)  # fmt: skip


def test_figures_of_the_users_own_are_used(validate):
    code, verdict, output = validate("gpt2", "--atol", "1e-12")
    assert (code, verdict["policy"]["name"]) == (1, "user"), output
    assert (verdict["policy"]["atol"], verdict["policy"]["rtol"]) == (1e-12, 0)
    assert "times the tolerance" in verdict["headline"]
    assert not any(tap["own_fault"] for tap in verdict["taps"])


def test_blocks_alone_pass_and_place_a_fault_by_block(validate, tmp_path):
    code, verdict, output = validate("gpt2", "--blocks-only")
    assert code == 0, output
    names = [tap["name"] for tap in verdict["taps"]]
    assert names == tap_names("gpt2", detail=False)
    assert verdict["notices"] == []
    ported = changed(tmp_path, "gpt2", UP, np.zeros_like)
    code, verdict, output = validate("gpt2", "--candidate-checkpoint", ported, "--blocks-only")
    assert (code, verdict["first_faulty_tap"]) == (1, "block.1.mlp"), output
    assert [tap["name"] for tap in verdict["taps"] if tap["own_fault"]] == ["block.1.mlp"]


@pytest.mark.parametrize("name", architecture_names())
def test_ported_folder_and_file_pass(validate, trained, tmp_path, name):
    source = trained(name)
    argv = (name, "--checkpoint", source, "--candidate-checkpoint")
    folder = port(prepare(source, name), tmp_path / "folder")
    code, verdict, output = validate(*argv, folder)
    assert (code, verdict["notices"]) == (0, []), output
    ckpt = port(prepare(source, name), tmp_path / "ckpt", file_format="ckpt")
    lone = tmp_path / "lone.ckpt"
    shutil.copyfile(ckpt / "model.ckpt", lone)
    code, verdict, output = validate(*argv, lone)
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
        (("--device", "ascend:1"), "npu-smi: not on PATH"),
        (("--reference-device", "cuda:0"), "cannot use GPU:0 here"),
        (("--dtype", "bfloat16"), "cannot compute Gather in bfloat16 on the CPU"),
        (("--dtype", "bfloat16", "--mode", "graph"), "cannot compute Gather in bfloat16 on the"),
        (("--attention", "fused"), "no kernel for attention in one piece on the CPU"),
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
        (("gpt2", "--policy", "derived", "--atol", 1e-3), "exclude each other"),
        (("gpt2", "--policy", "community-1e-4", "--rtol", 0), "exclude each other"),
        (("gpt2", "--policy", "lenient"), "lenient"),
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
