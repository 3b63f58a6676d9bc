"""The gradients of one run on disk, and what correct runs of its dtype may be off.

Beside the taps lie ``gradients.safetensors`` with the run's gradients by its own names, and
``gradients.json`` with the loss; the reference adds ``oracle-gradients.safetensors`` in float64 and
the floor.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from mindport.validate.backend import GradientRun
from mindport.validate.metrics import rms

_RECORD = "gradients.json"
_GRADIENTS = "gradients.safetensors"
_ORACLE = "oracle-gradients.safetensors"
# A run in another order whose loss is so many times further off than any other computes something
# else.
_OTHER = 1000.0


class OrderError(AssertionError):
    """A reordered run does not compute the same: a bug of ours, which would excuse anything."""


@dataclass(frozen=True)
class Deviation:
    """How far a correct run is from the oracle.

    Attributes:
        loss: Absolute error of the loss.
        rms: By parameter, the root mean square of the error of its gradient.
        peak: By parameter, its largest absolute error.
    """

    loss: float
    rms: Mapping[str, float]
    peak: Mapping[str, float]


@dataclass(frozen=True)
class GradientFloor:
    """How far correct runs are from the oracle.

    Attributes:
        reordered: Runs of the dtype in several orders, by name.
        disturbed: Runs of Monte Carlo arithmetic, alike but for their random numbers.
    """

    reordered: Mapping[str, Deviation]
    disturbed: tuple[Deviation, ...]


@dataclass(frozen=True)
class Oracle:
    """The truth.

    Attributes:
        loss: In float64.
        gradients: By parameter, float64.
        floor: How far correct runs are from it.
    """

    loss: float
    gradients: Mapping[str, np.ndarray]
    floor: GradientFloor


def measure(
    runs: Iterable[GradientRun], loss: float, gradients: Mapping[str, np.ndarray]
) -> Oracle:
    """Hold correct runs against the first, which is the oracle.

    Args:
        runs: As :meth:`mindport.validate.backend.GradientReference.gradient_runs` yields them; one
            is in memory at a time.
        loss: Of the run as fed.
        gradients: Of the run as fed.

    Raises:
        OrderError: If a reordered run does not compute the same.
    """
    following = iter(runs)
    oracle = next(following)
    reordered = {"as fed": _deviation(loss, gradients, oracle)}
    disturbed = []
    for run in following:
        found = _deviation(run.loss, run.gradients, oracle)
        if run.kind == "reordered":
            reordered[run.name] = found
        else:
            disturbed.append(found)
    usual = max(reordered["as fed"].loss, *(run.loss for run in disturbed))
    for name, found in reordered.items():
        if found.loss > _OTHER * usual:
            raise OrderError(f"{name}: the loss is off by {found.loss:.3g}, usual is {usual:.3g}")
    return Oracle(oracle.loss, oracle.gradients, GradientFloor(reordered, tuple(disturbed)))


def _deviation(loss: float, gradients: Mapping[str, np.ndarray], oracle: GradientRun) -> Deviation:
    errors = {name: gradients[name] - true for name, true in oracle.gradients.items()}
    return Deviation(
        abs(loss - oracle.loss),
        {name: rms(error) for name, error in errors.items()},
        {name: float(np.abs(error).max(initial=0.0)) for name, error in errors.items()},
    )


class StoredGradients:
    """The gradients of a run; arrays are read when asked for.

    Args:
        folder: The capture that holds them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        content: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        self.loss: float = content["loss"]
        self.oracle_loss: float | None = content["oracle_loss"]
        self.floor: GradientFloor | None = None
        if content["floor"] is not None:
            floor = content["floor"]
            self.floor = GradientFloor(
                {name: Deviation(**found) for name, found in floor["reordered"].items()},
                tuple(Deviation(**found) for found in floor["disturbed"]),
            )
        with safe_open(str(folder / _GRADIENTS), framework="numpy") as file:
            self.names = frozenset(file.keys())

    def gradient(self, name: str) -> np.ndarray:
        """Return the float32 gradient of a parameter, by the run's own name."""
        return _read(self._folder / _GRADIENTS, name)

    def oracle(self, name: str) -> np.ndarray:
        """Return the float64 gradient of a parameter."""
        return _read(self._folder / _ORACLE, name)


def _read(path: Path, name: str) -> np.ndarray:
    with safe_open(str(path), framework="numpy") as file:
        array: np.ndarray = file.get_tensor(name)
    return array


def save_gradients(
    folder: Path, loss: float, gradients: Mapping[str, np.ndarray], oracle: Oracle | None
) -> None:
    """Write the gradients of a run into its capture.

    Args:
        folder: The capture.
        loss: Of the run.
        gradients: Of the run, float32, by its own names.
        oracle: What the reference knows besides.
    """
    files: dict[str, Mapping[str, np.ndarray]] = {_GRADIENTS: gradients}
    if oracle is not None:
        files[_ORACLE] = oracle.gradients
    for file, arrays in files.items():
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, str(folder / file))
    record = {
        "loss": loss,
        "oracle_loss": oracle.loss if oracle else None,
        "floor": asdict(oracle.floor) if oracle else None,
    }
    (folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
