"""Two captures that answered one plan: do they answer alike?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts import Plan, PromptParity, compare_scores, score_rows
from mindport.prompts.parity import LEVELS, Answers, Control, Floor, Level, Loads, Requirements
from mindport.validate.capture import Capture
from mindport.validate.metrics import rms
from mindport.validate.tolerance import SAFETY, TolerancePolicy
from mindport.validate.verdict import TapResult

# What correct ports used of these shares of a logit's size was at most a quarter; a comparison
# without an oracle has nothing better.
ROW_SHARES = {"float32": 4e-5, "float16": 4e-2, "bfloat16": 3.2e-1}


def compare_prompts(
    plan: Plan,
    reference: Capture,
    candidate: Capture,
    *,
    loads: Loads,
    atol: float,
    rtol: float = 0.0,
) -> PromptParity:
    """Return whether both sides answered the prompts alike.

    Args:
        plan: What they were asked.
        reference: The reference's capture, with rows, floor and control.
        candidate: The candidate's.
        loads: What became of the weights.
        atol: How far a logit may be off.
        rtol: The same as a share of the greatest logit.

    Raises:
        MindportError: If a capture's rows do not belong to the plan.
    """
    answers = []
    for side, capture in (("reference", reference), ("candidate", candidate)):
        rows = capture.rows()
        record = capture.manifest.prompts
        if record is None or record.plan != plan.digest:
            raise MindportError(f"The {side} answered another plan.", "Run both on one plan.")
        try:
            answers.append(Answers(score_rows(plan, rows), rows))
        except MindportError as error:  # rows that are not numbers are the port's fault
            return _broken(plan, loads, f"the {side}: {error.message}")
    return compare_scores(
        plan,
        *answers,
        loads=loads,
        requirements=Requirements(atol=atol, rtol=rtol),
        floor=_floor(reference),
        control=_control(plan, reference) or _control(plan, candidate),
    )


def row_tolerance(
    capture: Capture, policy: TolerancePolicy, taps: Sequence[TapResult]
) -> tuple[float, float]:
    """Return atol and rtol of prompt rows: what the logits of the case may be off, at their size.

    The oracle does not run the prompts; rounding errors are in proportion to the logits, and so is
    what an accepted departure adds. It widens this tolerance alone: labels are certified by how far
    the rows really are apart.
    """
    if policy.atol is not None and policy.rtol is not None:
        return policy.atol, policy.rtol
    logits = next(tap for tap in taps if tap.name == "logits")
    if logits.accumulated is None or logits.deviation is None or logits.facts is None:
        return 0.0, 0.0  # the verdict has failed already
    size = logits.facts.reference_rms or 1.0
    # Rows of one side are compared with the other's; in one dtype its own errors are as small.
    apart = logits.deviation if logits.apart is None else logits.apart
    allowed = logits.accumulated.candidate.limit_peak * apart
    share = (allowed + SAFETY * (logits.departure or 0.0)) / size
    return share * rms(_sample(capture)), 0.0


def usual_tolerance(capture: Capture) -> float:
    """Return the atol of prompt rows where nothing but their size and dtype is known."""
    return ROW_SHARES[capture.manifest.identity.dtype] * rms(_sample(capture))


def _sample(capture: Capture) -> np.ndarray:
    """Return rows that stand for all; a memory map may be larger than the memory."""
    record = capture.manifest.prompts
    rows = capture.floor_rows() if record and record.floor_items else capture.rows()[:16]
    return np.asarray(rows, np.float64)


def _floor(capture: Capture) -> Floor | None:
    record = capture.manifest.prompts
    if record is None or not record.floor_items:
        return None
    return Floor(record.floor_items, capture.floor_rows())


def _control(plan: Plan, capture: Capture) -> Control | None:
    record = capture.manifest.prompts
    if record is None or not record.control_items:
        return None
    kept = tuple(item for item in record.control_items if item < len(plan))
    scores = score_rows(plan.subset(kept), capture.control_rows())
    return Control(scores, kept)


def _broken(plan: Plan, loads: Loads, finding: str) -> PromptParity:
    found = {
        "load": Level("load", loads.clean, loads.finding, {"clean": loads.clean}),
        "rows": Level("rows", False, finding, {}),
    }
    levels = tuple(found.get(name, Level(name, None, "not reached", {})) for name in LEVELS)
    first = next(level for level in levels if level.ok is False)
    return PromptParity(
        status="fail",
        headline=f"{first.name}: {first.finding}",
        items=len(plan),
        levels=levels,
        power=None,
        flips=(),
        notices=(),
        certification=None,
    )
