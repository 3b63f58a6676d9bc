"""The one place that sets seeds, threads and every switch that makes a run repeatable.

Each function takes the framework's module, since a framework is imported by its backend alone, and
returns what was set and what refused, for the identity of the run. A switch that was set is no
proof: the worker runs every case twice and lists the taps that came out otherwise.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import numpy as np

from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.devices import Device

# cuBLAS needs a fixed workspace to sum in a fixed order; it reads this when it starts.
_CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# Ascend's collectives and the splitting of a matmul's inner axis read these when they start.
_ASCEND = (("HCCL_DETERMINISTIC", "true"), ("CLOSE_MATMUL_K_SHIFT", "1"))
# The switches hold for the whole process, and so does what became of them.
_in_force: dict[str, dict[str, Any]] = {}


def settings_in_force(framework: str) -> dict[str, Any]:
    """Return what was last set in this process; empty if nothing was."""
    return _in_force.get(framework, {})


@dataclass
class Settings:
    """What was done to make a run repeatable.

    Attributes:
        set: What was set, and to what.
        refused: What the framework refused, and its words.
        no_effect: What was set although this device has no use for it.
    """

    set: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    no_effect: list[str] = field(default_factory=list)

    def attempt(self, name: str, value: Any, act: Callable[[], object]) -> None:
        """Set something and note what came of it."""
        try:
            act()
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            self.refused[name] = str(error).strip().partition("\n")[0] or type(error).__name__
        else:
            self.set[name] = value

    def export(self, name: str, value: str) -> None:
        """Set an environment variable, unless the user did."""
        self.set[name] = os.environ.setdefault(name, value)


def make_torch_repeatable(
    torch: Any, device: Device, seed: int, threads: int | None, allow_tf32: bool = False
) -> dict[str, Any]:
    """Set the seeds, threads and deterministic switches of PyTorch.

    Args:
        torch: The module.
        device: Where the run will be.
        seed: Of every generator.
        threads: CPU threads; None leaves them.
        allow_tf32: Whether a GPU may round the factors of a float32 product to 10 bits.

    Returns:
        What was set, what refused, and what has no effect on this device.
    """
    settings = Settings()
    _seed_python(seed, settings)
    settings.attempt("torch.manual_seed", seed, lambda: torch.manual_seed(seed))
    if threads:
        settings.attempt("threads", threads, lambda: torch.set_num_threads(threads))
    # warn_only: an operation without a deterministic kernel is a tap that may be unstable, which
    # the second run shows; refusing the whole run would say less.
    settings.attempt(
        "use_deterministic_algorithms",
        "warn_only",
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    )
    precision = "high" if allow_tf32 else "highest"
    settings.attempt(
        "float32_matmul_precision",
        precision,
        lambda: torch.set_float32_matmul_precision(precision),
    )
    if device.kind == "GPU":
        _settle_cuda(torch, settings, allow_tf32)
    if device.kind == "Ascend":
        _settle_npu(torch, settings, allow_tf32)
    _in_force["torch"] = asdict(settings)
    return _in_force["torch"]


def _settle_cuda(torch: Any, settings: Settings, allow_tf32: bool) -> None:
    settings.export(*_CUBLAS)
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    for owner, name, value in (
        (cudnn, "deterministic", True),
        (cudnn, "benchmark", False),
        (cudnn, "allow_tf32", allow_tf32),
        # Partial sums of a half precision product would otherwise be rounded to half precision.
        (matmul, "allow_fp16_reduced_precision_reduction", False),
        (matmul, "allow_bf16_reduced_precision_reduction", False),
    ):
        what = f"{'cudnn' if owner is cudnn else 'cuda.matmul'}.{name}"
        settings.attempt(what, value, lambda o=owner, n=name, v=value: setattr(o, n, v))  # type: ignore[misc]


def _settle_npu(torch: Any, settings: Settings, allow_hf32: bool) -> None:
    for name, value in _ASCEND:
        settings.export(name, value)
    settings.attempt(
        "npu.matmul.allow_hf32",
        allow_hf32,
        lambda: setattr(torch.npu.matmul, "allow_hf32", allow_hf32),
    )
    settings.attempt(
        "npu.conv.allow_hf32",
        allow_hf32,
        lambda: setattr(torch.npu.conv, "allow_hf32", allow_hf32),
    )


def make_mindspore_repeatable(
    mindspore: Any, device: Device, seed: int, threads: int | None
) -> dict[str, Any]:
    """Set the seeds, threads and deterministic switches of MindSpore.

    Call it after the device is chosen and before anything is computed: the precision switches of
    a device that is not in use log an error and return.

    Args:
        mindspore: The module.
        device: Where the run is.
        seed: Of every generator.
        threads: CPU threads; None leaves them.

    Returns:
        What was set, what refused, and what has no effect on this device.

    Raises:
        EnvironmentUnavailableError: If this process has another number of threads already.
    """
    settings = Settings()
    _seed_python(seed, settings)
    settings.attempt("mindspore.set_seed", seed, lambda: mindspore.set_seed(seed))
    if threads:
        _set_mindspore_threads(mindspore, threads)
        settings.set["threads"] = threads
    once = _settle_mindspore(mindspore, device.kind)
    settings.set |= once.set
    settings.refused |= once.refused
    settings.no_effect += once.no_effect
    _in_force["mindspore"] = asdict(settings)
    return _in_force["mindspore"]


@cache
def _set_mindspore_threads(mindspore: Any, count: int) -> None:
    # MindSpore refuses to be told twice, even the same; a worker with several runs asks again.
    try:
        mindspore.runtime.dispatch_threads_num(count)
        mindspore.device_context.cpu.op_tuning.threads_num(count)
    except RuntimeError as error:
        raise EnvironmentUnavailableError(
            f"MindSpore does not take {count} threads: {str(error).splitlines()[0]}",
            "Use the same number of threads for all runs of one process.",
        ) from None


@cache
def _settle_mindspore(mindspore: Any, kind: str) -> Settings:
    """Set what MindSpore lets be set once in a process."""
    settings = Settings()
    if hasattr(mindspore, "set_deterministic"):
        settings.attempt("set_deterministic", True, lambda: mindspore.set_deterministic(True))
    else:  # before 2.5
        settings.attempt(
            "context.deterministic", "ON", lambda: mindspore.set_context(deterministic="ON")
        )
    for name in ("HCCL_DETERMINISTIC", "TE_PARALLEL_COMPILER"):  # set by set_deterministic
        if name in os.environ:
            settings.set[name] = os.environ[name]
    if kind == "CPU":
        # Kernels of the CPU are deterministic for a number of threads; these reach the others.
        settings.no_effect += [name for name in settings.set if name != "threads"]
        return settings
    group, short = ("ascend", "hf32") if kind == "Ascend" else ("gpu", "tf32")
    for operation in ("matmul", "conv"):
        name = f"{operation}_allow_{short}"
        settings.attempt(
            f"{group}.op_precision.{name}",
            False,
            lambda n=name: getattr(getattr(mindspore.device_context, group).op_precision, n)(False),  # type: ignore[misc]
        )
    if kind == "Ascend":
        # Or the graph compiler may compute float32 operations in float16.
        settings.attempt(
            "ascend.op_precision.precision_mode",
            "must_keep_origin_dtype",
            lambda: mindspore.device_context.ascend.op_precision.precision_mode(
                "must_keep_origin_dtype"
            ),
        )
    return settings


def _seed_python(seed: int, settings: Settings) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    settings.set["python and numpy seed"] = seed
