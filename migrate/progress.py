"""What is told while something runs; the forms in which it can be told are elsewhere.

Only the standard library is imported here: a worker ports as well, where no library of the command
line is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["write", "verify"]


@dataclass(frozen=True)
class Progress:
    """What is being done, and how much of the whole is done already.

    Attributes:
        stage: In a few words.
        fraction: From 0 to 1, never less than before: of the bytes, where these are counted, else
            of the steps, which do not take equally long.
        running: What the worker of each side is doing, by side; empty outside the runs.
    """

    stage: str
    fraction: float
    running: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        sides = ", ".join(f"{side}: {step}" for side, step in self.running.items())
        return f"{self.fraction:4.0%} {self.stage}" + (f" ({sides})" if sides else "")


OnProgress = Callable[[Progress], None]


class Listener:
    """Hears how a port goes on; this one keeps it to itself."""

    def start(self, files: int, size: int) -> None:
        """Hear how many weights files will be written, of how many bytes together."""

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Hear how many bytes of a stage are done."""

    def part(self, name: str, size: int, sha256: str, kept: bool) -> None:
        """Hear that a weights file is whole, or was ``kept`` from an earlier, killed process."""

    def notice(self, text: str) -> None:
        """Hear what the user should know."""


class Caller(Listener):
    """Hands each progress on to a function.

    Args:
        heard: What is called.
        verify: Whether the port has a second stage, which reads what was written.
    """

    def __init__(self, heard: OnProgress, *, verify: bool) -> None:
        self._heard = heard
        self._share = 0.5 if verify else 1.0
        self._last = -1.0

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Call the function, at every hundredth of the whole."""
        part = done / total if total else 1.0
        fraction = self._share * (part + (stage == "verify"))
        if fraction - self._last >= 0.01 or (fraction == 1.0 and fraction > self._last):
            self._last = fraction
            self._heard(Progress(stage, fraction))
