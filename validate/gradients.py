"""The gradient of every parameter on both sides, against the float64 gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mindport.migrate.dialect import TORCH, Dialect
from mindport.migrate.expected import Expected
from mindport.validate.gradient_capture import GradientFloor, StoredGradients
from mindport.validate.metrics import rms
from mindport.validate.tolerance import Limits, Size, TolerancePolicy, gradient_limits

_SHOWN = 3


@dataclass(frozen=True)
class GradientResult:
    """How far the gradient of one parameter is from the float64 gradient.

    Attributes:
        parameter: Its name in the source.
        ok: Whether the candidate's error lies within what correct runs show.
        used: Largest share of the allowance that is used: above 1 is outside.
        size: Root mean square of the float64 gradient.
        reference: Root mean square of the reference's error.
        candidate: Of the candidate's error.
        allowed: What that may be.
        peak: The candidate's largest error.
        allowed_peak: What that may be.
        problem: Why it is not ok, in words; empty if it is.
    """

    parameter: str
    ok: bool
    used: float | None
    size: float
    reference: float | None
    candidate: float | None
    allowed: float
    peak: float | None = None
    allowed_peak: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class GradientCheck:
    """The gradient check of a case.

    Attributes:
        loss: The loss of the oracle, the reference and the candidate.
        loss_ok: Whether the candidate's loss lies within what correct runs show.
        parameters: One result per parameter, in network order.
        first_faulty: The first faulty parameter on the way back from the loss; None if none is.
        problem: Why the check failed, in words; empty if it did not.
        summary: What a reader of a passing verdict should know.
    """

    loss: dict[str, float]
    loss_ok: bool
    parameters: tuple[GradientResult, ...]
    first_faulty: str | None
    problem: str
    summary: str

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values for JSON."""
        return asdict(self)


def compare_gradients(
    reference: StoredGradients,
    candidate: StoredGradients,
    expected: Iterable[Expected],
    dialect: Dialect,
    policy: TolerancePolicy,
    *,
    taps_ok: bool,
) -> GradientCheck:
    """Compare the loss and every gradient.

    Args:
        reference: With its oracle and floor.
        candidate: What is judged.
        expected: What the head holds, in network order.
        dialect: The candidate's.
        policy: Chooses the tolerance.
        taps_ok: Whether the forward pass was found to be right.

    Raises:
        ValueError: If the reference has no oracle.
    """
    floor, true_loss = reference.floor, reference.oracle_loss
    if floor is None or true_loss is None:
        raise ValueError("the reference's gradients have no oracle")
    results = tuple(_results(reference, candidate, tuple(expected), dialect, floor, policy))
    loss = {"oracle": true_loss, "reference": reference.loss, "candidate": candidate.loss}
    allowed = _loss_limit(floor, reference.loss, policy)
    error = abs(candidate.loss - (true_loss if policy.derived else reference.loss))
    loss_ok = error <= allowed  # a NaN is not
    wrong = [result for result in results if not result.ok]
    problem = ""
    if not loss_ok:
        at_fault = (
            "though every tap agrees: its own formula is at fault"
            if taps_ok
            else "as the forward pass does"
        )
        problem = (
            f"the loss is {candidate.loss:.7g} and not {true_loss:.7g}, allowed are "
            f"{allowed:.2g}, {at_fault}"
        )
    elif wrong:
        cause = (
            "the forward pass is right, only the backward pass is wrong"
            if taps_ok
            else "the forward pass is wrong already"
        )
        problem = f"{len(wrong)} of {len(results)} gradients are wrong; {cause}: {place(results)}"
    return GradientCheck(
        loss=loss,
        loss_ok=loss_ok,
        parameters=results,
        first_faulty=wrong[-1].parameter if wrong else None,
        problem=problem,
        summary=_summary(results),
    )


def _loss_limit(floor: GradientFloor, loss: float, policy: TolerancePolicy) -> float:
    if policy.atol is not None and policy.rtol is not None:
        return policy.atol + policy.rtol * abs(loss)
    return gradient_limits(
        [Size(run.loss, run.loss) for run in floor.reordered.values()],
        [Size(run.loss, run.loss) for run in floor.disturbed],
        single=True,
    ).rms


