"""The case: all that two backends need to do the same work, and how each one is to do it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

DTYPES = ("float32", "float16", "bfloat16")
MODES = ("eager", "graph")
DEVICES = ("CPU", "GPU", "Ascend")
# Attention: the plain formula, torch's one kernel, MindSpore's one kernel.
EAGER, SDPA, FUSED = "eager", "sdpa", "fused"
ATTENTIONS = (EAGER, SDPA, FUSED)


def emulated(device: str) -> str:
    """Return what an emulation of a device calls itself: never the device's own name."""
    return f"{device} (emulated)"


EMULATED_DEVICES = tuple(emulated(device) for device in ("GPU", "Ascend"))

_CASE_FILE = "case.json"
_INPUTS_FILE = "inputs.safetensors"
_TARGETS_FILE = "targets.safetensors"
_PROMPTS_FOLDER = "prompts"


@dataclass(frozen=True)
class SettledCase:
    """What is run.

    Attributes:
        architecture: The model type.
        head: What stands on the body.
        seed: Of the inputs.
        taps: Canonical names of the points to capture, in network order; none if only prompts are
            asked.
        inputs: sha256 of every input array, by name.
        prompts: Whether prompt batches lie beside the inputs.
        targets: sha256 of every array that the loss is made with, by name; empty without
            gradients.
    """

    architecture: str
    head: str
    seed: int
    taps: tuple[str, ...]
    inputs: Mapping[str, str]
    prompts: bool
    targets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """How one backend runs the case.

    Attributes:
        backend: ``torch``, ``mindspore`` …
        checkpoint: Folder with the weights in the backend's own layout.
        device: ``CPU``, ``GPU`` or ``Ascend``, perhaps with an index: ``Ascend:1``.
        dtype: Of weights and computation.
        mode: ``eager`` or ``graph``.
        case: The case folder.
        threads: CPU threads for the framework's kernels; None leaves it to the framework.
        oracle: Whether to write the float64 oracle and the noise floor as well (torch only).
        gradients: Whether to run backward too.
        control: Whether to ask the prompts of the same network with random weights as well.
        factory: ``FILE.py:FUNCTION`` that builds a network of the user's own; else empty.
        taps_file: Where that network's taps are, if the user says so; else empty.
        unit: The matrix unit that an emulation rounds as; else empty.
        attention: One of :data:`ATTENTIONS` that the backend has.
        fault: What to break on purpose before running: ``name``, ``block``, ``severity``; only
            the validator's own test does that.
    """

    backend: str
    checkpoint: str
    device: str
    dtype: str
    mode: str
    case: str
    threads: int | None = None
    oracle: bool = False
    gradients: bool = False
    control: bool = False
    factory: str = ""
    taps_file: str = ""
    unit: str = ""
    attention: str = EAGER
    fault: Mapping[str, Any] | None = None

    def save(self, path: Path) -> None:
        """Write the run as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Run:
        """Read a run that :meth:`save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def tap_kinds(names: Iterable[str]) -> str:
    """Return the names of taps in words, those of all blocks as one: ``block.{i}.scores``."""
    kinds = (".".join("{i}" if p.isdigit() else p for p in name.split(".")) for name in names)
    return ", ".join(dict.fromkeys(kinds))


def hash_array(array: np.ndarray) -> str:
    """Return the sha256 of an array's dtype, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def hash_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return :func:`hash_array` of each."""
    return {name: hash_array(array) for name, array in sorted(arrays.items())}


def save_case(
    folder: Path,
    case: SettledCase,
    inputs: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a case folder: ``case.json``, ``inputs.safetensors`` and, if any, the targets."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(inputs), str(folder / _INPUTS_FILE))
    if targets:
        save_file(dict(targets), str(folder / _TARGETS_FILE))
    text = json.dumps({"schema": 1, **asdict(case)}, indent=2)
    (folder / _CASE_FILE).write_text(text + "\n", encoding="utf-8")


def load_case(folder: Path) -> tuple[SettledCase, dict[str, np.ndarray]]:
    """Read a case folder.

    Returns:
        The case and its input arrays, all int64 of shape (batch, seq).
    """
    content: dict[str, Any] = json.loads((folder / _CASE_FILE).read_text(encoding="utf-8"))
    content.pop("schema")
    content["taps"] = tuple(content["taps"])
    return SettledCase(**content), dict(load_file(str(folder / _INPUTS_FILE)))


def load_targets(folder: Path) -> dict[str, np.ndarray]:
    """Read what the loss of a case is made with (see :mod:`mindport.validate.targets`)."""
    return dict(load_file(str(folder / _TARGETS_FILE)))


def prompts_folder(case_folder: Path) -> Path:
    """Return where a case keeps its prompt plan."""
    return case_folder / _PROMPTS_FOLDER
