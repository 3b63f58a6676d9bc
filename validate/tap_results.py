"""Two captures in, one result per tap out. Pure NumPy: no framework, no process."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np

from mindport.migrate.computation import Score, Softmax, Step
from mindport.validate.capture import Capture
from mindport.validate.case import SDPA
from mindport.validate.expectation import Expected, expect, tap_reader
from mindport.validate.formula.operations import Setting
from mindport.validate.formula.recompute import Recomputed, Tap, View
from mindport.validate.formula.validity import visible_keys
from mindport.validate.metrics import Errors, errors_of, rms, whole_index
from mindport.validate.pairs.facts import PairFacts, compare_streams
from mindport.validate.tolerance import (
    Limits,
    TolerancePolicy,
    accumulated_limits,
    isolated_limits,
)
from mindport.validate.verdict import Both, TapResult

# A key is hidden from a query if its score lies so far below the best that its weight is nothing.
_HIDDEN = {"float32": 40.0, "float16": 18.0, "bfloat16": 40.0}
# The oracle and the formula are both float64; what is further apart is not the same network.
_SAME = 1e-6


class FormulaError(AssertionError):
    """The formula and the oracle disagree: a bug of ours, which no verdict may hide."""


def compare_captures(
    reference: Capture,
    candidate: Capture,
    steps: Sequence[Step],
    setting: Setting,
    policy: TolerancePolicy,
    *,
    required: Collection[str],
    details: Collection[str] = (),
    views: Iterable[Expected] | None = None,
) -> Iterator[TapResult]:
    """Compare every tap that a step makes, in network order.

    Args:
        reference: What is held to be right, with its oracle.
        candidate: What is judged.
        steps: Of the head, filled in.
        setting: Config, model inputs and parameters, in the candidate's dtype.
        policy: Chooses the tolerance of each tap.
        required: Taps that the candidate must have; one that it lacks is a failure.
        details: Taps that lie inside a block or head.
        views: What the taps should be; by default they are recomputed, with the parameters and the
            functions that both sides share.

    Raises:
        FormulaError: If the formula is not that of the oracle.
    """
    sides = {"reference": tap_reader(reference), "candidate": tap_reader(candidate)}
    asked = set(reference.manifest.taps)
    if views is None:
        views = expect(reference, candidate, steps, setting, policy)
    for item in views:
        step, name = item.candidate.step, item.candidate.step.tap
        found = {side: read(name) for side, read in sides.items()}
        if name not in asked and found["candidate"] is None:
            continue
        absent = [side for side, array in found.items() if array is None]
        if absent == ["candidate"] and name not in required:
            continue
        if absent == ["reference"] and _is_fused(step, reference):
            continue
        if absent:
            problem = f"not captured on the {' and the '.join(absent)} side"
            yield TapResult(
                name, (), ok=False, detail=name in details, own_fault=True, problem=problem
            )
            continue
        yield _compare(item, reference, candidate, sides, setting, policy, detail=name in details)


def _is_fused(step: Step, capture: Capture) -> bool:
    """Return whether an attention in one kernel keeps what a step makes to itself."""
    inside = isinstance(step.operation, (Score, Softmax))
    return inside and capture.manifest.identity.attention == SDPA


def _compare(
    item: Expected,
    reference: Capture,
    candidate: Capture,
    sides: Mapping[str, Tap],
    setting: Setting,
    policy: TolerancePolicy,
    *,
    detail: bool,
) -> TapResult:
    ours, theirs = item.reference, item.candidate
    name, valid = theirs.step.tap, theirs.valid
    r, c = sides["reference"](name), sides["candidate"](name)
    if r is None or c is None:
        raise FormulaError(f"{name} was there and is not")
    if r.shape != c.shape:
        problem = f"shapes differ: {list(r.shape)} and {list(c.shape)}"
        return TapResult(name, r.shape, ok=False, detail=detail, own_fault=True, problem=problem)
    if not valid.any() or r.size == 0:
        problem = "there is nothing in it"
        return TapResult(name, r.shape, ok=False, detail=detail, own_fault=True, problem=problem)
    facts = compare_streams(
        reference.stored_tap(name),
        candidate.stored_tap(name),
        # Values of two short formats are values of float32, if not of each other.
        dtype="float32" if policy.mixed else policy.dtype,
        valid=valid,
    )
    problem = _nonfinite_problem(facts) or _mask_problem(theirs.step, c, setting, policy.dtype)
    if facts.finite < facts.compared:
        return TapResult(
            name, r.shape, ok=False, detail=detail, own_fault=True, problem=problem, facts=facts
        )
    _check_formula(ours, reference.oracle(name))
    accumulated = _accumulated(item, r, c, reference)
    isolated = _isolated(item, r, c)
    if policy.derived:
        used = max(accumulated.candidate.used, isolated.candidate.used if isolated else 0.0)
        within = _within(c, theirs.accumulated, valid, accumulated.candidate.limit_peak)
        worst = accumulated.candidate.worst_index
    else:
        shares = policy.used(r, c)[valid]
        used = float(shares.max())
        within = float(np.count_nonzero(shares <= 1.0) / shares.size)
        worst = whole_index(valid, np.unravel_index(int(np.argmax(shares)), shares.shape))
    own_fault = bool(problem) or (isolated is not None and not isolated.candidate.ok)
    if not problem and not used <= 1.0:
        problem = _too_large(used, facts, accumulated, isolated, policy)
    return TapResult(
        name=name,
        shape=r.shape,
        ok=not problem,
        detail=detail,
        used=used,
        within=within,
        worst_index=worst,
        deviation=rms(theirs.accumulated.deviation[valid]),
        departure=item.departure,
        accumulated=accumulated,
        isolated=isolated,
        facts=facts,
        own_fault=own_fault,
        problem=problem,
        apart=item.apart,
    )


def _accumulated(item: Expected, r: np.ndarray, c: np.ndarray, reference: Capture) -> Both:
    rows, elements = _rows(item), int(np.count_nonzero(item.valid)) * _inner(item)
    ours, theirs = item.reference.accumulated, item.candidate.accumulated
    fed = _errors(r, ours, item.valid, isolated_limits(elements))
    # What reordering does to the reference, in the same units.
    name, floor = item.step.tap, fed.rms
    own = reference.manifest.floor.get("as fed", {}).get(name, 0.0)
    for run in reference.manifest.floor.values():
        if own and name in run:
            floor = max(floor, fed.rms * run[name] / own)
    limits = accumulated_limits(elements, rows, item.copies, floor)
    allowed = accumulated_limits(elements, rows, item.copies, 1.0) if item.mixed else limits
    return Both(
        _errors(r, ours, item.valid, limits),
        _errors(c, theirs, item.valid, allowed),
    )


def _isolated(item: Expected, r: np.ndarray, c: np.ndarray) -> Both | None:
    ours = item.reference.isolated.get("reference")
    theirs = item.candidate.isolated.get("candidate")
    if ours is None or theirs is None:
        return None
    elements = int(np.count_nonzero(item.valid)) * _inner(item)
    limits = isolated_limits(elements)
    own = _errors(r, ours, item.valid, limits)
    # A reference whose own kernel is worse than predicted excuses the same in the candidate, unless
    # it computes in another dtype: then it says nothing about the candidate's.
    worse = 1.0 if item.mixed else max(1.0, own.rms)
    if not theirs.direct:
        limits = accumulated_limits(elements, _rows(item), item.copies, worse)
    else:
        limits = Limits(limits.rms * worse, limits.peak * worse)
    return Both(own, _errors(c, theirs, item.valid, limits))


def _errors(found: np.ndarray, view: View, valid: np.ndarray, limits: Limits) -> Errors:
    return errors_of(found, view.expected, view.deviation, valid, limits)


def _rows(item: Expected) -> int:
    """Return how many tokens (or sequences, where they are pooled) are compared."""
    per_position = item.valid.any(axis=tuple(range(2, item.valid.ndim)))
    return int(np.count_nonzero(per_position))


def _inner(item: Expected) -> int:
    """Return how many elements stand behind each entry of ``valid``."""
    return int(np.prod(item.shape[item.valid.ndim :], dtype=np.int64))


def _within(found: np.ndarray, view: View, valid: np.ndarray, peak: float) -> float:
    inside = np.abs((found - view.expected)[valid]) <= peak * view.deviation[valid]
    return float(np.count_nonzero(inside) / inside.size)


def _check_formula(item: Recomputed, oracle: np.ndarray) -> None:
    apart = rms((item.accumulated.expected - oracle)[item.valid])
    if not apart <= _SAME * (rms(oracle[item.valid]) + 1e-30):
        raise FormulaError(
            f"the formula of {item.step.tap} is {apart:.3g} (rms) from the float64 run; the "
            "architecture file's steps do not describe this network"
        )


def _nonfinite_problem(facts: PairFacts) -> str:
    found = []
    for side in ("reference", "candidate"):
        counts = getattr(facts, side)
        infinite = counts.positive_infinite + counts.negative_infinite
        parts = [f"{n} {what}" for n, what in ((counts.nan, "NaN"), (infinite, "infinite")) if n]
        if parts:
            first = list(counts.first_nonfinite)
            found.append(f"{' and '.join(parts)} on the {side} side, first at {first}")
    return f"values that are NaN or infinite: {'; '.join(found)}" if found else ""


def _mask_problem(step: Step, scores: np.ndarray, setting: Setting, dtype: str) -> str:
    """Return what is wrong with the keys that a query must not see, or nothing."""
    if not isinstance(step.operation, Score):
        return ""
    shown = visible_keys(setting.real, step.operation.causal)
    queries = setting.real[:, None, :, None]
    best = np.where(shown, scores, -np.inf).max(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        seen = ~(scores < best - _HIDDEN[dtype]) & ~shown & queries
    count = int(np.count_nonzero(seen))
    if not count:
        return ""
    hidden = int(np.count_nonzero(np.broadcast_to(~shown & queries, scores.shape)))
    return f"{count} of {hidden} keys that must be hidden are seen"


def _too_large(
    used: float, facts: PairFacts, accumulated: Both, isolated: Both | None, policy: TolerancePolicy
) -> str:
    if not policy.derived:
        return f"{used:.3g} times the tolerance (max abs {facts.max_abs:.3g})"
    alone = isolated.candidate if isolated else None
    if alone is not None and not alone.ok:
        return (
            f"from its own inputs it is off by {alone.absolute:.2g} (rms), {alone.rms:.3g} times "
            f"the deviation that rounding predicts, at most {alone.peak:.3g} times; allowed are "
            f"{alone.limit_rms:.2g} and {alone.limit_peak:.3g}"
        )
    whole = accumulated.candidate
    return (
        f"it is {whole.absolute:.2g} (rms) from the float64 oracle, {whole.rms:.3g} times the "
        f"deviation that rounding predicts, at most {whole.peak:.3g} times; allowed are "
        f"{whole.limit_rms:.2g} and {whole.limit_peak:.3g}"
    )


def first_fault(results: Sequence[TapResult]) -> TapResult | None:
    """Return the first tap, in network order, that is at fault.

    A tap that is wrong although its own inputs explain it is only a consequence: if any tap is
    wrong from its own inputs, the first such one counts.
    """
    wrong = [result for result in results if not result.ok]
    own = (result for result in wrong if result.own_fault)
    return next(own, wrong[0] if wrong else None)
