"""The self-test as the page ``docs/selftest.md``."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from mindport.validate.selftest.running import Outcome
from mindport.validate.selftest.summary import Summary
from mindport.validate.selftest.trials import DEVELOPMENT, HELD_OUT_SET

_PACKAGES = ("mindspore", "torch", "transformers", "numpy")


def selftest_page(summary: Summary, outcomes: Sequence[Outcome], command: str) -> str:
    """Return the page.

    Args:
        summary: The counts.
        outcomes: Of every trial.
        command: What reproduces it.
    """
    return "\n".join(_lines(summary, outcomes, command)) + "\n"


def _lines(summary: Summary, outcomes: Sequence[Outcome], command: str) -> Iterator[str]:
    yield "# The validator's own test"
    yield ""
    yield "Written by"
    yield ""
    yield f"    {command}"
    yield ""
    yield f"on {platform.machine()}, {_versions()}."
    yield "Each fault is put into a correct port of the embedded model (where that lacks the head,"
    yield "of a random one), in one block; the verdict must fail, name the tap where the fault is,"
    yield "and name its cause. The *development* set was there while the validator was written; the"
    yield "*held-out* set was written apart and not looked at before the validator was finished."
    yield ""
    yield from _rates(summary)
    for label, title in ((DEVELOPMENT, "Development faults"), (HELD_OUT_SET, "Held-out faults")):
        rows = [o for o in outcomes if _belongs(o, label) and not o.trial.sweep]
        if rows:
            yield from ("", f"## {title}", "")
            yield from _faults(rows)
    sweep = [o for o in outcomes if o.trial.sweep]
    if sweep:
        yield from _sweep(sweep, outcomes)
    if summary.not_run:
        yield from ("", "## Not run", "", *(f"- {line}" for line in summary.not_run))


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _rates(summary: Summary) -> Iterator[str]:
    yield "| set | faults | detected | right tap | right cause | of these confirmed |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for label, rates in summary.rates.items():
        shares = (
            f"{count} ({count / rates.faults:.1%})"
            for count in (rates.detected, rates.placed, rates.named, rates.confirmed)
        )
        yield f"| {label} | {rates.faults} | {' | '.join(shares)} |"
    if summary.correct:
        used = ", ".join(f"{use:.0%} in {dtype}" for dtype, use in summary.largest_use.items())
        yield ""
        yield f"Correct ports of random configurations: {summary.correct}, of which called wrong:"
        yield f"**{summary.alarms}**. The largest share of its tolerance that one used: {used}."


def _belongs(outcome: Outcome, label: str) -> bool:
    if outcome.trial.fault is None or outcome.not_run:
        return False
    return outcome.trial.held_out == (label == HELD_OUT_SET)


def _faults(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "| fault | in | expected | found at | cause given | |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for outcome in outcomes:
        fault = outcome.trial.fault
        if fault is None:
            continue
        cause = outcome.diagnosis.cause if outcome.diagnosis else "-"
        how = "confirmed" if outcome.confirmed else "suspected"
        wrong = [
            word
            for word, right in (
                ("not detected", outcome.detected),
                ("other tap", outcome.placed),
                ("other cause", outcome.named),
            )
            if not right
        ]
        yield (
            f"| {fault.title} | {outcome.trial.stage.architecture} | {outcome.expected_tap}, "
            f"{fault.cause} | {outcome.tap or '-'} | {cause}, {how} | {wrong[0] if wrong else ''} |"
        )


def _sweep(sweep: Sequence[Outcome], outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield ""
    yield "## How small a fault is still caught"
    yield ""
    yield "From gross to subtle; the unit is the fault's own (an eps, a factor, a share of the"
    yield "matrix's size, mantissa bits that are kept)."
    yield ""
    yield "| fault | in | caught at | missed at |"
    yield "| --- | --- | --- | --- |"
    tried: dict[tuple[str, str], list[Outcome]] = {}
    swept = {(o.trial.fault.name, o.trial.stage.architecture) for o in sweep if o.trial.fault}
    for outcome in outcomes:
        fault = outcome.trial.fault
        if fault is not None and not outcome.not_run:
            key = (fault.name, outcome.trial.stage.architecture)
            if key in swept:
                tried.setdefault(key, []).append(outcome)
    for (name, architecture), members in tried.items():
        order = {severity: n for n, severity in enumerate(_severities(members))}
        members.sort(key=lambda o: order[_severity(o)])
        caught = [f"{_severity(o):g}" for o in members if o.detected]
        missed = [f"{_severity(o):g}" for o in members if not o.detected]
        yield f"| {name} | {architecture} | {', '.join(caught)} | {', '.join(missed) or '-'} |"


def _severity(outcome: Outcome) -> float:
    own = outcome.trial.fault.severity if outcome.trial.fault else None
    chosen = outcome.trial.severity
    return float((own if chosen is None else chosen) or 0.0)


def _severities(members: Sequence[Outcome]) -> list[float]:
    fault = members[0].trial.fault
    return [float(s) for s in fault.severities] if fault else []
