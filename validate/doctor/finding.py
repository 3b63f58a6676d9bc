"""One thing that was looked at, and what is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mindport.validate.devices import Device

# absent: not there, and nothing that was asked for needs it.
Word = Literal["ok", "warning", "broken", "unknown", "absent"]
WORDS: tuple[Word, ...] = ("ok", "warning", "broken", "unknown", "absent")
BACKENDS = ("mindspore", "torch", "mindnlp")


@dataclass(frozen=True)
class Job:
    """One side of a validation.

    Attributes:
        backend: One of :data:`BACKENDS`.
        device: What it is to run on.
    """

    backend: str
    device: Device

    def __str__(self) -> str:
        return f"{self.backend} on {self.device}"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        id: A stable name.
        what: The thing, in words.
        found: What is there.
        needed: What should be.
        verdict: One of :data:`WORDS`.
        advice: What it means and what to do; empty if all is well.
        mend: Pins for pip, ``stack:NAME``, ``python:VERSION``, ``uninstall:NAME``, or ``env:NAME``
            for an environment that mindport builds.
        source: How that is known, with a date; empty if it was looked at here.
        concerns: The backends that need it.
        device: The kind of device that needs it; empty for every device.
    """

    id: str
    what: str
    found: str
    needed: str
    verdict: Word
    advice: str = ""
    mend: tuple[str, ...] = ()
    source: str = ""
    concerns: tuple[str, ...] = ()
    device: str = ""

    def about(self, job: Job) -> bool:
        """Whether a job needs it."""
        return job.backend in self.concerns and self.device in ("", job.device.kind)

    def stops(self, job: Job) -> bool:
        """Whether a job cannot run for it."""
        return self.verdict == "broken" and self.about(job)
