"""What a verdict says of accepted departures: in its headline, its notices, and as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mindport.validate.departures.recognition import Finding
from mindport.validate.verdict import TapResult


def accepted_words(findings: Sequence[Finding], taps: Sequence[TapResult]) -> str:
    """Return what a headline begins with; nothing if no departure is applied.

    Args:
        findings: What became of the accepted departures.
        taps: Results in network order.
    """
    applied = [found for found in findings if found.status == "applied"]
    if not applied or not taps:
        return ""
    said = ", ".join(
        f"{found.departure.name} (up to {found.largest:.1e} in {found.function})"
        for found in applied
    )
    last = taps[-1]
    moved = "" if last.departure is None else f", {last.departure:.1e} at {last.name}"
    return f"accepting {said}{moved}: "


def accepted_notices(findings: Sequence[Finding], version: str) -> tuple[str, ...]:
    """Return what a reader should know.

    Args:
        findings: What became of the accepted departures.
        version: Of the candidate's framework.
    """
    said = []
    for found in findings:
        departure, name = found.departure, found.departure.name
        if found.status == "applied":
            said.append(
                f"accepted: {name}. The candidate shows {_percent(found)} of what it would do to "
                f"{found.function}, and is held against the network with that kernel"
            )
            if version not in departure.versions:
                said.append(
                    f"{name} was measured in {departure.framework} "
                    f"{' and '.join(departure.versions)}; the candidate runs {version}"
                )
        elif found.status == "not-found":
            said.append(
                f"accepted departure not found: the candidate shows {_percent(found)} of {name} in "
                f"{found.function}, so it is held against the function as it is defined"
            )
        elif found.function:
            said.append(
                f"{name} is accepted without need: rounding hides what it does to {found.function} "
                f"here, at most {found.largest:.2g}"
            )
        else:
            said.append(
                f"{name} is accepted without need: nothing in this network rests on its "
                f"{departure.operation}"
            )
    return tuple(said)


def _percent(found: Finding) -> str:
    return f"{round(found.share or 0.0, 3) + 0.0:.1%}"  # never -0.0 %


def accepted_section(
    findings: Sequence[Finding], taps: Sequence[TapResult]
) -> tuple[dict[str, Any], ...]:
    """Return the section ``accepted`` of a verdict.

    Args:
        findings: What became of the accepted departures.
        taps: Results in network order.
    """
    last = taps[-1] if taps else None
    return tuple(
        found.to_dict(last.name if last else "", last.departure if last else None)
        for found in findings
    )
