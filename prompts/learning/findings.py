"""What a comparison of two trainings found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mindport.prompts.learning.triggers import Divergence


@dataclass(frozen=True)
class Measure:
    """One difference between the sides.

    Attributes:
        name: What was compared.
        difference: How far the sides are apart.
        floor: How far correct trainings of the reference are apart.
        allowed: How far the sides may be apart.
    """

    name: str
    difference: float
    floor: float
    allowed: float

    @property
    def ok(self) -> bool:
        """Whether it is within what is allowed; NaN is not."""
        return self.difference <= self.allowed


@dataclass(frozen=True)
class LabelFlip:
    """A held-out row that the sides label differently after learning.

    Attributes:
        id: The row's id.
        reference: The reference's label.
        candidate: The candidate's label.
        margin: The reference's winner above its runner-up.
        explained: Whether the margin is at most twice what a label logit may differ by.
    """

    id: str
    reference: str
    candidate: str
    margin: float
    explained: bool


@dataclass(frozen=True)
class LearningParity:
    """What a comparison found.

    Attributes:
        ok: Whether everything compared is within what is allowed, and every flip is explained.
        problem: The first thing that is not, in words; empty if all is well.
        steps: Of the reference's training.
        compared: How many of them could be compared.
        informative: Whether the allowance stays small beside what the curve moves by, for at
            least half of the steps; if not, only what came before says anything.
        blurred_from: The first step whose allowance is not small, or None.
        measures: First gradients, curve, prompt, label logits.
        worst_step: Where the curve uses most of its allowance.
        cosine: Between the learned prompts; 1 for trigger tokens that are the same.
        norm_ratio: Norm of the candidate's learned prompt by that of the reference's.
        divergence: Where AutoPrompt's trigger tokens part, or None.
        agreement: The share of held-out rows with the same label.
        flips: The others.
        reference: Accuracy before and after.
        candidate: The same.
        floors: The correct trainings that the floor was measured by.
        factor: What the floor is multiplied by.
    """

    ok: bool
    problem: str
    steps: int
    compared: int
    informative: bool
    blurred_from: int | None
    measures: tuple[Measure, ...]
    worst_step: int
    cosine: float
    norm_ratio: float
    divergence: Divergence | None
    agreement: float
    flips: tuple[LabelFlip, ...]
    reference: dict[str, Any]
    candidate: dict[str, Any]
    floors: tuple[str, ...]
    factor: float

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values for JSON."""
        content = asdict(self)
        content["measures"] = [asdict(m) | {"ok": m.ok} for m in self.measures]
        return content
