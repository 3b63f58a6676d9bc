"""Could the prompts have shown a fault? If not, agreement proves nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.parity.certification import Certification
from mindport.prompts.parity.evidence import Control
from mindport.prompts.parity.protocols import PlanLike, ScoresLike
from mindport.prompts.parity.statistics import lower_limit, upper_limit, wilson_limits


@dataclass(frozen=True)
class Power:
    """Whether a pass of these prompts would mean something.

    Attributes:
        informative: Whether none of the reasons holds.
        reasons: Why not, one sentence each.
        accuracy: Of the reference.
        accuracy_low: The lower end of Wilson's 95 % interval.
        chance: The accuracy of guessing.
        majority: The accuracy of always giving the most frequent true label.
        control_items: How many items the random-weights control answered; 0 if it was not run.
        control_agreement: The share of them on which it agrees with the reference, or None.
        control_upper: The one-sided 95 % Clopper-Pearson upper limit of that, or None.
        agreement_lower: The lower limit of the candidate's agreement on the same items, or None.
    """

    informative: bool
    reasons: tuple[str, ...]
    accuracy: float
    accuracy_low: float
    chance: float
    majority: float
    control_items: int = 0
    control_agreement: float | None = None
    control_upper: float | None = None
    agreement_lower: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, by name."""
        return {**asdict(self), "reasons": list(self.reasons)}


def judge_power(
    plan: PlanLike,
    reference: ScoresLike,
    candidate: ScoresLike,
    found: Certification,
    control: Control | None,
) -> Power:
    """Tell whether the prompts tell a good model from a bad one.

    They do if all of this holds:

    - The lower end of the accuracy's Wilson interval is above chance, and above the share of the
      most frequent label: the reference does the task.
    - At least one label is certified: the error is small beside some margin.
    - The reference agrees with its own network at random weights clearly less than with the
      candidate: the upper limit of the one agreement is below the lower limit of the other,
      both Clopper-Pearson at one-sided 95 %, on the items that the control answered. Asked only
      where a control was run.

    Raises:
        MindportError: If the control does not fit the plan.
    """
    truth = np.asarray(plan.label_indices, np.int64)
    right = int((reference.predictions == truth).sum())
    low = wilson_limits(right, len(truth))[0]
    majority = float(np.bincount(truth).max() / len(truth))
    reasons = []
    for share, what in ((plan.chance, "guessing"), (majority, "always the same label")):
        if not low > share:
            reasons.append(
                f"the reference itself is not clearly better than {what}: accuracy "
                f"{right / len(truth):.3f}, at 95 % confidence {low:.3f} or more, against "
                f"{share:.3f}"
            )
    if not found.certified.any():
        reasons.append("no label is certain: the error exceeds every margin")
    figures: dict[str, Any] = {}
    if control is not None:
        figures = _control_figures(plan, reference, candidate, control)
        if not figures["control_upper"] < figures["agreement_lower"]:
            reasons.append(
                f"random weights agree with the reference on {figures['control_agreement']:.1%} "
                f"of {figures['control_items']} items, not clearly less than the candidate"
            )
    return Power(
        informative=not reasons,
        reasons=tuple(reasons),
        accuracy=right / len(truth),
        accuracy_low=low,
        chance=plan.chance,
        majority=majority,
        **figures,
    )


def _control_figures(
    plan: PlanLike, reference: ScoresLike, candidate: ScoresLike, control: Control
) -> dict[str, Any]:
    total, predictions = len(plan.ids), control.scores.predictions
    items = np.arange(total) if control.items is None else np.asarray(control.items, np.int64)
    known = ((items >= 0) & (items < total)).all() and len(set(items.tolist())) == len(items)
    if not len(items) or len(items) != len(predictions) or not known:
        raise MindportError(
            f"The control scored {len(predictions)} items, but stands for {len(items)} of the "
            f"plan's {total}.",
            "Name the items of a control that ran on some of them, each once.",
        )
    if tuple(control.scores.labels) != tuple(plan.labels):
        raise MindportError(f"The control has other labels: {', '.join(control.scores.labels)}.")
    if control.items is None and control.scores.plan_digest != plan.digest:
        raise MindportError("The control's scores belong to another plan.")
    ours = reference.predictions[items]
    same = int((ours == predictions).sum())
    both = int((ours == candidate.predictions[items]).sum())
    return {
        "control_items": len(items),
        "control_agreement": same / len(items),
        "control_upper": upper_limit(same, len(items)),
        "agreement_lower": lower_limit(both, len(items)),
    }
