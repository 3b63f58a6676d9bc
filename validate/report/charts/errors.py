"""The error of both sides at every tap, on a logarithmic scale, with floor and tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from mindport.validate.report.charts.drawing import Spec, along, layered, positive, width_for
from mindport.validate.report.summary import state_of
from mindport.validate.verdict import TapResult, Verdict

View = Literal["accumulated", "isolated"]
Statistic = Literal["rms", "peak", "absolute"]
VIEWS: tuple[View, ...] = ("accumulated", "isolated")
STATISTICS: tuple[Statistic, ...] = ("rms", "peak", "absolute")
_HEIGHT = 300
_SHAPES = {"ok": "circle", "follows": "triangle-down", "faulty": "cross"}
_COLOURS = {"ok": "var(--candidate)", "follows": "var(--follows)", "faulty": "var(--bad)"}


def chart_errors(verdict: Verdict, view: View, statistic: Statistic) -> Spec | None:
    """Return the chart; None if no tap has figures in this view.

    Args:
        verdict: Whose taps.
        view: Against the oracle, or each operation from its own inputs.
        statistic: ``rms`` and ``peak`` in units of what rounding predicts, where the floor is 1;
            ``absolute`` the root mean square of the error itself.
    """
    first_fault = verdict.first_faulty_tap
    rows = [
        {**_row(i, tap, view, statistic), "first": tap.name == first_fault}
        for i, tap in enumerate(verdict.taps)
    ]
    if all(row["candidate"] is None for row in rows):
        return None
    names = [tap.name for tap in verdict.taps]
    scale = {"type": "log", "nice": False, "padding": 12}
    form = ".0~e" if statistic == "absolute" else "~g"
    y = {"type": "quantitative", "scale": scale, "axis": {"format": form, "tickCount": 6}}

    def line(field: str, colour: str, **style: Any) -> Spec:
        # Rows without a figure would be drawn as zero, which a logarithm does not have.
        return {
            "transform": [{"filter": f"isValid(datum.{field})"}],
            "mark": {"type": "line", "color": f"var(--{colour})", "aria": False, **style},
            "encoding": {"y": {**y, "field": field}},
        }

    points = {
        "transform": [{"filter": "isValid(datum.candidate)"}],
        "mark": {"type": "point", "filled": True, "opacity": 1},
        "encoding": {
            "y": {**y, "field": "candidate"},
            "shape": _by_state(_SHAPES),
            "color": _by_state(_COLOURS),
            "size": _by_state({"ok": 34, "follows": 60, "faulty": 110}),
            "description": {"field": "row", "type": "nominal"},
        },
    }
    first = {
        "transform": [{"filter": {"field": "first", "equal": True}}],
        "mark": {"type": "rule", "color": "var(--bad)", "strokeWidth": 8, "opacity": 0.18,
                 "aria": False},
    }  # fmt: skip
    return layered(
        rows,
        first,
        line("limit", "tolerance", strokeDash=[7, 4], strokeWidth=2),
        line("floor", "floor", strokeDash=[2, 3], strokeWidth=2),
        line("reference", "reference", strokeWidth=2),
        line("candidate", "candidate", strokeWidth=2),
        points,
        width=width_for(len(rows)),
        height=_HEIGHT,
        x=along("tap", names, labelled(verdict)),
    )


def labelled(verdict: Verdict) -> list[str]:
    """Return the taps that are named below an axis: blocks, what stands between, and the fault."""
    few = len(verdict.taps) <= 40
    shown = [
        tap.name
        for tap in verdict.taps
        if few or tap.name == verdict.first_faulty_tap or _stands_alone(tap, verdict.taps)
    ]
    # A name beside that of the fault would be written across it.
    places = {tap.name: i for i, tap in enumerate(verdict.taps)}
    fault = verdict.first_faulty_tap
    return [
        name
        for name in shown
        if few or fault is None or name == fault or abs(places[name] - places[fault]) > 1
    ]


def _stands_alone(tap: TapResult, taps: Sequence[TapResult]) -> bool:
    """Tell a block as a whole, or what stands outside blocks, from the parts of a block."""
    return not any(tap.name.startswith(f"{other.name}.") for other in taps)


def _row(place: int, tap: TapResult, view: View, statistic: Statistic) -> dict[str, Any]:
    both = getattr(tap, view)
    figures: dict[str, float | None] = dict.fromkeys(("reference", "candidate", "limit", "floor"))
    if both is not None:
        figures["reference"] = getattr(both.reference, statistic)
        figures["candidate"] = getattr(both.candidate, statistic)
        if statistic != "absolute":
            figures["limit"] = getattr(both.candidate, f"limit_{statistic}")
            figures["floor"] = 1.0 if statistic == "rms" else None
        elif view == "accumulated" and tap.deviation is not None:
            figures["limit"] = both.candidate.limit_rms * tap.deviation
            figures["floor"] = tap.deviation
    return {
        "tap": tap.name, "row": f"row-taps-{place}", "state": state_of(tap),
        **{name: positive(value) for name, value in figures.items()},
    }  # fmt: skip


def _by_state(values: dict[str, Any]) -> Spec:
    scale = {"domain": list(values), "range": list(values.values())}
    return {"field": "state", "type": "nominal", "scale": scale}