def _results(
    reference: StoredGradients,
    candidate: StoredGradients,
    expected: Sequence[Expected],
    dialect: Dialect,
    floor: GradientFloor,
    policy: TolerancePolicy,
) -> Iterator[GradientResult]:
    names = {item.spell(TORCH): item.spell(dialect) for item in expected}
    for item in expected:
        source, target = item.spell(TORCH), item.spell(dialect)
        absent = [
            side
            for side, found, name in (
                ("reference", reference.names, source),
                ("candidate", candidate.names, target),
            )
            if name not in found
        ]
        if absent:
            yield _failed(source, f"it has no gradient on the {' and the '.join(absent)} side")
            continue
        found = candidate.gradient(target)
        if found.shape != item.shape(dialect):
            shapes = f"{list(found.shape)} and not {list(item.shape(dialect))}"
            yield _failed(source, f"the shape of its gradient is {shapes}")
            continue
        found = dialect.operation(item.parameter).inverse().apply(found)
        yield _compare(source, reference, found, floor, policy)
    for side, have, known in (
        ("reference", reference.names, set(names)),
        ("candidate", candidate.names, set(names.values())),
    ):
        for name in sorted(have - known):
            yield _failed(name, f"the {side} has a gradient of it, but the head no such parameter")


def _failed(name: str, problem: str, size: float = 0.0) -> GradientResult:
    return GradientResult(name, False, None, size, None, None, 0.0, problem=problem)


def _compare(
    name: str,
    reference: StoredGradients,
    found: np.ndarray,
    floor: GradientFloor,
    policy: TolerancePolicy,
) -> GradientResult:
    ours, true = reference.gradient(name), reference.oracle(name)
    bad = [
        f"{int(np.count_nonzero(~np.isfinite(array)))} on the {side} side"
        for side, array in (("reference", ours), ("candidate", found))
        if not np.isfinite(array).all()
    ]
    if bad:
        return _failed(name, f"values that are NaN or infinite: {', '.join(bad)}", rms(true))
    errors = found - true
    error = Size(rms(errors), float(np.abs(errors).max(initial=0.0)))
    limits = gradient_limits(
        [Size(run.rms[name], run.peak[name]) for run in floor.reordered.values()],
        [Size(run.rms[name], run.peak[name]) for run in floor.disturbed],
    )
    if policy.derived:
        used = max(_share(error.rms, limits.rms), _share(error.peak, limits.peak))
    else:
        used = float(policy.used(ours, found).max(initial=0.0))
    ok = used <= 1.0
    return GradientResult(
        parameter=name,
        ok=ok,
        used=used,
        size=rms(true),
        reference=rms(ours - true),
        candidate=error.rms,
        allowed=limits.rms,
        peak=error.peak,
        allowed_peak=limits.peak,
        problem="" if ok else _too_far(error, limits, rms(true), used, policy),
    )


def _share(error: float, allowed: float) -> float:
    """Return which share of an allowance is used; where nothing is allowed, nothing may be."""
    if not error:
        return 0.0
    return error / allowed if allowed else math.inf


def _too_far(error: Size, limits: Limits, size: float, used: float, policy: TolerancePolicy) -> str:
    if not policy.derived:
        return f"{used:.3g} times the tolerance"
    return (
        f"it is {error.rms:.2g} (rms) from the float64 gradient of {size:.2g}, at most "
        f"{error.peak:.2g}; allowed are {limits.rms:.2g} and {limits.peak:.2g}"
    )


def place(results: Sequence[GradientResult]) -> str:
    """Say where the backward pass goes wrong, from which gradients are right.

    Args:
        results: In network order, at least one of them not ok.
    """
    wrong = [i for i, result in enumerate(results) if not result.ok]
    last = wrong[-1]
    name = results[last].parameter
    said = f"{name}: {results[last].problem}"
    if len(wrong) < len(results) and len({_owner(results[i].parameter) for i in wrong}) == 1:
        return f"{said}; what flows back through it is right, its own gradient alone is not"
    behind = len(results) - 1 - last
    if not behind:
        return f"{said}; no gradient behind it is there to tell the loss from its own backward"
    earlier = f"{len(wrong) - 1} of the {last} before it are wrong"
    here, there = _block(name), _block(results[last + 1].parameter)
    where = f"in the backward of {_named(here, name)}"
    if here != there and there is not None:
        where += f", at its end, or where {_named(there, '')} hands back to it"
    return (
        f"{said}; the {behind} parameters behind it, towards the loss, are right and {earlier}: "
        f"the fault lies {where}"
    )


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _block(name: str) -> int | None:
    """Return the number of the block that a parameter belongs to."""
    return next((int(part) for part in name.split(".") if part.isdigit()), None)


def _named(block: int | None, name: str) -> str:
    return f"block {block}" if block is not None else _owner(name)


def _summary(results: Sequence[GradientResult]) -> str:
    worst = max(results, key=lambda result: result.used or 0.0)
    return (
        f"the loss and all {len(results)} gradients agree, none uses more than "
        f"{worst.used or 0.0:.0%} of its tolerance"
    )
