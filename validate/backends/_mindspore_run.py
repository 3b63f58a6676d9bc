"""What every backend that runs MindSpore does alike: start it, feed it, read it, prove it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.backend import Identity, require
from mindport.validate.case import Case, Run


def start_mindspore(run: Run, case: Case) -> Any:
    """Import MindSpore and set device, mode, seed and threads.

    Returns:
        The module ``mindspore``.

    Raises:
        EnvironmentUnavailableError: If it, the device or the dtype on the device is not there.
    """
    mindspore = require("mindspore", "mindspore")
    _select_device(mindspore, run)
    modes = {"eager": mindspore.PYNATIVE_MODE, "graph": mindspore.GRAPH_MODE}
    mindspore.set_context(mode=modes[run.mode])
    mindspore.set_seed(case.seed)
    if run.threads:
        _set_threads(run.threads)
    return mindspore


@cache
def _set_threads(count: int) -> None:
    # MindSpore refuses to be told twice, even the same; a worker with several runs asks again.
    mindspore = require("mindspore", "mindspore")
    try:
        mindspore.runtime.dispatch_threads_num(count)
        mindspore.device_context.cpu.op_tuning.threads_num(count)
    except RuntimeError as error:
        raise EnvironmentUnavailableError(
            f"MindSpore does not take {count} threads: {str(error).splitlines()[0]}",
            "Use the same number of threads for all runs of one process.",
        ) from None


def _select_device(mindspore: Any, run: Run) -> None:
    # After a refused device MindSpore goes on quietly on the CPU, so ask before setting it.
    if run.device != "CPU" and not mindspore.hal.is_available(run.device):
        raise EnvironmentUnavailableError(
            f"MindSpore {mindspore.__version__} sees no {run.device} device here.",
            f"Run with --device CPU, or on a machine whose {run.device} driver MindSpore finds.",
        )
    if run.device == "CPU" and run.dtype == "bfloat16":
        raise EnvironmentUnavailableError(
            f"MindSpore {mindspore.__version__} has no bfloat16 kernels on the CPU (MatMul, "
            "Gather, Softmax, LayerNorm).",
            "Use --dtype float32 or float16 here, or a device that computes in bfloat16.",
        )
    # A process that has computed already refuses to be told, even the device that it is on.
    if run.device != "CPU" or mindspore.get_context("device_target") != "CPU":
        mindspore.set_device(run.device)


def prove_identity(
    mindspore: Any,
    run: Run,
    parameter: Any,
    attention: str = "eager",
    details: Mapping[str, Any] | None = None,
) -> Identity:
    """Return what really runs.

    Args:
        mindspore: The module.
        run: What was asked for.
        parameter: One of the network's. MindNLP's are MindSpore's tensors, no ``Parameter``.
        attention: The attention implementation.
        details: More to record.

    Raises:
        EnvironmentUnavailableError: If it is not what was asked for.
    """
    if not isinstance(parameter, mindspore.Tensor):
        raise EnvironmentUnavailableError(
            f"The network's parameters are {type(parameter)}, not MindSpore's."
        )
    device = str(mindspore.get_context("device_target"))
    if device != run.device:
        raise EnvironmentUnavailableError(
            f"{run.device} was asked for, but MindSpore runs on {device}."
        )
    return Identity(
        backend=run.backend,
        framework="mindspore",
        version=mindspore.__version__,
        device=device,
        dtype=str(parameter.dtype).lower().removeprefix("mindspore."),
        mode={0: "graph", 1: "eager"}[mindspore.get_context("mode")],
        attention=attention,
        details={
            "numpy": np.__version__,
            "python": sys.version.split()[0],
            "threads": run.threads,
            **(details or {}),
        },
    )


def to_tensors(mindspore: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return ids and masks as int32 tensors, numbers as float32 ones."""
    return {
        name: mindspore.Tensor(array.astype(np.float32 if array.dtype.kind == "f" else np.int32))
        for name, array in arrays.items()
    }


def to_numpy(mindspore: Any, tensor: Any) -> np.ndarray:
    """Return a tensor as float32.

    MindSpore's errors are asynchronous; ``asnumpy`` waits, so a fault shows at its own tap.

    Raises:
        EnvironmentUnavailableError: If it is not MindSpore's.
    """
    if not isinstance(tensor, mindspore.Tensor):
        raise EnvironmentUnavailableError(f"An output is {type(tensor)}, not MindSpore's.")
    array: np.ndarray = tensor.astype(mindspore.float32).asnumpy()
    return array
