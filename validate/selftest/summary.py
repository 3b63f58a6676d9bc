"""What came of the trials: rates for each set of faults, and alarms on correct ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mindport.validate.selftest.running import Outcome
from mindport.validate.selftest.trials import DEVELOPMENT, HELD_OUT_SET

# What the validator is held to on faults that it was not made with.
PLACED_GOAL, NAMED_GOAL = 0.95, 0.85


@dataclass(frozen=True)
class Rates:
    """How many of a set of faults were found, and how well.

    Attributes:
        faults: Trials, each a fault in one architecture.
        detected: In which anything was found wrong.
        placed: In which the right tap was named first.
        named: In which the right cause was named.
        confirmed: In which that cause made the error vanish.
    """

    faults: int
    detected: int
    placed: int
    named: int
    confirmed: int


@dataclass(frozen=True)
class Summary:
    """The self-test as a whole.

    Attributes:
        rates: By set: ``development`` and ``held-out``.
        correct: How many correct ports were tried.
        alarms: How many of them were called wrong.
        largest_use: By dtype, the largest share of its tolerance that a correct port used.
        not_run: Trials that could not run, with the reason; never counted as anything else.
    """

    rates: Mapping[str, Rates]
    correct: int
    alarms: int
    largest_use: Mapping[str, float]
    not_run: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every fault was detected, nothing correct was called wrong, and all ran."""
        held = self.rates.get(HELD_OUT_SET)
        goals = held is None or (
            held.placed >= PLACED_GOAL * held.faults and held.named >= NAMED_GOAL * held.faults
        )
        everything = all(r.detected == r.faults for r in self.rates.values())
        return everything and goals and not self.alarms and not self.not_run


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    """Count the outcomes of trials; severity sweeps are left out of the rates."""
    ran = [outcome for outcome in outcomes if not outcome.not_run]
    rates = {}
    for label in (DEVELOPMENT, HELD_OUT_SET):
        faults = [o for o in ran if o.trial.fault and not o.trial.sweep and _set_of(o) == label]
        if faults:
            rates[label] = Rates(
                faults=len(faults),
                detected=sum(o.detected for o in faults),
                placed=sum(o.placed for o in faults),
                named=sum(o.named for o in faults),
                confirmed=sum(o.named and o.confirmed for o in faults),
            )
    correct = [o for o in ran if o.trial.fault is None]
    use: dict[str, float] = {}
    for outcome in correct:
        dtype = outcome.trial.stage.dtype
        use[dtype] = max(use.get(dtype, 0.0), outcome.used)
    return Summary(
        rates=rates,
        correct=len(correct),
        alarms=sum(o.detected for o in correct),
        largest_use=use,
        not_run=tuple(f"{describe(o)}: {o.not_run}" for o in outcomes if o.not_run),
    )


def _set_of(outcome: Outcome) -> str:
    return HELD_OUT_SET if outcome.trial.held_out else DEVELOPMENT


def describe(outcome: Outcome) -> str:
    """Return a trial in a few words."""
    trial = outcome.trial
    if trial.fault is None:
        stage = trial.stage
        return (
            f"{stage.architecture} {stage.head}, {stage.dtype}, {trial.mode}, seed {stage.seed}, "
            f"{stage.batch} x {stage.length}"
        )
    severity = trial.fault.severity if trial.severity is None else trial.severity
    strong = "" if severity is None else f" at {severity:g}"
    return f"{trial.stage.architecture} {trial.fault.name}{strong}, block {trial.block}"


def to_dict(summary: Summary, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return everything as JSON-ready data."""
    return {
        "ok": summary.ok,
        **asdict(summary),
        "trials": [
            {
                "trial": describe(o),
                "set": None if o.trial.fault is None else _set_of(o),
                "expected_tap": o.expected_tap,
                "expected_cause": o.trial.fault.cause if o.trial.fault else None,
                "tap": o.tap,
                "cause": o.diagnosis.cause if o.diagnosis else None,
                "confirmed": o.confirmed,
                "detail": o.diagnosis.detail if o.diagnosis else None,
                "used": o.used,
                "sweep": o.trial.sweep,
                "not_run": o.not_run or None,
            }
            for o in outcomes
        ],
    }
