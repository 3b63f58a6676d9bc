"""MindNLP: that MindSpore really computes, with stand-ins; and the real thing where it is built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mindport.validate
from mindport.migrate.architectures import load_architecture
from mindport.validate.environments.finding import look_up
from mindport.validate.environments.specification import load_specification

# Stand-ins, each of which says that it was imported. MINDSPORE has all that is asked of it;
# "torch" is PyTorch's or, if mindnlp has taken its place, MindNLP's.
MINDSPORE = """
print("import mindspore")
from types import SimpleNamespace
class Tensor:
    def __init__(self, *args): pass
    def astype(self, dtype): return self
def gather(*args):
    raise TypeError("-----\\n- Kernel select failed:\\n----\\n"
                    "Select CPU operator[Gather] fail! Unsupported data type!\\n-----\\n")
bfloat16, ops = "bfloat16", SimpleNamespace(gather=gather)
PYNATIVE_MODE, GRAPH_MODE, __version__ = 1, 0, "2.7.0"
hal = SimpleNamespace(is_available=lambda device: False)
runtime, device_context = SimpleNamespace(launch_blocking=lambda: None), None
set_context = set_seed = set_device = lambda *args, **kwargs: None
def get_context(name): return {"mode": 1, "device_target": "CPU"}[name]
"""
TORCH = """
print("import torch")
from types import SimpleNamespace
class Parameter: device = SimpleNamespace(type="cpu")
float32 = "float32"
"""
REDIRECT = """
import sys, types, mindspore
class Parameter(mindspore.Tensor): device = types.SimpleNamespace(type="cpu")
sys.modules["torch"] = types.SimpleNamespace(Parameter=Parameter, float32="float32", taken=True)
"""
TRANSFORMERS = """
print("import transformers")
import torch
from types import SimpleNamespace
logging = SimpleNamespace(set_verbosity_error=lambda: None)
class Model:
    config = SimpleNamespace(_attn_implementation="eager")
    def eval(self): return self
    def forward(self, input_ids, position_ids): pass
    def parameters(self): return iter([torch.Parameter()])
class GPT2LMHeadModel:
    @staticmethod
    def from_pretrained(*args, **kwargs):
        if hasattr(torch, "taken"):
            raise OSError("as far as the stand-ins go")
        return Model(), {}
"""
PROGRAM = """
import json, sys
{before}
from mindport.migrate.errors import MindportError
from mindport.validate.backends.mindnlp import open_session
from mindport.validate.case import SettledCase, Run
run = Run("mindnlp", "weights", "CPU", {dtype!r}, "eager", "")
try:
    open_session(run, SettledCase("gpt2", "lm", 0, (), {{}}, False))
except MindportError as error:
    print(json.dumps([error.exit_code, error.message, error.hint]))
