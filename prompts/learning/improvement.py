"""Does the learned prompt answer better than the plain one, on the very same rows?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mindport.prompts.learning.result import LearningResult
from mindport.prompts.parity.statistics import mcnemar


@dataclass(frozen=True)
class Improvement:
    """Zero shot against the learned prompt, held-out row by held-out row.

    Attributes:
        before: Accuracy of zero shot.
        after: Accuracy of the learned prompt.
        before_interval: Wilson's 95 % interval.
        after_interval: The same.
        gained: Rows that only the learned prompt has right.
        lost: Rows that only zero shot has right.
        p_value: Of McNemar's exact two-sided test that gains and losses are as likely.
    """

    before: float
    after: float
    before_interval: tuple[float, float]
    after_interval: tuple[float, float]
    gained: int
    lost: int
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def measure_improvement(result: LearningResult) -> Improvement:
    """Return what learning changed on the held-out rows."""
    before, after = result.before, result.after
    gained = int((after.right & ~before.right).sum())
    lost = int((before.right & ~after.right).sum())
    return Improvement(
        before=before.accuracy,
        after=after.accuracy,
        before_interval=before.interval,
        after_interval=after.interval,
        gained=gained,
        lost=lost,
        p_value=mcnemar(gained, lost),
    )
