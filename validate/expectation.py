"""What every tap of two runs should be, on the reference's side and on the candidate's.

They are the same unless the sides compute in different dtypes, or a departure of the candidate's
platform is accepted: then the network is computed twice, with the parameters as each dtype rounds
them, or once as it is defined and once with the platform's own functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mindport.migrate.computation import Project, Step
from mindport.validate.capture import Capture
from mindport.validate.formula.operations import Setting
from mindport.validate.formula.recompute import Recomputed, Tap, recompute
from mindport.validate.formula.rounding import PRECISIONS
from mindport.validate.tolerance import TolerancePolicy

_HELD = 24  # taps of a side that are kept in memory: those of a block are used again in it
# Elements that all copies together may have, and how many copies tell enough in any case.
_WORK, _MOST_COPIES = 2e7, 16


@dataclass(frozen=True)
class Expected:
    """What a tap should be.

    Attributes:
        reference: On the reference's side.
        candidate: On the candidate's; the same object if both compute the same network.
        mixed: Whether the sides compute in different dtypes.
    """

    reference: Recomputed
    candidate: Recomputed
    mixed: bool = False

    @property
    def step(self) -> Step:
        """The operation and the tap that it makes."""
        return self.candidate.step

    @property
    def valid(self) -> np.ndarray:
        """Which elements count."""
        return self.candidate.valid

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tap."""
        return self.candidate.accumulated.expected.shape

    @property
    def copies(self) -> int:
        """How many disturbed copies the deviations were estimated from."""
        return self.candidate.copies

    @property
    def apart(self) -> float | None:
        """How far correct sides of two dtypes are apart (rms): both errors, and the parameters'.

        None if both compute in one dtype.
        """
        if not self.mixed:
            return None
        ours, theirs = self.reference.accumulated, self.candidate.accumulated
        parts = (ours.deviation, theirs.deviation, self._difference)
        return float(np.sqrt(sum(np.mean(np.square(part[self.valid])) for part in parts)))

    @property
    def departure(self) -> float | None:
        """The largest difference that accepted departures make; None if none is applied."""
        if self.mixed or self.reference is self.candidate:
            return None
        return float(np.abs(self._difference[self.valid]).max(initial=0.0))

    @property
    def _difference(self) -> np.ndarray:
        ours, theirs = self.reference.accumulated.expected, self.candidate.accumulated.expected
        return np.subtract(theirs, ours)


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
        setting: Config, model inputs, parameters and functions of the candidate.
        policy: Knows how each side rounds.
        reference_setting: The reference's; None if it is the same.
    """
    sides = {"reference": tap_reader(reference), "candidate": tap_reader(candidate)}
    copies = count_copies(steps, setting)
    if reference_setting is None:
        for item in recompute(steps, setting, sides, policy.precision, copies=copies):
            yield Expected(item, item)
        return
    rounding = PRECISIONS[policy.reference_dtype] if policy.mixed else policy.precision
    ours, theirs = (
        recompute(steps, own, {side: sides[side]}, precision, copies=copies)
        for side, own, precision in (
            ("reference", reference_setting, rounding),
            ("candidate", setting, policy.precision),
        )
    )
    for pair in zip(ours, theirs, strict=True):
        yield Expected(*pair, mixed=policy.mixed)


def count_copies(steps: Sequence[Step], setting: Setting) -> int:
    """Return how many disturbed copies run along: many where it costs little."""
    widths = 0
    for step in steps:
        if isinstance(step.operation, Project):
            module, kind = step.operation.module, step.operation.kind
            widths += setting.weights.width(module, kind) // step.operation.part[1]
    return int(np.clip(_WORK // (setting.real.size * max(widths, 1)), 2, _MOST_COPIES))


def tap_reader(capture: Capture) -> Tap:
    """Return a function that reads a capture's taps, None for those it lacks."""
    stored = capture.stored_taps

    @lru_cache(_HELD)
    def read(name: str) -> np.ndarray | None:
        return capture.tap(name) if name in stored else None

    return read
