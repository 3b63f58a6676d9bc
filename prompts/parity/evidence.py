"""What a comparison of two sides' answers is made from, and what is asked of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.parity.protocols import ScoresLike


@dataclass(frozen=True, eq=False)
class Answers:
    """What one side answered.

    Attributes:
        scores: Of the plan.
        rows: The logits that were scored, (N + C, R, vocabulary), perhaps a memory map.
    """

    scores: ScoresLike
    rows: np.ndarray


@dataclass(frozen=True)
class Loads:
    """What became of the weights on both sides.

    Attributes:
        clean: Whether on both sides every parameter was set and none was left over.
        finding: The same in one sentence, with counts.
    """

    clean: bool
    finding: str


@dataclass(frozen=True, eq=False)
class Floor:
    """The reference against itself: some items run one by one, with no batch and no cache.

    Attributes:
        items: Which of the N + C inputs.
        rows: Their rows, (len(items), R, vocabulary).
    """

    items: Sequence[int]
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Control:
    """The answers of the reference's network with random weights.

    Attributes:
        scores: Of the plan, or of a plan of some of its items.
        items: Which of the N items, in the order of the scores; None for all.
    """

    scores: ScoresLike
    items: Sequence[int] | None = None


@dataclass(frozen=True)
class Requirements:
    """What a comparison must keep to.

    A requirement on rows is a limit. One on shares of items is statistical: it is missed when the
    items show that it is, at 95 %, so that few items do not fail by chance.

    Attributes:
        atol: Allowed difference of a logit.
        rtol: The same as a fraction of the reference's greatest |logit|; added to ``atol``.
        floor_factor: Differences up to so many times the floor are allowed in any case. The
            default of 8 is 2 (another framework's sums may round twice as much: term by term
            instead of in blocks) times 2 (the two runs of the floor share their kernels, so part
            of their errors cancels) times 2 (the floor is the greatest over some items only).
        certified: The least share of certified items.
        agreement: The least share of equal labels.
        metric_margin: The greatest difference in accuracy that counts as equal.
        hardest: How many items of smallest margin are reported on their own.
    """

    atol: float
    rtol: float = 0.0
    floor_factor: float = 8.0
    certified: float = 0.0
    agreement: float = 0.9
    metric_margin: float = 0.02
    hardest: int = 50

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value < math.inf:
                raise MindportError(f"{name} must be a finite number from 0 up, not {value}.")
        for name in ("certified", "agreement", "metric_margin"):
            if getattr(self, name) > 1:
                raise MindportError(f"{name} must be a share from 0 to 1.")


@dataclass(frozen=True)
class Level:
    """One rung of the ladder.

    Attributes:
        name: One of :data:`LEVELS`.
        ok: Whether it holds; None if an earlier one kept it from being looked at.
        finding: One sentence.
        figures: Numbers for JSON, with stable names.
    """

    name: str
    ok: bool | None
    finding: str
    figures: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, by name."""
        return asdict(self)


LEVELS = (
    "load",
    "inputs",
    "rows",
    "margins",
    "flips",
    "distributions",
    "decisions",
    "metrics",
)
