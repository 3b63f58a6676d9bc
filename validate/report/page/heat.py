"""The heat map: every tap by every measure, each cell with a step of colour."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from mindport.validate.report.summary import figure, share
from mindport.validate.verdict import TapResult, Verdict

# Shares of a limit: a quarter, half, nearly all, all; outside, ten times, beyond.
_EDGES = (0.25, 0.5, 0.75, 1.0, 10.0, 1000.0)
_SHADES = 6


@dataclass(frozen=True)
class Cell:
    """A tap in one measure.

    Attributes:
        tap: Its place in network order.
        style: A class of the style sheet; empty without a figure.
        text: The figure.
    """

    tap: int
    style: str
    text: str


@dataclass(frozen=True)
class Measure:
    """A row of the heat map.

    Attributes:
        key: Of its name in the catalogues.
        cells: One for each tap.
    """

    key: str
    cells: tuple[Cell, ...]


def heat_map(verdict: Verdict) -> list[Measure]:
    """Return the rows: shares of limits, then measures without one, in shades of their own."""
    rows = [
        Measure(
            f"heat_{key}",
            tuple(
                Cell(i, _step(value), share(value)) for i, value in enumerate(_all(verdict, get))
            ),
        )
        for key, get in _SHARES.items()
    ]
    for key, get in _FREE.items():
        values = _all(verdict, get)
        known = [value for value in values if value]
        low, high = (min(known), max(known)) if known else (1.0, 1.0)
        cells = tuple(Cell(i, _shade(x, low, high), figure(x, 2)) for i, x in enumerate(values))
        rows.append(Measure(f"heat_{key}", cells))
    return rows


def _all(verdict: Verdict, get: Callable[[TapResult], float | None]) -> list[float | None]:
    return [get(tap) for tap in verdict.taps]


def _limit(view: str, statistic: str) -> Callable[[TapResult], float | None]:
    def get(tap: TapResult) -> float | None:
        both = getattr(tap, view)
        if both is None:
            return None
        errors = both.candidate
        return float(getattr(errors, statistic) / getattr(errors, f"limit_{statistic}"))

    return get


def _relative(tap: TapResult) -> float | None:
    facts = tap.facts
    if facts is None or facts.difference_rms is None or not facts.reference_rms:
        return None
    return facts.difference_rms / facts.reference_rms


def _angle(tap: TapResult) -> float | None:
    return None if tap.facts is None or tap.facts.cosine is None else 1 - tap.facts.cosine


def _unequal(tap: TapResult) -> float | None:
    return None if tap.facts is None or tap.facts.equal is None else 1 - tap.facts.equal


_SHARES = {
    "used": lambda tap: tap.used,
    "accumulated_rms": _limit("accumulated", "rms"),
    "accumulated_peak": _limit("accumulated", "peak"),
    "isolated_rms": _limit("isolated", "rms"),
    "isolated_peak": _limit("isolated", "peak"),
}
_FREE: dict[str, Callable[[TapResult], float | None]] = {
    "max_abs": lambda tap: tap.facts.max_abs if tap.facts else None,
    "relative": _relative,
    "cosine": _angle,
    "max_ulp": lambda tap: tap.facts.max_ulp if tap.facts else None,
    "unequal": _unequal,
}


def _step(value: float | None) -> str:
    if value is None:
        return ""
    return f"heat-{sum(not value <= edge for edge in _EDGES)}"


def _shade(value: float | None, low: float, high: float) -> str:
    """Return a shade between the smallest and the largest of the row, by logarithm."""
    if value is None:
        return ""
    if value <= low or high <= low:
        return "shade-0"
    place = math.log(value / low) / math.log(high / low)
    return f"shade-{min(_SHADES - 1, int(place * _SHADES))}"
