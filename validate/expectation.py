"""What every tap of two runs should be: on each side, by the network of its own rounded weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mindport.migrate.computation import Project, Step
from mindport.validate.capture import Capture
from mindport.validate.formula.operations import Setting
from mindport.validate.formula.recompute import Recomputed, recompute
from mindport.validate.formula.rounding import PRECISIONS
from mindport.validate.tolerance import TolerancePolicy

_HELD = 24  # taps of a side that are kept in memory: those of a block are used again in it
# Elements that all copies together may have, and how many copies tell enough in any case.
_WORK, _MOST_COPIES = 2e7, 16


@dataclass(frozen=True)
class Expected:
    """What a step should make on each side; the same unless they compute in different dtypes.

    The exact network of a side is that of its own parameters, which its dtype has rounded.

    Attributes:
        reference: In the reference's dtype.
        candidate: In the candidate's.
    """

    reference: Recomputed
    candidate: Recomputed

    @property
    def alike(self) -> bool:
        """Whether both sides compute in one dtype."""
        return self.reference is self.candidate

    def apart(self, valid: np.ndarray) -> float:
        """Return how far two correct sides are apart (rms): both errors, and the parameters'."""
        ours, theirs = self.reference.accumulated, self.candidate.accumulated
        parts = (ours.deviation, theirs.deviation, theirs.expected - ours.expected)
        return float(np.sqrt(sum(np.mean(np.square(part[valid])) for part in parts)))


def expect(
    reference: Capture,
    candidate: Capture,
    steps: Sequence[Step],
    setting: Setting,
    policy: TolerancePolicy,
    reference_setting: Setting | None = None,
) -> Iterator[Expected]:
    """Yield what every tap should be, in network order.

    Args:
        reference: What is held to be right.
        candidate: What is judged.
        steps: Of the head, filled in.
        setting: Config, model inputs and parameters, in the candidate's dtype.
        policy: Knows how each side rounds.
        reference_setting: The same in the reference's dtype; None if that is the candidate's.
    """
    sides = {"reference": tap_reader(reference), "candidate": tap_reader(candidate)}
    copies = count_copies(steps, setting)
    if reference_setting is None:
        for item in recompute(steps, setting, sides, policy.precision, copies=copies):
            yield Expected(item, item)
        return
    ours, theirs = (
        recompute(steps, own, {side: sides[side]}, precision, copies=copies)
        for side, own, precision in (
            ("reference", reference_setting, PRECISIONS[policy.reference_dtype]),
            ("candidate", setting, policy.precision),
        )
    )
    yield from map(Expected, ours, theirs)


def count_copies(steps: Sequence[Step], setting: Setting) -> int:
    """Return how many disturbed copies run along: many where it costs little."""
    widths = 0
    for step in steps:
        if isinstance(step.operation, Project):
            module, kind = step.operation.module, step.operation.kind
            widths += setting.weights.width(module, kind) // step.operation.part[1]
    return int(np.clip(_WORK // (setting.real.size * max(widths, 1)), 2, _MOST_COPIES))


def tap_reader(capture: Capture) -> Callable[[str], np.ndarray | None]:
    """Return a function that reads a capture's taps, None for those it lacks."""
    stored = capture.stored_taps

    @lru_cache(_HELD)
    def read(name: str) -> np.ndarray | None:
        return capture.tap(name) if name in stored else None

    return read
