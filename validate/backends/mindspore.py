"""MindSpore with the networks of :mod:`mindport.migrate.cells`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.architecture import Head
from mindport.migrate.architectures import load_architecture
from mindport.migrate.config import read_config_file
from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.backend import Identity, LoadReport, require
from mindport.validate.case import Case, Run
from mindport.validate.faults import apply_network_fault

FRAMEWORK = "mindspore"
DIALECT = "mindspore"
MODES = ("eager", "graph")


def open_session(run: Run, case: Case) -> MindSporeSession:
    """Build the network of the case's head and load what the checkpoint holds.

    What is missing stays at random, as MindSpore's own loading leaves it; the load report says
    so, and no verdict passes with such a report.
    """
    mindspore = require(FRAMEWORK, "mindspore")
    _select_device(mindspore, run)
    modes = {"eager": mindspore.PYNATIVE_MODE, "graph": mindspore.GRAPH_MODE}
    mindspore.set_context(mode=modes[run.mode])
    mindspore.set_seed(case.seed)
    if run.threads:
        mindspore.runtime.dispatch_threads_num(run.threads)
        mindspore.device_context.cpu.op_tuning.threads_num(run.threads)
    head = load_architecture(case.architecture).heads[case.head]
    return MindSporeSession(mindspore, run, head)


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
    mindspore.set_device(run.device)


class MindSporeSession:
    """One of our cells; its taps are extra outputs, since hooks do not fire in graph mode."""

    def __init__(self, mindspore: Any, run: Run, head: Head) -> None:
        cells = import_module("mindport.migrate.cells")
        folder = Path(run.checkpoint)
        network = getattr(cells, head.class_name)(read_config_file(folder / "config.json"))
        network.cast_parameters(getattr(mindspore, run.dtype))
        network.set_train(False)
        loading = import_module("mindport.migrate.cells.loading")
        file = loading.find_checkpoint(folder, network.architecture)
        report = loading.load_parameters(network, file)
        if run.fault:
            apply_network_fault(mindspore, network, network.architecture, head.name, run.fault)
        self._network = network
        self._logits = head.output_of("logits") if head.prompts else ""
        self.load_report = LoadReport(
            loaded=len(report.loaded),
            missing=report.missing,
            unexpected=report.unexpected,
            mismatched=tuple(
                f"{name}: stored {list(stored)}, the network needs {list(wanted)}"
                for name, stored, wanted in report.mismatched
            ),
        )
        parameter = next(iter(network.get_parameters()))
        if not isinstance(parameter, mindspore.Parameter):
            raise EnvironmentUnavailableError(
                f"The network's parameters are {type(parameter)}, not MindSpore's."
            )
        self.identity = Identity(
            backend="mindspore",
            framework="mindspore",
            version=mindspore.__version__,
            device=str(mindspore.get_context("device_target")),
            dtype=str(parameter.dtype).lower(),
            mode={0: "graph", 1: "eager"}[mindspore.get_context("mode")],
            attention="eager",
            details={
                "numpy": np.__version__,
                "python": sys.version.split()[0],
                "threads": run.threads,
            },
        )
        if self.identity.device != run.device:
            raise EnvironmentUnavailableError(
                f"{run.device} was asked for, but MindSpore runs on {self.identity.device}."
            )
        self._mindspore = mindspore

    def forward(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network once; see :class:`mindport.validate.backend.Session`."""
        output = self._network(**self._tensors(inputs), output_taps=True)
        return {
            name: self._to_numpy(tensor)
            for name, tensor in self._network.named_taps(output).items()
        }

    def rows(self, inputs: Mapping[str, np.ndarray], positions: np.ndarray) -> np.ndarray:
        """Return logits at one position each; see :class:`mindport.validate.backend.Session`."""
        logits = self._network(**self._tensors(inputs))[self._logits]
        rows: np.ndarray = self._to_numpy(logits)[np.arange(len(positions)), positions]
        return rows

    def _tensors(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {
            name: self._mindspore.Tensor(array.astype(np.int32)) for name, array in inputs.items()
        }

    def _to_numpy(self, tensor: Any) -> np.ndarray:
        # MindSpore's errors are asynchronous; asnumpy waits, so a fault shows at its own tap.
        if not isinstance(tensor, self._mindspore.Tensor):
            raise EnvironmentUnavailableError(f"An output is {type(tensor)}, not MindSpore's.")
        array: np.ndarray = tensor.astype(self._mindspore.float32).asnumpy()
        return array