"""


@pytest.fixture
def start(tmp_path):
    """Open a session among stand-ins; return the order of imports, and how it ended."""

    def run(mindnlp: str, *, before: str = "", dtype: str = "float32", lacking: str = ""):
        modules = {"mindspore": MINDSPORE, "torch": TORCH, "transformers": TRANSFORMERS,
                   "mindnlp": 'print("import mindnlp")' + mindnlp}  # fmt: skip
        (tmp_path / "mindport").symlink_to(Path(mindport.validate.__file__).parents[1])
        for name, text in modules.items():
            if name != lacking:
                (tmp_path / f"{name}.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(before=before, dtype=dtype)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        *said, last = done.stdout.splitlines()
        return [line.removeprefix("import ") for line in said], *json.loads(last)

    return run


def test_the_order_of_imports(start):
    order, code, message, _ = start(REDIRECT)
    assert order == ["mindspore", "mindnlp", "transformers"]
    assert (code, "as far as the stand-ins go" in message) == (2, True)


def test_pytorch_in_the_place_of_mindspore_is_found_out(start):
    """Nothing fails: the names are right, and the model computes. On PyTorch."""
    order, code, message, hint = start("")
    assert order == ["mindspore", "mindnlp", "transformers", "torch"]
    assert code == 3
    assert "PyTorch would run instead of MindSpore" in message
    assert "validate env create mindnlp" in hint


@pytest.mark.parametrize("early", ["torch", "transformers"])
def test_what_was_imported_before_it_is_refused(start, early):
    _, code, message, hint = start(REDIRECT, before=f"import {early}")
    assert code == 3
    assert "imported before mindnlp" in message
    assert "process of its own" in hint


def test_versions_that_do_not_fit(start):
    _, code, message, hint = start("\nraise KeyError(None)")
    assert (code, "KeyError: None" in message) == (3, True)
    assert "validate env create mindnlp" in hint


def test_an_interpreter_without_it(start):
    _, code, message, hint = start("", lacking="mindnlp")
    assert (code, "mindnlp cannot be imported" in message) == (3, True)
    assert "validate env create mindnlp" in hint


def test_bfloat16_cannot_run_on_the_cpu(start):
    _, code, message, hint = start(REDIRECT, dtype="bfloat16")
    assert code == 3
    assert message == (
        "MindSpore 2.7.0 cannot compute Gather in bfloat16 on the CPU: Select CPU operator[Gather] "
        "fail! Unsupported data type."
    )
    assert "--dtype" in hint


# The real thing.

HEADS = [(name, head) for name in ("gpt2", "bert") for head in load_architecture(name).heads]


@pytest.fixture
def mindnlp(frameworks, monkeypatch):
    """Skip a test where the environment has not been built."""
    found = look_up(load_specification("mindnlp"))
    if found.state != "complete":
        pytest.skip(f"the environment is {found.state}: validate env create mindnlp")


def check_identity(verdict):
    reference, candidate = (verdict["identity"][side] for side in ("reference", "candidate"))
    assert reference["framework"] == "torch"
    assert (candidate["backend"], candidate["framework"]) == ("mindnlp", "mindspore")
    assert candidate["version"] == load_specification("mindnlp").pins["mindspore"]
    assert candidate["details"]["mindnlp"] == load_specification("mindnlp").pins["mindnlp"]
    assert (candidate["device"], candidate["attention"]) == ("CPU", "eager")
    assert not any("not captured" in notice for notice in verdict["notices"])


def faults(verdict):
    return {tap["name"] for tap in verdict["taps"] if not tap["ok"] and tap["own_fault"]}


def check_gpt2(code, verdict):
    """GPT-2's GELU is written with a tanh, and MindSpore's on the CPU is a coarse one."""
    assert all(name.endswith(".activation") for name in faults(verdict)), faults(verdict)
    if code:
        assert "MindSpore's CPU kernel" in verdict["headline"], verdict["headline"]


GRADIENTS = ("--backend", "mindnlp", "--gradients", "--checkpoint", "random")


@pytest.mark.mindnlp
@pytest.mark.slow
@pytest.mark.xdist_group("frameworks")
class TestRealMindNLP:
    """With the environment that ``validate env create mindnlp`` builds."""

    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    def test_embedded_bert(self, mindnlp, validate, dtype):
        code, verdict, said = validate("bert", "--backend", "mindnlp", "--dtype", dtype)
        assert code == 0, said
        check_identity(verdict)
        assert verdict["identity"]["candidate"]["dtype"] == dtype

    def test_embedded_gpt2(self, mindnlp, validate):
        code, verdict, _ = validate("gpt2", "--backend", "mindnlp")
        check_identity(verdict)
        check_gpt2(code, verdict)

    def test_embedded_gpt2_but_for_its_tanh(self, mindnlp, validate):
        """The whole of it is right, and that is proved at full sharpness."""
        accepting = ("--accept", "mindspore-cpu-tanh")
        code, verdict, said = validate("gpt2", "--backend", "mindnlp", *accepting)
        assert (code, verdict["verdict"]) == (0, "pass"), said
        check_identity(verdict)
        assert max(tap["used"] for tap in verdict["taps"]) < 0.7
        (entry,) = verdict["accepted"]
        assert entry["status"] == "applied"
        assert entry["share"] == pytest.approx(1, abs=0.02)
        assert not any("was measured in" in notice for notice in verdict["notices"])

    @pytest.mark.parametrize(("architecture", "head"), HEADS)
    def test_every_head(self, mindnlp, validate, architecture, head):
        code, verdict, said = validate(
            architecture, "--checkpoint", "random", "--head", head, "--backend", "mindnlp"
        )
        check_identity(verdict)
        if architecture == "gpt2":
            check_gpt2(code, verdict)
        else:
            assert code == 0, said

    def test_gradients_of_bert(self, mindnlp, validate):
        code, verdict, said = validate("bert", *GRADIENTS)
        assert code == 0, said
        assert len(verdict["gradients"]["parameters"]) == 74

    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    def test_gradients_of_gpt2(self, mindnlp, validate, dtype):
        """``Tensor.to(device)`` of MindNLP cuts the way back, and transformers moves positions."""
        code, verdict, said = validate("gpt2", *GRADIENTS, "--dtype", dtype)
        wrong = [p["parameter"] for p in verdict["gradients"]["parameters"] if not p["ok"]]
        assert (code, wrong) == (1, ["transformer.wpe.weight"]), said
        assert verdict["first_faulty_tap"] is None

    def test_attention_by_sdpa(self, mindnlp, validate):
        code, verdict, said = validate("bert", "--backend", "mindnlp", "--attention", "sdpa")
        assert code == 0, said
        assert verdict["identity"]["candidate"]["attention"] == "sdpa"

    @pytest.mark.parametrize("architecture", ["gpt2", "bert"])
    def test_full_size(self, mindnlp, validate, architecture):
        code, verdict, said = validate(
            architecture, "--checkpoint", "random", "--size", "base", "--backend", "mindnlp",
            "--batch", "2", "--length", "32",
        )  # fmt: skip
        check_identity(verdict)
        if architecture == "gpt2":
            check_gpt2(code, verdict)
        else:
            assert code == 0, said

    def test_bfloat16_is_not_run(self, mindnlp, validate):
        code, verdict, _ = validate("bert", "--backend", "mindnlp", "--dtype", "bfloat16")
        assert (code, verdict["verdict"]) == (3, "not-run")
        assert "cannot compute Gather in bfloat16 on the CPU" in verdict["headline"]

    def test_weights_that_are_missing_are_told(self, mindnlp, validate, checkpoint, tmp_path):
        from safetensors.numpy import load_file, save_file

        whole = checkpoint("gpt2", "lm")
        lacking = tmp_path / "lacking"
        lacking.mkdir()
        (lacking / "config.json").write_bytes((whole / "config.json").read_bytes())
        tensors = load_file(whole / "model.safetensors")
        del tensors["transformer.h.1.ln_2.bias"]
        save_file(tensors, lacking / "model.safetensors", {"format": "pt"})
        code, verdict, _ = validate(
            "gpt2", "--checkpoint", whole, "--candidate-checkpoint", lacking,
            "--backend", "mindnlp",
        )  # fmt: skip
        assert code == 1
        assert verdict["load"]["candidate"]["missing"] == ["transformer.h.1.ln_2.bias"]
