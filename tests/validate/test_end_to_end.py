"""The command as a user runs it: what passes, what fails and where, what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

import mindport.validate
from mindport.migrate.architectures import architecture_names
from mindport.migrate.porting import port, prepare
from mindport.validate import embedded_checkpoint
from mindport.validate.cli import main

pytestmark = [
    pytest.mark.torch,
    pytest.mark.mindspore,
    pytest.mark.xdist_group("frameworks"),
]
SCHEMA = json.loads((Path(mindport.validate.__file__).parent / "verdict.schema.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def _frameworks():
    for name in ("torch", "transformers", "mindspore"):
        pytest.importorskip(name)


@pytest.fixture
def validate(tmp_path):
    """Run the command and return its exit code, its verdict and what it printed."""

    def run(*argv):
        report = tmp_path / "report"
        done = CliRunner().invoke(main, [*map(str, argv), "--report", str(report)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        path = report / "verdict.json"
        verdict = json.loads(path.read_text()) if path.is_file() else None
        if verdict is not None:
            jsonschema.validate(verdict, SCHEMA)
        return done.exit_code, verdict, done.output

    return run


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


def swap_query_and_key_gpt2(tensors):
    for kind in ("weight", "bias"):
        name = f"transformer.h.3.attn.c_attn.{kind}"
        query, key, value = np.split(tensors[name], 3)  # our layout: (3 * n_embd, n_embd)
        tensors[name] = np.concatenate([key, query, value])


def swap_query_and_key_bert(tensors):
    stem = "bert.encoder.layer.3.attention.self"
    for kind in ("weight", "bias"):
        a, b = f"{stem}.query.{kind}", f"{stem}.key.{kind}"
        tensors[a], tensors[b] = tensors[b], tensors[a]


def transpose(name):
    def change(tensors):
        tensors[name] = tensors[name].T.copy()

    return change


def zero(name):
    def change(tensors):
        tensors[name] = np.zeros_like(tensors[name])

    return change


def leave_body_random(tensors):
    rng = np.random.default_rng(1)
    for name, array in tensors.items():
        if name.startswith(("transformer.", "bert.")):
            tensors[name] = rng.normal(0, 0.02, array.shape).astype(array.dtype)


def lose_body(tensors):
    for name in [n for n in tensors if n.startswith(("transformer.h", "bert.encoder"))]:
        del tensors[name]


FAULTS = [
    ("gpt2", transpose("transformer.h.2.attn.c_proj.weight"), "block.2.attention"),
    ("gpt2", transpose("transformer.h.1.mlp.c_fc.weight"), "block.1.mlp"),
    ("gpt2", swap_query_and_key_gpt2, "block.3.attention"),
    ("gpt2", zero("transformer.h.1.ln_2.beta"), "block.1.mlp"),
    ("gpt2", zero("transformer.ln_f.beta"), "final_norm"),
    ("gpt2", leave_body_random, "embeddings"),
    ("gpt2", lose_body, "block.0.attention"),
    ("bert", transpose("bert.encoder.layer.2.attention.output.dense.weight"), "block.2.attention"),
    ("bert", swap_query_and_key_bert, "block.3.attention"),
    ("bert", zero("bert.encoder.layer.0.output.LayerNorm.beta"), "block.0"),
    ("bert", zero("cls.predictions.bias"), "logits"),
    ("bert", leave_body_random, "embeddings"),
    ("bert", lose_body, "block.0.attention"),
]
NAMES = [f"{name}-{tap}-{i}" for i, (name, _, tap) in enumerate(FAULTS)]


@pytest.mark.parametrize(("name", "change", "tap"), FAULTS, ids=NAMES)
def test_faulty_candidate_fails_at_the_right_tap(validate, tmp_path, name, change, tap):
    ported = port(prepare(embedded_checkpoint(name), name), tmp_path / "ms")
    tensors = load_file(ported / "model.safetensors")
    change(tensors)
    (ported / "model.safetensors").unlink()
    save_file(tensors, ported / "model.safetensors")
    code, verdict, output = validate(name, "--candidate-checkpoint", ported)
    assert (code, verdict["verdict"], verdict["first_faulty_tap"]) == (1, "fail", tap), output
    assert any("no longer matches its manifest's hash" in n for n in verdict["notices"])
    assert "FAIL" in output
    if change is lose_body:
        lost = sum(1 for n in verdict["load"]["candidate"]["missing"])
        assert lost == len([n for n in load_file(embedded_checkpoint(name) / "model.safetensors")
                            if ".h." in n or ".encoder." in n])  # fmt: skip
        assert f"{lost} parameters missing from the checkpoint" in verdict["headline"]


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


def test_other_weights_are_noticed_and_fail(validate, tmp_path, checkpoint):
    ported = port(prepare(checkpoint("gpt2", "lm", seed=1), "gpt2"), tmp_path / "ms")
    code, verdict, _ = validate("gpt2", "--checkpoint", checkpoint("gpt2", "lm"),
                                "--candidate-checkpoint", ported)  # fmt: skip
    assert code == 1
    assert any("ported from other weights" in notice for notice in verdict["notices"])


def test_a_changed_config_is_noticed_and_fails(validate, tmp_path):
    ported = port(prepare(embedded_checkpoint("gpt2"), "gpt2"), tmp_path / "ms")
    config = json.loads((ported / "config.json").read_text())
    (ported / "config.json").write_text(json.dumps({**config, "layer_norm_epsilon": 1e-3}))
    code, verdict, _ = validate("gpt2", "--candidate-checkpoint", ported)
    assert (code, verdict["first_faulty_tap"]) == (1, "block.0.attention")
    assert any("layer_norm_epsilon" in notice for notice in verdict["notices"])


def test_a_head_without_its_body_fails(validate, tmp_path, checkpoint):
    """The course's notebook: the head was loaded, the whole body was not, and nothing failed."""
    source = checkpoint("gpt2", "lm", tie_word_embeddings=False)
    ported = port(prepare(source, "gpt2"), tmp_path / "ms")
    tensors = load_file(ported / "model.safetensors")
    (ported / "model.safetensors").unlink()
    save_file({"lm_head.weight": tensors["lm_head.weight"]}, ported / "model.safetensors")
    code, verdict, output = validate(
        "gpt2", "--checkpoint", source, "--candidate-checkpoint", ported
    )
    assert (code, verdict["first_faulty_tap"]) == (1, "embeddings"), output
    assert len(verdict["load"]["candidate"]["missing"]) == len(tensors) - 1 == 52
    assert "52 parameters missing from the checkpoint" in verdict["headline"]


def test_nan_in_the_candidate_fails(validate, tmp_path):
    ported = port(prepare(embedded_checkpoint("bert"), "bert"), tmp_path / "ms")
    tensors = load_file(ported / "model.safetensors")
    tensors["bert.encoder.layer.1.output.dense.bias"][0] = np.nan
    (ported / "model.safetensors").unlink()
    save_file(tensors, ported / "model.safetensors")
    code, verdict, output = validate("bert", "--candidate-checkpoint", ported)
    assert (code, verdict["first_faulty_tap"]) == (1, "block.1.mlp"), output
    assert "NaN or infinite" in verdict["headline"]


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
