"""The gradient of every parameter on both sides, against the float64 gradient."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
        problem: Why it is not ok, in words; empty if it is.
    """

    parameter: str
    ok: bool
    used: float | None
    size: float
    reference: float | None
    candidate: float | None
    allowed: float
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
