"""The device of PyTorch: chosen, proved by a first small computation, and described."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from mindport.validate.devices import Device
from mindport.validate.doctor.absence import device_absent

# What PyTorch calls a kind of device.
TYPES = {"CPU": "cpu", "GPU": "cuda", "Ascend": "npu"}
KINDS = {name: kind for kind, name in TYPES.items()}
_SIDE = 8


def select_device(torch: Any, device: Device) -> Any:
    """Return the ``torch.device``; nothing is computed yet.

    Raises:
        EnvironmentUnavailableError: If it is not there.
    """
    if device.kind == "CPU":
        return torch.device("cpu")
    if problem := _obstacle(torch, device):
        raise device_absent("torch", torch.__version__, device, problem)
    return torch.device(TYPES[device.kind], device.number)


def prove_device(torch: Any, device: Device, place: Any) -> None:
    """Compute something on an accelerator and wait for it.

    Raises:
        EnvironmentUnavailableError: If it does not compute there.
    """
    if device.kind != "CPU" and (problem := _proof(torch, place)):
        raise device_absent("torch", torch.__version__, device, problem)


def _obstacle(torch: Any, device: Device) -> str:
    """Return why PyTorch does not see a device; empty if it does."""
    if device.kind == "Ascend":
        try:
            import_module("torch_npu")
        except (ImportError, OSError, RuntimeError) as error:
            return f"torch_npu cannot be imported: {error}"
    module = getattr(torch, TYPES[device.kind], None)
    if module is None or not module.is_available():
        built = getattr(torch.version, "cuda", None)
        if device.kind == "GPU" and built is None:
            return "this build of torch has no CUDA"
        return "torch sees none"
    count: int = module.device_count()
    if device.number >= count:
        return f"torch sees {count}, counted from 0"
    return ""


def _proof(torch: Any, place: Any) -> str:
    """Return what went wrong with a product on a device; empty if nothing did."""
    try:
        ones = torch.ones((_SIDE, _SIDE), device=place)
        total = float((ones @ ones).sum().cpu())
    except RuntimeError as error:
        return str(error).strip().partition("\n")[0]
    return "" if total == _SIDE**3 else f"a product of ones summed to {total}, not {_SIDE**3}"


def describe_device(torch: Any, place: Any) -> dict[str, Any]:
    """Return index and name of the device that a tensor lies on.

    Args:
        torch: The module.
        place: A tensor's ``device``.
    """
    if place.type == "cpu":
        return {"index": None, "name": "CPU"}
    name: Callable[[Any], str] | None = getattr(
        getattr(torch, place.type, None), "get_device_name", None
    )
    return {"index": place.index or 0, "name": name(place) if name else place.type}
