"""The judgement: pass, fail or not run, with everything it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mindport.migrate.errors import EXIT_ENVIRONMENT, EXIT_FAIL, EXIT_PASS

Status = Literal["pass", "fail", "not-run"]
EXIT_CODES: Mapping[Status, int] = {
    "pass": EXIT_PASS,
    "fail": EXIT_FAIL,
    "not-run": EXIT_ENVIRONMENT,
}
SCHEMA = 1


@dataclass(frozen=True)
class TapResult:
    """How far the two sides are apart at one tap, over its valid (not padded) positions.

    Attributes:
        name: Canonical name of the tap.
        shape: Of the reference's whole output.
        ok: Whether every element is finite on both sides and within the tolerance.
        max_abs: Largest ``|c - r|``; None if an element is not finite.
        mean_abs: Mean ``|c - r|``; None likewise.
        max_rel: Largest ``|c - r| / (atol + rtol |r|)``, the allclose form: above 1 is outside.
        cosine: Between the two outputs, flattened.
        within: Share of the elements within the tolerance.
        atol: Absolute tolerance at this tap.
        rtol: Relative tolerance at this tap.
        reference_rms: Root mean square of the reference's output.
        worst_index: Where the largest use of the tolerance is, in the whole output.
        problem: Why it is not ok, in words; empty if it is.
    """

    name: str
    shape: tuple[int, ...]
    ok: bool
    max_abs: float | None = None
    mean_abs: float | None = None
    max_rel: float | None = None
    cosine: float | None = None
    within: float | None = None
    atol: float | None = None
    rtol: float | None = None
    reference_rms: float | None = None
    worst_index: tuple[int, ...] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Verdict:
    """What was compared, on what, against what, and what came of it.

    Attributes:
        verdict: ``pass``, ``fail`` or ``not-run``.
        headline: The reason in one sentence.
        architecture: The model type.
        head: The head.
        first_faulty_tap: In network order; None if none is.
        taps: One result per tap, in network order.
        policy: Name, basis and figures of the tolerance.
        identity: What really ran, by side; empty for a side that did not.
        load: What became of the weights, by side.
        checkpoint: Where the weights came from, by side, with their hashes.
        inputs: What was fed.
        prompts: The prompt check, or None.
        notices: What a reader should know although it decides nothing.
        not_run: Side, reason, hint and last lines of what could not run.
        timings: Seconds, by side.
    """

    verdict: Status
    headline: str
    architecture: str
    head: str
    first_faulty_tap: str | None = None
    taps: tuple[TapResult, ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    load: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    prompts: Mapping[str, Any] | None = None
    notices: tuple[str, ...] = ()
    not_run: tuple[Mapping[str, Any], ...] = ()
    timings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The code that the command ends with."""
        return EXIT_CODES[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready data (``validate/verdict.schema.json``)."""
        content: dict[str, Any] = _plain({"schema": SCHEMA, **asdict(self)})
        return content


def _plain(value: Any) -> Any:
    """Turn tuples into lists and non-finite numbers, which JSON lacks, into None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
