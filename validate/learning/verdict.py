"""The judgement of two trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mindport.validate.verdict import EXIT_CODES, Status, plain

SCHEMA = 1


@dataclass(frozen=True)
class LearningVerdict:
    """Whether two sides learned the same, and what.

    Attributes:
        verdict: ``pass``, ``fail`` or ``not-run``.
        headline: The reason in one sentence.
        task: The prompt task.
        architecture: The model type.
        head: The head.
        settings: Of the training.
        data: How many rows were learned from and held out, the prompt, the sha256 of it all.
        parity: See :class:`mindport.prompts.learning.findings.LearningParity`; None if not run.
        curves: By side, the loss of every step; ``allowed`` is not among them.
        improvement: By side, zero shot against the learned prompt.
        identity: What really ran, by side.
        notices: What a reader should know although it decides nothing.
        not_run: Side, reason, hint and last lines of what could not run.
    """

    verdict: Status
    headline: str
    task: str
    architecture: str
    head: str
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    parity: Mapping[str, Any] | None = None
    curves: Mapping[str, Any] = field(default_factory=dict)
    improvement: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    not_run: tuple[Mapping[str, Any], ...] = ()

    @property
    def exit_code(self) -> int:
        """The code that the command ends with."""
        return EXIT_CODES[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as data for JSON; what is not finite is None."""
        content: dict[str, Any] = plain({"schema": SCHEMA, **asdict(self)})
        return content
