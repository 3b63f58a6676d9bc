"""Devices: their names, and what is said where one is missing or does not compute."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import click
import pytest

from mindport.migrate.errors import EXIT_ENVIRONMENT, EnvironmentUnavailableError, MindportError
from mindport.validate.backends import _mindspore_device, _torch_device
from mindport.validate.case import DEVICES
from mindport.validate.device_option import DeviceName
from mindport.validate.devices import Device, parse_device
from mindport.validate.doctor.absence import device_absent
from mindport.validate.doctor.machine import look_at_machine, look_for_ascend, look_for_cuda


@pytest.mark.parametrize(
    ("text", "kind", "index", "name"),
    [
        ("CPU", "CPU", None, "CPU"),
        ("cpu:0", "CPU", None, "CPU"),
        ("gpu", "GPU", None, "GPU"),
        ("GPU:0", "GPU", 0, "GPU:0"),
        ("Cuda", "GPU", None, "GPU"),
        ("NPU", "Ascend", None, "Ascend"),
        ("aScEnD:0", "Ascend", 0, "Ascend:0"),
        ("cuda:0", "GPU", 0, "GPU:0"),
        ("Nvidia:3", "GPU", 3, "GPU:3"),
        ("ASCEND", "Ascend", None, "Ascend"),
        ("ascend:1", "Ascend", 1, "Ascend:1"),
        (" npu:12 ", "Ascend", 12, "Ascend:12"),
    ],
)
def test_names(text, kind, index, name):
    device = parse_device(text)
    assert (device.kind, device.index, str(device)) == (kind, index, name)
    assert device.kind in DEVICES
    assert parse_device(str(device)) == device


@pytest.mark.parametrize(
    "text", ["", "tpu", "Ascend:", "Ascend:-1", "Ascend:x", "1", "cpu:1", "a:b:c"]
)
def test_what_is_no_name(text):
    with pytest.raises(MindportError, match="is not a device"):
        parse_device(text)


def test_a_typing_error_is_guessed():
    with pytest.raises(MindportError, match="Did you mean 'Ascend'"):
        parse_device("Ascent:1")


def test_on_the_command_line():
    @click.command()
    @click.option("--device", type=DeviceName())
    def show(device):
        click.echo(device)

    run = click.testing.CliRunner().invoke
    assert run(show, ["--device", "npu:1"]).output == "Ascend:1\n"
    assert run(show, ["--device", "abacus"]).exit_code == 2
    assert "CPU|GPU|Ascend[:N]" in run(show, ["--help"]).output


# What is said where there is none


def test_an_absent_ascend_is_told_with_what_was_found(tmp_path):
    (tmp_path / "usr/local/Ascend/driver").mkdir(parents=True)
    (tmp_path / "usr/local/Ascend/driver/version.info").write_text("Version=25.2.0\n")
    error = device_absent("MindSpore", "2.10.0", Device("Ascend", 1), "none", {}, tmp_path)
    assert error.exit_code == EXIT_ENVIRONMENT
    assert "MindSpore 2.10.0 cannot use Ascend:1 here: none." in error.message
    for part in (
        "/dev/davinci*: none",
        "version.info: 25.2.0",
        "npu-smi: not on PATH",
        "CANN (ASCEND_HOME_PATH, /usr/local/Ascend): none",
        "libmindspore_ascend.so*",
    ):
        assert part in error.message  # fmt: skip
    assert "validate record" in error.hint
    assert "--emulate ascend-fp16" in error.hint
    assert "validate doctor --device Ascend:1" in error.hint


def test_an_absent_gpu_is_told_with_what_was_found(tmp_path):
    error = device_absent("torch", "2.13.0", Device("GPU"), "no CUDA", {"PATH": ""}, tmp_path)
    for part in ("/dev/nvidia*: none", "nvidia-smi: not on PATH", "libcuda: not found"):
        assert part in error.message
    assert "plugin" not in error.message
    assert "validate record" in error.hint
    assert "emulate" not in error.hint


# The machine


def test_a_whole_ascend(tmp_path):
    base = tmp_path / "usr/local/Ascend"
    for path, text in (
        ("driver/version.info", "Version=25.2.0\ninnerversion=V100\n"),
        ("ascend-toolkit/latest/compiler/version.info", "Version=8.3.0.1.200\n"),
    ):
        (base / path).parent.mkdir(parents=True)
        (base / path).write_text(text)
    (tmp_path / "dev").mkdir()
    for name in ("davinci0", "davinci1", "davinci_manager"):
        (tmp_path / "dev" / name).touch()
    tool = tmp_path / "npu-smi"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    asked = []
    ascend = look_for_ascend(
        {"PATH": str(tmp_path)}, tmp_path, lambda line: asked.append(line) or "910B"
    )
    assert (ascend.driver, ascend.cann, ascend.tool) == ("25.2.0", "8.3.0.1.200", "910B")
    assert [d.rpartition("/")[2] for d in ascend.devices] == ["davinci0", "davinci1"]
    assert ascend.present
    assert asked == [f"{tool} info"]
    hanging = look_for_ascend({"PATH": str(tmp_path)}, tmp_path, lambda line: None)
    assert "fails or does not end" in hanging.tool


@pytest.mark.parametrize(
    ("file", "text", "version"),
    [
        (
            "version.cfg",
            "# version: 1.0\nruntime_running_version=[7.7.0.1.231:8.2.RC1]\n",
            "8.2.RC1",
        ),
        ("aarch64-linux/ascend_toolkit_install.info", "package_name=x\nversion=8.5.0\n", "8.5.0"),
        ("other", "", ""),
    ],
)
def test_where_cann_says_its_version(tmp_path, file, text, version):
    home = tmp_path / "cann"
    (home / file).parent.mkdir(parents=True)
    (home / file).write_text(text)
    assert look_for_ascend({"ASCEND_HOME_PATH": str(home)}, tmp_path).cann == version


def test_a_gpu(tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    said = "| NVIDIA-SMI 550.54  Driver Version: 550.54.14  CUDA Version: 12.4 |"
    cuda = look_for_cuda({"PATH": str(tmp_path)}, tmp_path, lambda _: said)
    assert (cuda.driver, cuda.version, cuda.present) == ("550.54.14", "12.4", True)


def test_the_memory_that_a_container_leaves(tmp_path):
    for path, text in (
        ("proc/meminfo", "MemTotal: 99 kB\nMemAvailable:    8000 kB\n"),
        ("sys/fs/cgroup/memory.max", "4096000\n"),
        ("sys/fs/cgroup/memory.current", "96000\n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert look_at_machine({}, tmp_path).memory == 4_000_000


# PyTorch and MindSpore, played by stand-ins


class Product:
    def __init__(self, total):
        self.total = total

    def __matmul__(self, other):
        return self

    def sum(self):
        return self

    def cpu(self):
        if isinstance(self.total, Exception):
            raise self.total
        return self.total


def fake_torch(kind="cuda", available=True, count=2, total=512.0, built="12.4"):
    module = SimpleNamespace(
        is_available=lambda: available,
        device_count=lambda: count,
        get_device_name=lambda place: "NVIDIA H100",
    )

    def device(type_, *index):
        if type_ == "npu":  # torch_npu, which gives the name a meaning, is not here
            raise RuntimeError("Expected one of cpu, cuda, … device type at start of device string")
        return (type_, *index)

    return SimpleNamespace(
        __version__="2.13.0",
        version=SimpleNamespace(cuda=built),
        device=device,
        ones=lambda shape, device: Product(total),
        **{kind: module},
    )


def use_torch(torch, device):
    place = _torch_device.select_device(torch, device)
    _torch_device.prove_device(torch, device, place)
    return place


def test_torch_on_a_gpu():
    torch = fake_torch()
    assert use_torch(torch, Device("GPU", 1)) == ("cuda", 1)
    assert use_torch(torch, Device("GPU")) == ("cuda", 0)
    assert use_torch(torch, Device("CPU")) == ("cpu",)
    used = SimpleNamespace(type="cuda", index=1)
    assert _torch_device.describe_device(torch, used) == {"index": 1, "name": "NVIDIA H100"}


def test_torch_on_an_ascend(monkeypatch):
    """``torch_npu`` is imported first: it gives PyTorch the device."""
    torch = fake_torch("npu")
    monkeypatch.setitem(sys.modules, "torch_npu", ModuleType("torch_npu"))
    torch.device = lambda *place: place
    assert use_torch(torch, parse_device("npu:1")) == ("npu", 1)
    used = SimpleNamespace(type="npu", index=1)
    assert _torch_device.describe_device(torch, used)["index"] == 1
    assert _torch_device.KINDS[used.type] == "Ascend"
    with pytest.raises(EnvironmentUnavailableError, match="torch sees 2, counted from 0"):
        use_torch(torch, Device("Ascend", 2))


@pytest.mark.parametrize(
    ("torch", "device", "said"),
    [
        (fake_torch(available=False), Device("GPU"), "torch sees none"),
        (fake_torch(available=False, built=None), Device("GPU"), "has no CUDA"),
        (fake_torch(), Device("GPU", 2), "torch sees 2, counted from 0"),
        (fake_torch(total=0.0), Device("GPU"), "summed to 0.0, not 512"),
        (fake_torch(total=RuntimeError("CUDA error: busy\nmore")), Device("GPU"), "error: busy"),
        (fake_torch("npu"), Device("Ascend"), "torch_npu cannot be imported"),
    ],
)
def test_torch_on_a_device_that_is_not_there_or_does_not_compute(torch, device, said):
    with pytest.raises(EnvironmentUnavailableError, match=said) as caught:
        use_torch(torch, device)
    assert f"torch 2.13.0 cannot use {device} here" in caught.value.message


class Tensor:
    def __init__(self, total):
        self.total = total

    def asnumpy(self):
        if isinstance(self.total, Exception):
            raise self.total
        return self

    def sum(self):
        return self.total


def fake_mindspore(available=True, count=2, refuses="", total=512.0, sticks=True):
    """Return a stand-in; one that does not stick goes on on the CPU, as MindSpore does."""
    context = {"device_target": "CPU", "device_id": 0}

    def set_device(kind, index=0):
        if refuses:
            raise RuntimeError(refuses)
        if sticks:
            context.update(device_target=kind, device_id=index)

    return SimpleNamespace(
        __version__="2.10.0",
        hal=SimpleNamespace(
            is_available=lambda kind: available,
            device_count=lambda kind: count,
            get_device_name=lambda index, kind: "Ascend910B3",
        ),
        set_device=set_device,
        get_context=context.get,
        Tensor=lambda array: Tensor(total),
        ops=SimpleNamespace(matmul=lambda a, b: Tensor(total)),
    )


def use_mindspore(mindspore, device):
    _mindspore_device.select_device(mindspore, device)
    _mindspore_device.prove_device(mindspore, device)
    return _mindspore_device.read_back_device(mindspore, device)


def test_mindspore_on_an_ascend():
    mindspore = fake_mindspore()
    used = use_mindspore(mindspore, Device("Ascend", 1))
    assert used == Device("Ascend", 1)
    assert _mindspore_device.describe_device(mindspore, used) == {"index": 1, "name": "Ascend910B3"}
    assert use_mindspore(fake_mindspore(), Device("Ascend")) == Device("Ascend", 0)
    assert use_mindspore(fake_mindspore(), Device("CPU")) == Device("CPU")


@pytest.mark.parametrize(
    ("mindspore", "said"),
    [
        (fake_mindspore(available=False), "MindSpore sees none"),
        (fake_mindspore(count=1), "MindSpore sees 1, counted from 0"),
        (fake_mindspore(refuses="Unsupported device target Ascend."), "Unsupported device target"),
        (fake_mindspore(total=RuntimeError("launch failed")), "launch failed"),
        (fake_mindspore(total=511.0), "summed to 511.0"),
        (fake_mindspore(sticks=False), "but MindSpore runs on CPU"),
    ],
)
def test_mindspore_on_a_device_that_is_not_there_or_does_not_compute(mindspore, said):
    with pytest.raises(EnvironmentUnavailableError, match=said):
        use_mindspore(mindspore, Device("Ascend", 1))
