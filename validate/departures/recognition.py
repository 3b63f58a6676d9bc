"""Whether an accepted departure is there: which of two functions explains what a run has.

Let ``d`` be what the departure adds to a tap, from the run's own inputs, and ``e`` the error of the
run there without it. The share ``s = sum(e d / v) / sum(d^2 / v)``, with the variance ``v`` that
rounding predicts, is the least-squares estimate of how much of the departure the run shows: 1 if
all, 0 if nothing, with a deviation of ``1 / sqrt(sum(d^2 / v))``. A tap that neither function
explains has another fault and has no say, unless there is no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from mindport.migrate.computation import Activate, Step
from mindport.validate.capture import Capture
from mindport.validate.departures.known import Departure
from mindport.validate.formula.activations import ACTIVATIONS
from mindport.validate.formula.chain import chain_to, inputs_of, run_chain
from mindport.validate.formula.operations import Setting, function_of
from mindport.validate.formula.rounding import Precision, rounding_variance
from mindport.validate.formula.validity import valid_elements
from mindport.validate.metrics import errors_of
from mindport.validate.tolerance import Limits, isolated_limits

Status = Literal["applied", "not-found", "no-effect"]
# A departure that is this many deviations of the share's estimate away from nothing is told from
# it; a smaller one passes as rounding.
_CLEAR = 10.0
# How much larger the variance may be where errors are carried through steps without taps, by step.
_CARRIED = 64.0
_SLACK = 2.0  # a tap is explained within twice the limits that it is judged by
_HELD = 24  # taps that are kept in memory


@dataclass(frozen=True)
class Finding:
    """An accepted departure in one function of the network.

    Attributes:
        departure: Which.
        function: The activation function that rests on it; empty if the network has none.
        status: ``applied`` if the run computes it so; ``not-found`` if it computes the function as
            it is defined; ``no-effect`` if rounding hides the difference. Only what is applied
            changes what the run is held against.
        share: How much of the departure the run shows, 1 for all; None if it has no effect.
        largest: The largest difference that it makes where the function is computed.
        taps: The captured taps that it moves by more than rounding does.
    """

    departure: Departure
    function: str
    status: Status
    share: float | None = None
    largest: float = 0.0
    taps: tuple[str, ...] = ()

    def to_dict(self, last_tap: str, at_last: float | None) -> dict[str, Any]:
        """Return what a verdict says of it.

        Args:
            last_tap: The network's last tap.
            at_last: The largest difference there that all applied departures make together; None
                if none is.
        """
        departure = self.departure
        return {
            "name": departure.name,
            "platform": departure.platform,
            "versions": list(departure.versions),
            "operation": departure.operation,
            "formula": departure.formula,
            "source": departure.source,
            "function": self.function or None,
            "status": self.status,
            "share": self.share,
            "largest": self.largest,
            "taps": list(self.taps),
            "last_tap": last_tap,
            "at_last_tap": at_last if self.status == "applied" else None,
        }


def with_departures(setting: Setting, findings: Sequence[Finding]) -> Setting | None:
    """Return a setting with the functions that a run was found to compute; None if none is."""
    functions = {
        found.function: found.departure.functions[found.function]
        for found in findings
        if found.status == "applied"
    }
    return replace(setting, functions={**ACTIVATIONS, **functions}) if functions else None


def recognise(
    departures: Sequence[Departure],
    candidate: Capture,
    steps: Sequence[Step],
    setting: Setting,
    precision: Precision,
) -> tuple[Finding, ...]:
    """Return what becomes of each accepted departure.

    Args:
        departures: The accepted ones.
        candidate: The judged run.
        steps: Of the head, filled in.
        setting: Config, model inputs and parameters of the reference.
        precision: Of the run.
    """
    used = {
        function_of(step.operation, setting)
        for step in steps
        if isinstance(step.operation, Activate)
    }
    run = _Run(candidate, steps, setting, precision)
    found = []
    for departure in departures:
        names = sorted(used & set(departure.functions))
        found += [run.look_for(departure, name) for name in names]
        if not names:
            found.append(Finding(departure, "", "no-effect"))
    return tuple(found)


@dataclass(frozen=True)
class _Seen:
    """What one tap tells.

    Attributes:
        tap: Its name.
        explained: Whether it is what one of the two functions makes, within rounding.
        shown: Its part of the sum over the errors.
        whole: Its part of the sum over what the departure adds.
        most: The largest difference where the function is computed.
        visible: Whether an element of it moves by more than rounding does.
    """

    tap: str
    explained: bool
    shown: float
    whole: float
    most: float
    visible: bool


class _Run:
    """The judged run, and what its own inputs make of its taps."""

    def __init__(
        self, candidate: Capture, steps: Sequence[Step], setting: Setting, precision: Precision
    ) -> None:
        self._steps, self._setting, self._precision = steps, setting, precision
        stored = candidate.stored_taps

        @lru_cache(_HELD)
        def tap(name: str) -> np.ndarray | None:
            return candidate.tap(name).astype(np.float64) if name in stored else None

        self._tap, self._stored = tap, stored

    def look_for(self, departure: Departure, function: str) -> Finding:
        """Return what becomes of a departure in one function."""
        found: list[_Seen] = []
        for step in self._steps:
            if step.tap not in self._stored:
                continue
            chain = chain_to(step, self._steps, lambda name: name in self._stored)
            places = [member for member in chain if self._computes(member, function)]
            if not places:
                continue
            seen = self._compare(step, chain, places, departure, function)
            if seen is not None:
                found.append(seen)
        largest = max((seen.most for seen in found), default=0.0)
        taps = tuple(seen.tap for seen in found if seen.visible)
        for voters in ([seen for seen in found if seen.explained], found):
            whole = sum(seen.whole for seen in voters)
            if whole >= _CLEAR**2:
                share = sum(seen.shown for seen in voters) / whole
                status: Status = "applied" if share > 0.5 else "not-found"
                return Finding(departure, function, status, share, largest, taps)
        return Finding(departure, function, "no-effect", None, largest, taps)

    def _computes(self, step: Step, function: str) -> bool:
        operation = step.operation
        return isinstance(operation, Activate) and (
            function_of(operation, self._setting) == function
        )

    def _compare(
        self,
        step: Step,
        chain: Sequence[Step],
        places: Sequence[Step],
        departure: Departure,
        function: str,
    ) -> _Seen | None:
        setting, found = self._setting, self._tap(step.tap)
        functions = {**setting.functions, function: departure.functions[function]}
        defined = run_chain(chain, {}, self._tap, setting)
        departed = run_chain(chain, {}, self._tap, replace(setting, functions=functions))
        if found is None or found.shape != defined[step.tap].shape:
            return None
        valid = valid_elements(step, setting.real, found.shape)
        inputs = inputs_of(step, defined, self._tap)
        variance = rounding_variance(step, inputs, defined[step.tap], setting, self._precision)
        if len(chain) > 1:  # the errors of the steps before are carried into it
            variance = variance * _CARRIED * len(chain)
        error = (found - defined[step.tap])[valid]
        added = (departed[step.tap] - defined[step.tap])[valid]
        if not (np.isfinite(error).all() and np.isfinite(added).all()):
            return None
        scaled = added / variance[valid]
        limits = isolated_limits(error.size)
        limits = Limits(_SLACK * limits.rms, _SLACK * limits.peak)
        explained = any(
            errors_of(found, values[step.tap], np.sqrt(variance), valid, limits).ok
            for values in (defined, departed)
        )
        return _Seen(
            tap=step.tap,
            explained=explained,
            shown=float(np.sum(error * scaled)),
            whole=float(np.sum(added * scaled)),
            most=max(self._largest(place, defined, departed) for place in places),
            visible=bool(np.any(added * scaled > 1)),
        )

    def _largest(
        self, place: Step, defined: dict[str, np.ndarray], departed: dict[str, np.ndarray]
    ) -> float:
        apart = np.abs(departed[place.tap] - defined[place.tap])
        valid = valid_elements(place, self._setting.real, apart.shape)
        return float(apart[valid].max(initial=0.0))
