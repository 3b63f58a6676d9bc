"""What every backend that runs MindSpore does alike: start it, feed it, read it, prove it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.backend import Identity, require
from mindport.validate.backends._mindspore_device import (
    describe_device,
    prove_device,
    read_back_device,
    select_device,
)
from mindport.validate.backends._mindspore_kernels import prove_dtype
from mindport.validate.case import Run, SettledCase
from mindport.validate.determinism import make_mindspore_repeatable, settings_in_force
from mindport.validate.devices import parse_device


def start_mindspore(run: Run, case: SettledCase) -> Any:
    """Import MindSpore and set device, mode, seed and threads.

    Returns:
        The module ``mindspore``.

    Raises:
        EnvironmentUnavailableError: If it, the device or the dtype on the device is not there.
    """
    mindspore = require("mindspore", "mindspore")
    device = parse_device(run.device)
    select_device(mindspore, device)
    modes = {"eager": mindspore.PYNATIVE_MODE, "graph": mindspore.GRAPH_MODE}
    mindspore.set_context(mode=modes[run.mode])
    if launches_in_place(run):
        mindspore.runtime.launch_blocking()
    make_mindspore_repeatable(mindspore, device, case.seed, run.threads)
    prove_device(mindspore, device)
    prove_dtype(mindspore, device, run.dtype, case)
    return mindspore


def launches_in_place(run: Run) -> bool:
    """Return whether operations run where they are called, as they best do in eager mode on a CPU.

    MindSpore's own way hands each from thread to thread, and the threads spin while they wait: a
    network of many small operations then takes tens of times as long on few cores. It can be
    changed before the first operation only, so no backend can do it later for its network.
    """
    return run.mode == "eager" and parse_device(run.device).kind == "CPU"


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
    device = read_back_device(mindspore, parse_device(run.device))
    return Identity(
        backend=run.backend,
        framework="mindspore",
        version=mindspore.__version__,
        device=device.kind,
        dtype=str(parameter.dtype).lower().removeprefix("mindspore."),
        mode={0: "graph", 1: "eager"}[mindspore.get_context("mode")],
        attention=attention,
        details={
            "numpy": np.__version__,
            "python": sys.version.split()[0],
            "threads": run.threads,
            "device": describe_device(mindspore, device),
            "launch_blocking": launches_in_place(run),
            "determinism": settings_in_force("mindspore"),
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
    if tensor.dtype != mindspore.bfloat16:
        # Read as it is: cast on the device, a float16 output of a graph of MindSpore 2.7 comes
        # with digits that the next operation never saw.
        given: np.ndarray = tensor.asnumpy()
        return given.astype(np.float32)
    array: np.ndarray = tensor.astype(mindspore.float32).asnumpy()
    return array
