"""How a prompt is learned: every number that a training depends on, checked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.learning.methods import load_method, method_names

Place = Literal["start", "answer"]
PLACES: tuple[Place, ...] = ("start", "answer")
SCHEDULES = ("constant", "linear")


@dataclass(frozen=True)
class LearningSettings:
    """What is learned, and how.

    Attributes:
        method: One of :func:`mindport.prompts.learning.methods.method_names`.
        tokens: How many vectors, trigger tokens, or keys and values of a layer are learned.
        steps: Updates; AutoPrompt considers one trigger token in each.
        batch_size: Prompts in a step.
        learning_rate: Adam's; None takes the method's own.
        schedule: ``constant``, or ``linear``: down to zero after the last step.
        seed: Of the start, of the order of the rows, and of the rows set aside.
        place: Where the tokens stand: at the ``start`` (after ``[CLS]``), or just before the
            ``answer``. Prefix tuning has no place.
        start_text: Whose tokens' embeddings the vectors start from, over and over; empty takes
            words of the vocabulary at random.
        hidden: Width of P-tuning's encoder; None takes that of the network.
        candidates: How many tokens AutoPrompt tries in a step.
        validation: Share of the training rows that is set aside, to choose the best step by; 0
            takes the last step.
        validate_every: After how many steps the rows set aside are looked at.
        patience: After how many looks without a better loss training stops.

    Raises:
        MindportError: If one of them cannot be; it is named.
    """

    method: str
    tokens: int = 8
    steps: int = 100
    batch_size: int = 16
    learning_rate: float | None = None
    schedule: str = "constant"
    seed: int = 0
    place: Place = "start"
    start_text: str = ""
    hidden: int | None = None
    candidates: int = 16
    validation: float = 0.0
    validate_every: int = 10
    patience: int = 5

    def __post_init__(self) -> None:
        for name, value, known in (
            ("method", self.method, method_names()),
            ("schedule", self.schedule, SCHEDULES),
            ("place", self.place, PLACES),
        ):
            if value not in known:
                raise MindportError(f"Unknown {name} {value!r}.{did_you_mean(str(value), known)}")
        for name, least in (
            ("tokens", 1), ("steps", 1), ("batch_size", 1), ("seed", 0), ("candidates", 1),
            ("validate_every", 1), ("patience", 1), ("hidden", 1),
        ):  # fmt: skip
            whole = getattr(self, name)
            if whole is None and name == "hidden":
                continue
            if isinstance(whole, bool) or not isinstance(whole, int) or whole < least:
                raise MindportError(f"{name} must be a whole number from {least} up, not {whole}.")
        if self.learning_rate is not None and not (
            self.learning_rate > 0 and math.isfinite(self.learning_rate)
        ):
            raise MindportError(
                f"learning_rate must be a finite number above 0, not {self.learning_rate}."
            )
        if not 0 <= self.validation < 1:
            raise MindportError(
                f"validation must be a share of the rows from 0 to below 1, not {self.validation}."
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step.

        Args:
            step: From 1 up.
        """
        if self.learning_rate is None:
            full = load_method(self.method).LEARNING_RATE
        else:
            full = self.learning_rate
        return full * (1 - (step - 1) / self.steps) if self.schedule == "linear" else full

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values for JSON."""
        return asdict(self)
