"""Do two models answer alike? Errors against margins, item by item."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.plan import Plan
from mindport.prompts.score import Scores

# Means, differences and logarithms of a handful of float64 numbers are off by a few units in the
# last place of the largest of them.
_ROUNDING = 16 * np.finfo(np.float64).eps
_TEXT_SHOWN = 80
# Two label logits can approach each other by this many times the error of one.
_GAP = 2.0


@dataclass(frozen=True)
class Flip:
    """An item that the two sides label differently.

    Attributes:
        id: The item's id.
        text: Its text, shortened.
        label: Its true label.
        reference: The reference's label.
        candidate: The candidate's label.
        margin: The reference's winner above its runner-up.
        error: The greatest difference of a label word's logit.
        explained: Whether the margin is at most twice the error. If not, the scores contradict
            the logits, which is a fault of the comparison and not of the port.
    """

    id: str
    text: str
    label: str
    reference: str
    candidate: str
    margin: float
    error: float
    explained: bool


@dataclass(frozen=True)
class PromptParity:
    """What a comparison found.

    Attributes:
        items: How many items.
        ok: Whether every flip is explained and the label logits are within tolerance.
        informative: Whether the reference is better than chance: the lower end of its accuracy
            interval is above it. If not, agreement proves little.
        difference: The greatest difference of a label logit.
        allowed: The greatest that passes, atol + rtol x the greatest label logit of the reference.
        atol: As given.
        rtol: As given.
        error: The greatest difference of a label word's logit.
        certified: The share of items whose margin is too large for a flip.
        agreement: The share of items with the same label.
        flips: The others.
        max_kl: The greatest KL(reference || candidate) of the label distributions, in nats.
        max_probability_difference: The greatest difference of a label's probability.
        reference: The reference's summary.
        candidate: The candidate's summary.
    """

    items: int
    ok: bool
    informative: bool
    difference: float
    allowed: float
    atol: float
    rtol: float
    error: float
    certified: float
    agreement: float
    flips: tuple[Flip, ...]
    max_kl: float
    max_probability_difference: float
    reference: dict[str, Any]
    candidate: dict[str, Any]

    @property
    def unexplained(self) -> int:
        """How many flips the differences cannot account for."""
        return sum(not flip.explained for flip in self.flips)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values for JSON."""
        return {**asdict(self), "flips": [asdict(flip) for flip in self.flips]}


def compare_scores(
    plan: Plan, reference: Scores, candidate: Scores, *, atol: float, rtol: float
) -> PromptParity:
    """Compare two sides' scores of one plan.

    If no label word's logit differs by more than e, no label logit does (a mean moves by at most
    what its terms move), the gap between two labels moves by at most 2e, and a winner ahead by
    more than 2e stays the winner. On the label distributions p:

    - KL <= e^2/2: it is half the variance of the change d of the logits under some p, and d lies
      in [-e, e] (Popoviciu's inequality);
    - max |dp| <= e/2: along the way dp_j = p_j (1 - p_j) times a difference of at most 2e.

    Both are checked here, since a violation would be a bug.

    Args:
        plan: What both sides ran.
        reference: The side that is held to be right.
        candidate: The other.
        atol: Allowed difference of a label logit.
        rtol: The same as a fraction of the reference's greatest label logit.

    Raises:
        MindportError: If the scores belong to another plan, or a tolerance is not a number from
            0 up.
        AssertionError: If the comparison contradicts itself.
    """
    for name, value in (("atol", atol), ("rtol", rtol)):
        if not 0 <= value < float("inf"):
            raise MindportError(f"{name} must be a finite number from 0 up, not {value}.")
    for side, scores in (("reference", reference), ("candidate", candidate)):
        if scores.plan_digest != plan.digest:
            raise MindportError(
                f"The scores of the {side} belong to another plan.", "Score both with one plan."
            )
    errors = np.abs(reference.word_logits - candidate.word_logits).max(axis=1)  # (items,)
    scales = np.maximum(np.abs(reference.word_logits), np.abs(candidate.word_logits)).max(axis=1)
    rounding = _ROUNDING * (1 + scales)
    kl, shift = _distances(reference, candidate, errors, rounding)
    certified = reference.margins > _GAP * errors + rounding
    difference = float(np.abs(reference.label_logits - candidate.label_logits).max())
    allowed = float(atol + rtol * np.abs(reference.label_logits).max())
    flips = _flips(plan, reference, candidate, errors, certified)
    return PromptParity(
        items=len(plan),
        ok=difference <= allowed and all(flip.explained for flip in flips),
        informative=reference.accuracy_interval[0] > plan.chance,
        difference=difference,
        allowed=allowed,
        atol=float(atol),
        rtol=float(rtol),
        error=float(errors.max()),
        certified=float(certified.mean()),
        agreement=1 - len(flips) / len(plan),
        flips=flips,
        max_kl=float(kl.max()),
        max_probability_difference=float(shift.max()),
        reference=reference.to_dict(),
        candidate=candidate.to_dict(),
    )


def _distances(
    reference: Scores, candidate: Scores, errors: np.ndarray, rounding: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each item's KL and greatest probability difference, held against their bounds."""
    p, q = reference.label_log_probabilities, candidate.label_log_probabilities
    kl = np.maximum((np.exp(p) * (p - q)).sum(axis=1), 0.0)
    shift = np.abs(np.exp(p) - np.exp(q)).max(axis=1)
    for name, value, bound in (("KL", kl, errors**2 / 2), ("|dp|", shift, errors / 2)):
        beyond = np.flatnonzero(~(value <= bound + rounding))
        if beyond.size:
            item = beyond[0]
            raise AssertionError(
                f"{name} of item {item} is {value[item]}, above its bound {bound[item]}: the "
                "scores do not follow from the logits"
            )
    return kl, shift


def _flips(
    plan: Plan, reference: Scores, candidate: Scores, errors: np.ndarray, certified: np.ndarray
) -> tuple[Flip, ...]:
    return tuple(
        Flip(
            id=plan.ids[item],
            text=_shorten(plan.texts[item]),
            label=plan.labels[plan.label_indices[item]],
            reference=plan.labels[reference.predictions[item]],
            candidate=plan.labels[candidate.predictions[item]],
            margin=float(reference.margins[item]),
            error=float(errors[item]),
            explained=not certified[item],
        )
        for item in np.flatnonzero(reference.predictions != candidate.predictions)
    )


def _shorten(text: str) -> str:
    return text if len(text) <= _TEXT_SHOWN else f"{text[: _TEXT_SHOWN - 1]}…"
