"""Where a fault of the weights is done: the parameters of a step, found by its tap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mindport.migrate.architecture import Architecture, Head, Kind
from mindport.migrate.computation import Lookup, Norm, Project, Score, Step, network_steps
from mindport.migrate.config import resolve_config
from mindport.migrate.dialect import MINDSPORE
from mindport.migrate.expected import is_tied
from mindport.validate.faults.fault import Place, tap_name


@dataclass
class WeightSite:
    """The weights of a ported checkpoint, in MindSpore's layout, for a fault to change.

    Attributes:
        architecture: What was ported.
        head: Its head.
        config: The contents of ``config.json``; a fault may change them too.
        tensors: Parameters by name; a fault replaces arrays and never writes into one.
        block: The block that is to be broken.
        severity: How much; None if the fault knows no degrees.
        rng: For faults that draw something.
        tap: Where the fault first shows, the default of every ``place``.
    """

    architecture: Architecture
    head: Head
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]
    block: int
    severity: float | None
    rng: np.random.Generator
    tap: Place = ""

    @property
    def resolved(self) -> Mapping[str, Any]:
        """The config with upstream's defaults filled in."""
        return resolve_config(self.architecture, self.config)

    @property
    def layers(self) -> int:
        """How many blocks there are."""
        return int(self.resolved[self.architecture.layers])

    @property
    def heads(self) -> int:
        """How many attention heads there are."""
        operations = (step.operation for step in self.head.steps)
        field = next(o.heads for o in operations if isinstance(o, Score))
        return int(self.resolved[field])

    @property
    def amount(self) -> float:
        """The severity, of a fault that has one."""
        if self.severity is None:
            raise ValueError(f"The fault at {self.tap} needs a severity.")
        return self.severity

    def at_block(self, block: int) -> WeightSite:
        """Return the same tensors with another block as the chosen one."""
        return replace(self, block=block % self.layers)

    def step(self, place: Place = "") -> Step:
        """Return the step that makes the tap of a place."""
        wanted = tap_name(place or self.tap, self.architecture.name, self.block)
        return next(s for s in network_steps(self.head.steps, self.layers) if s.tap == wanted)

    def name(self, module: str, kind: Kind) -> str:
        """Return the name under which a parameter is stored; a tied one's is its owner's."""
        for tied in self.head.tied:
            if (tied.parameter.module, tied.parameter.kind) == (module, kind) and is_tied(
                tied, self.resolved
            ):
                return MINDSPORE.spell(tied.to, tied.to_kind)
        own = (*self.head.parameters, *(tied.parameter for tied in self.head.tied))
        prefix = "" if any(p.module == module for p in own) else self.head.prefix
        return MINDSPORE.spell(prefix + module, kind)

    def matrix(self, place: Place = "") -> np.ndarray:
        """Return a copy of the matrix of a projection, ``(out, in)``."""
        operation = self._operation(place, Project)
        stored = self.tensors[self.name(operation.module, operation.kind)]
        return stored[_rows(stored, operation)].copy()

    def set_matrix(self, array: np.ndarray, place: Place = "") -> None:
        """Replace the matrix of a projection, ``(out, in)``."""
        operation = self._operation(place, Project)
        self._put(self.name(operation.module, operation.kind), array, operation)

    def bias(self, place: Place = "") -> np.ndarray:
        """Return a copy of the bias of a projection, ``(out,)``."""
        operation = self._operation(place, Project)
        stored = self.tensors[self.name(operation.bias, Kind.BIAS)]
        return stored[_rows(stored, operation)].copy()

    def set_bias(self, array: np.ndarray, place: Place = "") -> None:
        """Replace the bias of a projection, ``(out,)``."""
        operation = self._operation(place, Project)
        self._put(self.name(operation.bias, Kind.BIAS), array, operation)

    def norm(self, place: Place = "") -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the scale and the shift of a norm, each ``(width,)``."""
        module = self._operation(place, Norm).module
        scale, shift = (self.name(module, kind) for kind in (Kind.NORM_WEIGHT, Kind.NORM_BIAS))
        return self.tensors[scale].copy(), self.tensors[shift].copy()

    def set_norm(self, scale: np.ndarray, shift: np.ndarray, place: Place = "") -> None:
        """Replace the scale and the shift of a norm, each ``(width,)``."""
        module = self._operation(place, Norm).module
        self._put(self.name(module, Kind.NORM_WEIGHT), scale)
        self._put(self.name(module, Kind.NORM_BIAS), shift)

    def table(self, ids: str, place: Place = "") -> np.ndarray:
        """Return a copy of the embedding table that an input looks up, ``(rows, width)``."""
        return self.tensors[self._table_name(ids, place)].copy()

    def set_table(self, ids: str, array: np.ndarray, place: Place = "") -> None:
        """Replace the embedding table that an input looks up, ``(rows, width)``."""
        self._put(self._table_name(ids, place), array)

    def _table_name(self, ids: str, place: Place) -> str:
        tables = self._operation(place, Lookup).tables
        return self.name(next(m for m, name in tables if name == ids), Kind.EMBEDDING)

    def _operation(self, place: Place, kind: type[Any]) -> Any:
        step = self.step(place)
        if not isinstance(step.operation, kind):
            raise TypeError(f"{step.tap} is made by {step.operation}, not by a {kind.__name__}.")
        return step.operation

    def _put(self, name: str, array: np.ndarray, part_of: Project | None = None) -> None:
        stored = self.tensors[name].copy()
        rows = slice(None) if part_of is None else _rows(stored, part_of)
        if stored[rows].shape != array.shape:  # assignment would broadcast without a word
            raise ValueError(f"{name} takes {stored[rows].shape}, not {array.shape}.")
        stored[rows] = array
        self.tensors[name] = stored


def _rows(stored: np.ndarray, operation: Project) -> slice:
    number, count = operation.part
    size = len(stored) // count
    return slice(number * size, (number + 1) * size)
