"""The same run twice, in two processes, gives the same bits; and what was set is told."""

from __future__ import annotations

import os
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from mindport.migrate.architectures import load_architecture
from mindport.migrate.porting import port, prepare
from mindport.validate.capture import Capture
from mindport.validate.case import Run, SettledCase, hash_arrays, save_case
from mindport.validate.determinism import (
    make_mindspore_repeatable,
    make_torch_repeatable,
    settings_in_force,
)
from mindport.validate.devices import Device
from mindport.validate.inputs import make_inputs
from mindport.validate.launch import Job, find_python, run_jobs


@pytest.mark.xdist_group("frameworks")
def test_the_same_run_twice_gives_the_same_bits(small_checkpoint, tmp_path):
    for name in ("torch", "transformers", "mindspore"):
        if find_spec(name) is None:  # the workers import them, not this process
            pytest.skip(f"{name} is not installed")
    folder = small_checkpoint("gpt2", "lm")
    prepared = prepare(folder, "gpt2")
    described = load_architecture("gpt2")
    head, config = described.heads["lm"], prepared.plan.config
    inputs = make_inputs(described, head, config, batch=2, length=8, seed=1)
    taps = ("embeddings", "block.0", "logits")
    case = SettledCase("gpt2", "lm", 3, taps, hash_arrays(inputs), prompts=False)
    save_case(tmp_path / "case", case, inputs)
    port(prepared, tmp_path / "ms")

    def run(backend, mode):
        weights = folder if backend == "torch" else tmp_path / "ms"
        return Run(backend, str(weights), "cpu", "float32", mode, str(tmp_path / "case"), 2)

    runs = {
        "torch": (run("torch", "eager"),),
        "mindspore": (run("mindspore", "eager"), run("mindspore", "graph")),
    }
    jobs = [
        Job(f"{framework}-{number}", runs[framework], find_python(None), tmp_path)
        for framework in runs
        for number in (1, 2)
    ]
    done = run_jobs(jobs, timeout=240)
    for framework, asked in runs.items():
        first, second = done[f"{framework}-1"], done[f"{framework}-2"]
        for one, other, what in zip(first, second, asked, strict=True):
            assert isinstance(one, Capture), one
            assert isinstance(other, Capture), other
            bits = [hash_arrays({t: c.tap(t) for t in taps}) for c in (one, other)]
            assert bits[0] == bits[1], what
            assert one.manifest.unstable == ()
            identity = one.manifest.identity
            assert (identity.device, identity.mode) == ("CPU", what.mode)
            assert identity.details["device"] == {"index": None, "name": "CPU"}
            settings = identity.details["determinism"]
            assert settings["set"]["threads"] == 2
            assert settings["refused"] == {}
            if framework == "mindspore":
                assert settings["set"]["set_deterministic"] is True
                assert "set_deterministic" in settings["no_effect"]
            else:
                assert settings["set"]["use_deterministic_algorithms"] == "warn_only"


def fake_torch(**more):
    def refuse(*_, **__):
        raise RuntimeError("not here\nsecond line")

    return SimpleNamespace(
        manual_seed=lambda seed: None,
        set_num_threads=lambda count: None,
        use_deterministic_algorithms=refuse,
        set_float32_matmul_precision=lambda name: None,
        backends=SimpleNamespace(
            cudnn=SimpleNamespace(), cuda=SimpleNamespace(matmul=SimpleNamespace())
        ),
        **more,
    )


def test_what_refuses_is_told(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch = fake_torch()
    settings = make_torch_repeatable(torch, Device("GPU"), 7, None)
    assert settings["refused"] == {"use_deterministic_algorithms": "not here"}
    assert settings["set"]["torch.manual_seed"] == 7
    assert "threads" not in settings["set"]
    assert settings["set"]["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cudnn.deterministic is True
    assert torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction is False
    assert settings_in_force("torch") == settings


def test_tf32_only_where_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    torch = fake_torch()
    settings = make_torch_repeatable(torch, Device("GPU"), 0, 1, allow_tf32=True)
    assert settings["set"]["float32_matmul_precision"] == "high"
    assert torch.backends.cudnn.allow_tf32 is True
    assert settings["set"]["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"  # the user's own


def test_an_npu_without_its_switches(monkeypatch):
    for name in ("HCCL_DETERMINISTIC", "CLOSE_MATMUL_K_SHIFT"):
        monkeypatch.delenv(name, raising=False)
    npu = SimpleNamespace(matmul=SimpleNamespace())
    settings = make_torch_repeatable(fake_torch(npu=npu), Device("Ascend"), 0, None)
    assert settings["set"]["npu.matmul.allow_hf32"] is False
    assert "npu.conv.allow_hf32" in settings["refused"]
    assert os.environ.pop("HCCL_DETERMINISTIC") == "true"
    assert os.environ.pop("CLOSE_MATMUL_K_SHIFT") == "1"


class FakeMindSpore:
    """It takes its switches once in a process, as the real one."""

    def __init__(self):
        self.calls = []
        precision = SimpleNamespace(
            matmul_allow_hf32=self.note("matmul"),
            conv_allow_hf32=self.note("conv"),
            precision_mode=self.note("precision_mode"),
        )
        self.device_context = SimpleNamespace(ascend=SimpleNamespace(op_precision=precision))
        self.set_seed = self.note("seed")
        self.set_deterministic = self.note("deterministic")

    def note(self, name):
        def call(value):
            if name != "seed" and name in dict(self.calls):
                raise RuntimeError("can not be set repeatedly")
            self.calls.append((name, value))

        return call


def test_mindspore_is_told_once(monkeypatch):
    for name in ("HCCL_DETERMINISTIC", "TE_PARALLEL_COMPILER"):
        monkeypatch.delenv(name, raising=False)
    mindspore = FakeMindSpore()
    first = make_mindspore_repeatable(mindspore, Device("Ascend"), 1, None)
    again = make_mindspore_repeatable(mindspore, Device("Ascend", 0), 2, None)
    assert [name for name, _ in mindspore.calls] == [
        "seed", "deterministic", "matmul", "conv", "precision_mode", "seed",
    ]  # fmt: skip
    assert first["refused"] == again["refused"] == {}
    assert first["no_effect"] == []
    assert again["set"]["mindspore.set_seed"] == 2
    assert again["set"]["ascend.op_precision.matmul_allow_hf32"] is False


def test_seeds_are_set_where_python_keeps_them():
    import random

    import numpy as np

    make_torch_repeatable(fake_torch(), Device("CPU"), 5, None)
    one = random.random(), np.random.rand()
    make_torch_repeatable(fake_torch(), Device("CPU"), 5, None)
    assert one == (random.random(), np.random.rand())
