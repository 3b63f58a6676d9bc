"""The judgement: pass, fail, uninformative, emulated or not run, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

from mindport.migrate.errors import EXIT_ENVIRONMENT, EXIT_FAIL, EXIT_PASS
from mindport.validate.diagnose.causes import UNKNOWN
from mindport.validate.metrics import Errors
from mindport.validate.pairs.facts import PairFacts

Status = Literal["pass", "fail", "uninformative", "emulated", "not-run"]
EXIT_CODES: Mapping[Status, int] = {
    "pass": EXIT_PASS,
    "fail": EXIT_FAIL,
    "uninformative": EXIT_FAIL,
    "emulated": EXIT_FAIL,  # unless it is within its own prediction
    "not-run": EXIT_ENVIRONMENT,
}
SCHEMA = 4


@dataclass(frozen=True)
class Both:
    """The same figures of both sides."""

    reference: Errors
    candidate: Errors


@dataclass(frozen=True)
class TapResult:
    """How far the two sides are apart at one tap, over its valid (not padded) positions.

    Attributes:
        name: Canonical name of the tap.
        shape: Of the reference's whole output.
        ok: Whether every element is finite on both sides and within the tolerance.
        detail: Whether the tap lies inside a block or head.
        used: Largest share of the tolerance that is used: above 1 is outside. None, like all
            figures that follow, if an element is not finite or there was nothing to compare.
        within: Share of the elements within the tolerance.
        worst_index: Where the tolerance is used most, in the whole output.
        deviation: Root mean square of the deviation that rounding predicts for the whole forward.
        accumulated: Errors against the float64 oracle, of a side's own dtype.
        isolated: Errors against what the side's own inputs of this tap make of it.
        facts: The two sides against each other, bit by bit.
        own_fault: Whether it is not ok from its own inputs, or cannot be computed with at all. A
            tap that is not ok otherwise is so because an earlier one is.
        problem: Why it is not ok, in words; empty if it is.
        apart: Where the sides compute in different dtypes, root mean square of what correct ones
            are apart: both deviations, and what rounding the weights does; else None.
        departure: The largest difference that accepted departures make to what the tap should be;
            None if none is applied.
    """

    name: str
    shape: tuple[int, ...]
    ok: bool
    detail: bool = False
    used: float | None = None
    within: float | None = None
    worst_index: tuple[int, ...] | None = None
    deviation: float | None = None
    accumulated: Both | None = None
    isolated: Both | None = None
    facts: PairFacts | None = None
    own_fault: bool = False
    problem: str = ""
    apart: float | None = None
    departure: float | None = None

    @property
    def tap(self) -> str:
        """The name, as a diagnosis calls it."""
        return self.name


@dataclass(frozen=True)
class Diagnosis:
    """Why a tap is wrong.

    Attributes:
        tap: Its name.
        cause: One of :data:`mindport.validate.diagnose.causes.CAUSES`.
        confirmed: Whether the error vanishes when the cause is applied to the formula.
        detail: What exactly, in words.
        explained: Share of the error (root mean square) that the cause takes away.
        also: Other taps with the same cause.
    """

    tap: str
    cause: str
    confirmed: bool
    detail: str
    explained: float
    also: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Verdict:
    """What was compared, on what, against what, and what came of it.

    Attributes:
        verdict: ``pass``; ``fail``; ``uninformative``: nothing failed, but the prompts that were
            asked could not have shown a fault; ``emulated``: nothing was run on the device that
            this is about, whether within its prediction or not; or ``not-run``.
        headline: The reason in one sentence.
        architecture: The model type.
        head: The head.
        first_faulty_tap: The first in network order that is at fault itself; None if none is.
        taps: One result per tap, in network order.
        diagnosis: What is probably wrong, one entry per tap at fault.
        gradients: The gradient check, or None.
        first_nonfinite: By side and kind, the first tap with a NaN or an infinity, and where.
        policy: Name, basis and figures of the tolerance.
        identity: What really ran, by side; empty for a side that did not.
        load: What became of the weights, by side.
        checkpoint: Where the weights came from, by side, with their hashes.
        inputs: What was fed.
        prompts: The prompt check (:meth:`mindport.prompts.PromptParity.to_dict`, with the task),
            or None.
        emulation: The unit that was emulated and the figures by tap
            (:meth:`mindport.validate.emulation.prediction.Emulation.section`), or None.
        accepted: What became of each accepted departure of the candidate's platform
            (:meth:`mindport.validate.departures.recognition.Finding.to_dict`).
        notices: What a reader should know although it decides nothing.
        not_run: Side, reason, hint and last lines of what could not run.
        timings: Seconds, by side.
        not_compared: Taps that were to be captured and were not compared.
        sample: Some elements of the output, by side
            (:func:`mindport.validate.sample.sample_output`), or None.
        mapping: What became of every tensor of the port that gave the candidate its weights, or
            None where that is not known.
        made: Which mindport wrote this, when (UTC), and the command that does it again.
    """

    verdict: Status
    headline: str
    architecture: str
    head: str
    first_faulty_tap: str | None = None
    taps: tuple[TapResult, ...] = ()
    diagnosis: tuple[Diagnosis, ...] = ()
    gradients: Mapping[str, Any] | None = None
    first_nonfinite: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    load: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    prompts: Mapping[str, Any] | None = None
    emulation: Mapping[str, Any] | None = None
    accepted: tuple[Mapping[str, Any], ...] = ()
    notices: tuple[str, ...] = ()
    not_run: tuple[Mapping[str, Any], ...] = ()
    timings: Mapping[str, Any] = field(default_factory=dict)
    not_compared: tuple[str, ...] = ()
    sample: Mapping[str, Any] | None = None
    mapping: Mapping[str, Any] | None = None
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The code that the command ends with."""
        if self.verdict == "emulated" and self.emulation and self.emulation["within"]:
            return EXIT_PASS
        return EXIT_CODES[self.verdict]

    @property
    def passed(self) -> bool:
        """Whether the candidate agrees with the reference: nothing else is a pass."""
        return self.verdict == "pass"

    @property
    def first_faulty(self) -> TapResult | None:
        """The first tap in network order that is at fault itself, with its figures."""
        return next((tap for tap in self.taps if tap.name == self.first_faulty_tap), None)

    @property
    def first_diagnosis(self) -> Diagnosis | None:
        """Why the first faulty tap is wrong, if a cause was found."""
        found = (d for d in self.diagnosis if d.tap == self.first_faulty_tap)
        return next((d for d in found if d.cause != UNKNOWN), None)

    @property
    def cause(self) -> str | None:
        """What is wrong at the first faulty tap, a key of ``CAUSES``; None if it was not found."""
        return self.first_diagnosis.cause if self.first_diagnosis else None

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``verdict.json`` and, with ``mindport[report]``, the page ``index.html``.

        Args:
            folder: Made if it is not there.

        Returns:
            What was written.

        Raises:
            DestinationError: If the folder cannot be made or written.
        """
        from mindport.validate.report.publish import publish

        return publish(Path(folder), self)[0]

    def __str__(self) -> str:
        from mindport.validate.report.forms import load_form

        return load_form("terminal").render(self, "").text.rstrip("\n")

    def __repr__(self) -> str:
        return f"<Verdict {self.verdict}: {self.headline}>"

    def _repr_html_(self) -> str:
        """Return a few lines for a notebook; :meth:`save` writes the whole page."""
        rows = {"first faulty tap": self.first_faulty_tap, "cause": self.cause}
        rows |= {
            side: "{framework} {version}, {device}, {dtype}, {mode}".format_map(ran)
            for side, ran in self.identity.items()
        }
        lines = "".join(
            f"<tr><th>{escape(what)}</th><td>{escape(said)}</td></tr>"
            for what, said in rows.items()
            if said
        )
        said = f"<b>{escape(self.verdict.upper())}</b> {escape(self.headline)}"
        return f"<div><p>{said}</p><table>{lines}</table></div>"

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready data (``validate/verdict.schema.json``)."""
        content: dict[str, Any] = plain({"schema": SCHEMA, **asdict(self)})
        return content


def plain(value: Any) -> Any:
    """Turn tuples into lists and non-finite numbers, which JSON lacks, into None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
