"""A matrix unit, emulated: the network's steps in NumPy, the inputs of products rounded.

No framework takes part. The steps of the architecture file are computed one by one: a product
from rounded inputs in float32, anything else exactly and then rounded to float32 once. In which
order a unit adds is not known and not imitated.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from mindport.migrate.computation import Score, Step
from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.migrate.porting import Prepared, prepare
from mindport.migrate.positions import first_position
from mindport.validate.backend import Identity, LoadReport
from mindport.validate.backends._recomputed_prompts import RecomputedPrompts
from mindport.validate.case import EAGER, Run, SettledCase, emulated
from mindport.validate.emulation.formats import Format
from mindport.validate.emulation.units import DTYPE, UNITS, Unit, find_unit
from mindport.validate.formula.operations import evaluate
from mindport.validate.network import Network, describe_network

FRAMEWORK = "numpy"
DIALECT = "torch"
MODES = ("eager",)
ATTENTIONS = (EAGER,)


def open_session(run: Run, case: SettledCase) -> EmulatedSession:
    """Open the weights.

    Raises:
        MindportError: If no unit is named, or the weights are not those of the network.
        EnvironmentUnavailableError: If another device or dtype is asked for.
    """
    if not run.unit:
        raise MindportError(
            "The backend 'emulated' rounds as a matrix unit does, and none is named.",
            f"Name it with --emulate: {', '.join(UNITS)}.",
        )
    unit = find_unit(run.unit)
    if run.device != "CPU":
        raise EnvironmentUnavailableError(
            f"An emulation computes on the CPU, not on {run.device}.", "Leave out the device."
        )
    if run.dtype != DTYPE:
        raise EnvironmentUnavailableError(
            f"The matrix unit {unit.name} rounds the inputs of {DTYPE} networks, not of "
            f"{run.dtype}.",
            "Leave out the dtype.",
        )
    prepared = prepare(run.checkpoint, case.architecture, head=case.head, to="mindspore")
    return EmulatedSession(unit, prepared, case)


class EmulatedSession:
    """A network whose products are computed as a unit would."""

    def __init__(self, unit: Unit, prepared: Prepared, case: SettledCase) -> None:
        self._unit, self._prepared, self._case = unit, prepared, case
        self._beyond: dict[str, int] = {}
        # The plan is strict: what is missing or has no place has been refused.
        self.load_report = LoadReport(sum(e.action == "ported" for e in prepared.plan.entries))
        self.identity = Identity(
            backend="emulated",
            framework="emulation",
            version=f"of {unit.name} in NumPy {np.__version__}",
            device=emulated(unit.device),
            dtype=DTYPE,
            mode="eager",
            attention="steps of the architecture file",
            details={
                "unit": unit.name,
                "source": list(unit.source),
                "assumed": list(unit.assumed),
                "numpy": np.__version__,
                "python": sys.version.split()[0],
            },
        )

    def forward(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute every tap; see :class:`mindport.validate.backend.Session`."""
        return self._run(inputs, self._case.taps)

    def notes(self) -> Mapping[str, Any]:
        """Return where values were too large for the unit's formats: by tap, how many."""
        return {"beyond_range": self._beyond}

    def prompt_model(self) -> RecomputedPrompts:
        """Return what answers; see :class:`mindport.validate.backend.PromptSession`."""
        plan = self._prepared.plan
        return RecomputedPrompts(
            lambda inputs: self._run(inputs, ("logits",))["logits"],
            plan.head,
            first_position(plan.architecture, plan.config),
        )

    def _run(
        self, inputs: Mapping[str, np.ndarray], wanted: tuple[str, ...]
    ) -> dict[str, np.ndarray]:
        network = describe_network(self._prepared, inputs, DTYPE)
        last_use = {name: n for n, step in enumerate(network.steps) for name in step.inputs}
        live: dict[str, np.ndarray] = {}
        kept: dict[str, np.ndarray] = {}
        for number, step in enumerate(network.steps):
            live[step.tap] = self._compute(step, live, network)
            if step.tap in wanted:
                kept[step.tap] = live[step.tap]
            for name in {*step.inputs, step.tap}:
                if last_use.get(name, number) == number:
                    live.pop(name, None)
        return {name: kept[name] for name in wanted if name in kept}

    def _compute(self, step: Step, live: Mapping[str, np.ndarray], network: Network) -> np.ndarray:
        counted = 0

        def rounded(values: np.ndarray, form: Format) -> np.ndarray:
            nonlocal counted
            narrow = form.round(values, saturate=self._unit.saturates)
            counted += int(np.count_nonzero(np.isfinite(values) & (np.abs(values) > form.largest)))
            return narrow

        def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            with np.errstate(over="ignore", invalid="ignore"):  # what is infinite shows in the tap
                total = rounded(x, self._unit.inputs) @ rounded(y, self._unit.inputs)
            return rounded(total, self._unit.output) if self._unit.output else total

        given = [live[name].astype(np.float64) for name in step.inputs]
        with np.errstate(over="ignore", invalid="ignore"):
            value = evaluate(step, given, network.setting, product)
            if isinstance(step.operation, Score):
                # As frameworks hide a key: with the lowest number.
                shown = network.setting.visible(step.operation.causal)
                value = np.where(shown, value, np.finfo(np.float32).min)
            result = value.astype(np.float32)
        if counted:
            self._beyond[step.tap] = counted
        return result
