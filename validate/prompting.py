"""The prompt check of a case: what is asked, and how far the answers may differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.migrate.porting import Prepared
from mindport.prompts import (
    Plan,
    PromptParity,
    PromptTokenizer,
    compare_scores,
    load_task,
    make_plan,
    score_rows,
)
from mindport.validate.capture import Capture
from mindport.validate.metrics import rms
from mindport.validate.tolerance import TolerancePolicy
from mindport.validate.verdict import TapResult


def plan_prompts(task: str, prepared: Prepared, limit: int | None) -> Plan:
    """Return what both sides are to be asked.

    Args:
        task: A prompt task's name or file.
        prepared: The plan of the reference's port.
        limit: At most so many items.

    Raises:
        MindportError: If the head predicts no words, or task or tokenizer cannot be read.
    """
    plan, head = prepared.plan, prepared.plan.head
    if not head.prompts:
        able = [h.name for h in plan.architecture.heads.values() if h.prompts]
        raise MindportError(
            f"The head {head.name!r} predicts no words, so it cannot answer prompts.",
            f"Use a checkpoint with the head {' or '.join(map(repr, able))}.",
        )
    tokenizer = PromptTokenizer.from_folder(
        prepared.source.folder, vocab_size=plan.config["vocab_size"]
    )
    return make_plan(
        load_task(task),
        tokenizer,
        architecture_shape=head.prompts,
        max_length=plan.config[plan.architecture.positions],
        limit=limit,
    )


def compare_prompts(
    plan: Plan,
    reference: Capture,
    candidate: Capture,
    policy: TolerancePolicy,
    taps: Sequence[TapResult],
) -> PromptParity:
    """Return whether both sides answered the prompts alike.

    Args:
        plan: What they were asked.
        reference: The reference's capture, with rows.
        candidate: The candidate's.
        policy: How the tolerance is chosen.
        taps: Results of the case, with one of ``logits``.
    """
    rows = reference.rows()
    atol, rtol = _row_tolerance(rows, policy, taps)
    return compare_scores(
        plan, score_rows(plan, rows), score_rows(plan, candidate.rows()), atol=atol, rtol=rtol
    )


def _row_tolerance(
    rows: np.ndarray, policy: TolerancePolicy, taps: Sequence[TapResult]
) -> tuple[float, float]:
    """Return the tolerance of prompt rows: what the logits of the case may be off, at their size.

    The oracle does not run the prompts; rounding errors are in proportion to the logits.
    """
    if policy.atol is not None and policy.rtol is not None:
        return policy.atol, policy.rtol
    logits = next(tap for tap in taps if tap.name == "logits")
    if logits.accumulated is None or logits.deviation is None or logits.facts is None:
        return 0.0, 0.0  # the verdict has failed already
    size = logits.facts.reference_rms or 1.0
    share = logits.accumulated.candidate.limit_peak * logits.deviation / size
    return share * rms(rows), 0.0
