"""The device of MindSpore: chosen, proved by a first small computation, and described."""

from __future__ import annotations

from typing import Any

import numpy as np

from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.devices import Device
from mindport.validate.doctor.absence import device_absent

_SIDE = 8


def select_device(mindspore: Any, device: Device) -> None:
    """Choose the device; nothing is computed yet.

    Raises:
        EnvironmentUnavailableError: If it is not there.
    """
    if device.kind == "CPU":
        # A process that has computed already refuses to be told, even what it runs on.
        if mindspore.get_context("device_target") != "CPU":
            mindspore.set_device("CPU")
        return
    # After a refused device MindSpore goes on quietly on the CPU, so ask before setting it.
    if not mindspore.hal.is_available(device.kind):
        raise device_absent("MindSpore", mindspore.__version__, device, "MindSpore sees none")
    count = _count(mindspore, device.kind)
    if count is not None and device.number >= count:
        raise device_absent(
            "MindSpore", mindspore.__version__, device, f"MindSpore sees {count}, counted from 0"
        )
    try:
        mindspore.set_device(device.kind, device.number)
    except (RuntimeError, ValueError) as error:
        raise device_absent("MindSpore", mindspore.__version__, device, _first(error)) from None


def prove_device(mindspore: Any, device: Device) -> None:
    """Compute something on an accelerator and wait for it.

    MindSpore reports an error of a device when the result is asked for, and then also at the next
    healthy operation: so this comes first, on its own.

    Raises:
        EnvironmentUnavailableError: If it does not compute there.
    """
    if device.kind == "CPU":
        return
    try:
        ones = mindspore.Tensor(np.ones((_SIDE, _SIDE), np.float32))
        total = float(mindspore.ops.matmul(ones, ones).asnumpy().sum())
    except (RuntimeError, TypeError, ValueError) as error:
        raise device_absent("MindSpore", mindspore.__version__, device, _first(error)) from None
    if total != _SIDE**3:
        said = f"a product of ones summed to {total}, not {_SIDE**3}"
        raise device_absent("MindSpore", mindspore.__version__, device, said)


def read_back_device(mindspore: Any, asked: Device) -> Device:
    """Return the device that MindSpore says it runs on.

    Raises:
        EnvironmentUnavailableError: If it is not the one asked for.
    """
    kind = str(mindspore.get_context("device_target"))
    index = None if kind == "CPU" else int(mindspore.get_context("device_id"))
    if kind != asked.kind or (index is not None and index != asked.number):
        raise EnvironmentUnavailableError(
            f"{asked} was asked for, but MindSpore runs on {Device(kind, index)}."
        )
    return Device(kind, index)


def describe_device(mindspore: Any, device: Device) -> dict[str, Any]:
    """Return index and name of a device."""
    if device.kind == "CPU":
        return {"index": None, "name": "CPU"}
    try:
        name = str(mindspore.hal.get_device_name(device.number, device.kind))
    except (AttributeError, RuntimeError, ValueError) as error:
        name = f"unknown ({_first(error)})"
    return {"index": device.number, "name": name}


def _count(mindspore: Any, kind: str) -> int | None:
    """Return how many there are; None if MindSpore does not tell."""
    try:
        return int(mindspore.hal.device_count(kind))
    except (AttributeError, RuntimeError, ValueError):
        return None


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
