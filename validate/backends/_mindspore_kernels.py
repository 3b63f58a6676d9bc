"""Whether MindSpore has the kernels that a network needs, tried on a few numbers before it runs.

In the network itself a kernel that is not there ends in a long traceback, and in graph mode in the
compilation of all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mindport.migrate.architectures import load_architecture
from mindport.migrate.computation import Add, Lookup, Mix, Norm, Project, Score, Softmax
from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.case import SettledCase
from mindport.validate.devices import Device

_SIDE = 16  # what Ascend's flash attention asks of a head
# By kind of step, the kernel that the networks of mindport.migrate.cells use for it.
_KERNELS = {
    Lookup: "Gather",
    Add: "Add",
    Norm: "LayerNorm",
    Project: "MatMul",
    Score: "BatchMatMul",
    Softmax: "Softmax",
    Mix: "BatchMatMul",
}


def prove_dtype(mindspore: Any, device: Device, dtype: str, case: SettledCase) -> None:
    """Compute a little with every kernel that a case needs, in a short dtype, and wait for it.

    Args:
        mindspore: The module, its device chosen.
        device: That device.
        dtype: Of the run; float32 is taken for granted.
        case: What is to be run.

    Raises:
        EnvironmentUnavailableError: If there is no such kernel; it names the first.
    """
    if dtype == "float32":
        return
    steps = load_architecture(case.architecture).heads[case.head].steps
    needed = (_KERNELS[type(s.operation)] for s in steps if type(s.operation) in _KERNELS)
    trials = _trials(mindspore, getattr(mindspore, dtype))
    for name in dict.fromkeys(needed):
        try:
            trials[name]().astype(mindspore.float32).asnumpy()
        except (RuntimeError, TypeError, ValueError) as error:
            # MindSpore's errors stick to what comes after, so no other kernel is tried.
            raise EnvironmentUnavailableError(
                f"MindSpore {mindspore.__version__} cannot compute {name} in {dtype} on "
                f"{_name(device)}: {reason_of(error)}.",
                f"Use another --dtype here, or a device that computes in {dtype}; the reference "
                "may keep its own with --reference-dtype.",
            ) from None


def prove_fused_attention(mindspore: Any, device: Device) -> None:
    """Raise if a device has no attention in one kernel.

    Raises:
        EnvironmentUnavailableError: Everywhere but on Ascend, and there if it does not compute.
    """
    if device.kind != "Ascend":
        raise EnvironmentUnavailableError(
            f"MindSpore {mindspore.__version__} has no kernel for attention in one piece on "
            f"{_name(device)}: ops.flash_attention_score is for Ascend alone.",
            "Use --attention eager, which computes the same, or --device Ascend.",
        )
    shape = (1, 1, _SIDE, _SIDE)
    ones = mindspore.Tensor(np.ones(shape, np.float16))
    try:
        mixed = mindspore.ops.flash_attention_score(ones, ones, ones, 1, input_layout="BNSD")
        found = mixed.asnumpy()
    except (RuntimeError, TypeError, ValueError) as error:
        raise EnvironmentUnavailableError(
            f"MindSpore {mindspore.__version__} cannot compute flash attention on {device}: "
            f"{reason_of(error)}.",
            "Use --attention eager.",
        ) from None
    if found.shape != shape or not (found == 1).all():
        raise EnvironmentUnavailableError(
            f"Flash attention on {device} does not give the mean of equal values.",
            "Use --attention eager.",
        )


def _trials(mindspore: Any, dtype: Any) -> dict[str, Callable[[], Any]]:
    ops = mindspore.ops

    def ones(*shape: int) -> Any:
        return mindspore.Tensor(np.ones(shape, np.float32)).astype(dtype)

    matrix, vector, stack = ones(_SIDE, _SIDE), ones(_SIDE), ones(2, _SIDE, _SIDE)
    rows = mindspore.Tensor(np.zeros(2, np.int32))
    return {
        "Gather": lambda: ops.gather(matrix, rows, 0),
        "Add": lambda: matrix + matrix,
        "LayerNorm": lambda: ops.LayerNorm(-1, -1)(matrix, vector, vector)[0],
        "MatMul": lambda: ops.MatMul(transpose_b=True)(matrix, matrix),
        "BatchMatMul": lambda: ops.BatchMatMul()(stack, stack),
        "Softmax": lambda: ops.softmax(matrix, -1),
    }


def _name(device: Device) -> str:
    return "the CPU" if device.kind == "CPU" else str(device)


def reason_of(error: Exception) -> str:
    """Return the line that says what is wrong; MindSpore frames it with others."""
    lines = [line.strip(" -.") for line in str(error).splitlines()]
    said = [line for line in lines if line]
    found = next((line for line in said if "operator[" in line), said[0] if said else repr(error))
    return found.rstrip("!")
