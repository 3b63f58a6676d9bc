"""What each tap should be, on the reference's side and on the candidate's.

They are the same unless a departure of the candidate's platform is accepted: then the network is
computed twice, once as it is defined, once with the platform's own functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mindport.migrate.computation import Project, Step
from mindport.validate.formula.operations import Setting
from mindport.validate.formula.recompute import Recomputed, Tap, recompute
from mindport.validate.formula.rounding import Precision

# Elements that all copies together may have, and how many copies tell enough in any case.
_WORK, _MOST_COPIES = 2e7, 16


@dataclass(frozen=True)
class Expected:
    """What a tap should be.

    Attributes:
        reference: On the reference's side.
        candidate: On the candidate's; the same object if nothing is accepted.
    """

    reference: Recomputed
    candidate: Recomputed

    @property
    def step(self) -> Step:
        """The operation and the tap that it makes."""
        return self.reference.step

    @property
    def valid(self) -> np.ndarray:
        """Which elements count."""
        return self.reference.valid

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tap."""
        return self.reference.accumulated.expected.shape

    @property
    def copies(self) -> int:
        """How many disturbed copies the deviations were estimated from."""
        return self.reference.copies

    @property
    def departure(self) -> float | None:
        """The largest difference between the two sides; None if nothing is accepted."""
        if self.reference is self.candidate:
            return None
        ours, theirs = self.reference.accumulated.expected, self.candidate.accumulated.expected
        return float(np.abs((theirs - ours)[self.valid]).max(initial=0.0))


def expect_taps(
    sides: Mapping[str, Tap],
    steps: Sequence[Step],
    setting: Setting,
    precision: Precision,
    views: Iterable[Recomputed] | None = None,
    platform: Setting | None = None,
) -> Iterator[Expected]:
    """Yield what each tap should be, in network order.

    Args:
        sides: How to read the taps of ``reference`` and ``candidate``.
        steps: Of the head, filled in.
        setting: Config, model inputs and parameters of the reference.
        precision: Of the runs.
        views: What was recomputed before; None to do it now.
        platform: The setting of the candidate, if its platform is allowed other functions.
    """
    if views is not None:
        yield from (Expected(view, view) for view in views)
        return
    copies = count_copies(steps, setting)
    if platform is None:
        same = recompute(steps, setting, sides, precision, copies=copies)
        yield from (Expected(view, view) for view in same)
        return
    settings = {"reference": setting, "candidate": platform}
    both = (
        recompute(steps, settings[side], {side: sides[side]}, precision, copies=copies)
        for side in settings
    )
    yield from (Expected(*pair) for pair in zip(*both, strict=True))


def count_copies(steps: Sequence[Step], setting: Setting) -> int:
    """Return how many disturbed copies run along: many where it costs little."""
    widths = 0
    for step in steps:
        if isinstance(step.operation, Project):
            module, kind = step.operation.module, step.operation.kind
            widths += setting.weights.width(module, kind) // step.operation.part[1]
    return int(np.clip(_WORK // (setting.real.size * max(widths, 1)), 2, _MOST_COPIES))
