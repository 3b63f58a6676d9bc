"""What to say when a device was asked for that is not there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.devices import Device
from mindport.validate.doctor.machine import look_for_ascend, look_for_cuda

_PLUGINS = {"Ascend": "libmindspore_ascend.so*", "GPU": "libmindspore_gpu.so*"}


def device_absent(
    framework: str,
    version: str,
    device: Device,
    said: str,
    environ: Mapping[str, str] | None = None,
    root: Path = Path("/"),
) -> EnvironmentUnavailableError:
    """Return the error for a device that a framework does not find or that does not compute.

    Args:
        framework: Its name.
        version: Its version.
        device: What was asked for.
        said: What the framework says.
        environ: The environment; by default this process's.
        root: Where the file system begins.
    """
    environ = os.environ if environ is None else environ
    look = look_for_ascend if device.kind == "Ascend" else look_for_cuda
    found = [*look(environ, root).looked]
    if framework == "MindSpore":
        found.append(_plugins(device.kind))
    return EnvironmentUnavailableError(
        f"{framework} {version} cannot use {device} here: {said.rstrip('.')}. "
        f"Looked for: {'; '.join(found)}.",
        f"{ways_on(device)} 'validate doctor --device {device}' says more.",
    )


ARCHITECTURE = "ARCHITECTURE"  # in what is advised; who knows which puts it there


def ways_on(device: Device) -> str:
    """Return what can be done without a device; every command in quotes can be run as it stands."""
    name, case = ARCHITECTURE, f"--case case --device {device}"
    ways = [
        f"To run it on a machine that has the device, make the case here, 'validate case {name} -o "
        f"case' (with the options that say what is run), copy it and record it there, 'validate "
        f"record {name} {case} -o capture', and judge here, 'validate {name} --candidate-capture "
        "capture'.",
        f"Where mindport cannot be installed there, pack it here, 'validate bundle {name} {case} "
        "-o job.zip', run it there, 'python job.zip -o capture.zip', and judge here, 'validate "
        f"{name} --candidate-capture capture.zip'.",
    ]
    if device.kind == "Ascend":
        ways.append(f"Or predict it here, 'validate {name} --emulate ascend-fp16'.")
    return " ".join(ways)


def _plugins(kind: str) -> str:
    spec = find_spec("mindspore")
    folders = spec.submodule_search_locations if spec else None
    names = sorted(
        path.name
        for folder in folders or ()
        for path in (Path(folder) / "lib" / "plugin").glob(_PLUGINS[kind])
    )
    return f"MindSpore's plugin {_PLUGINS[kind]}: {', '.join(names) or 'not in the wheel'}"
