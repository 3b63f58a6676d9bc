"""Elements of the output: how far each side is from the oracle, by the oracle's value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindport.validate.report.charts.drawing import Spec, layered
from mindport.validate.verdict import Verdict


def chart_output(verdict: Verdict) -> Spec | None:
    """Return the chart; None if the verdict has no sample."""
    if verdict.sample is None or not verdict.sample["oracle"]:
        return None
    rows = output_rows(verdict.sample)
    most = max(abs(row["error"]) for row in rows) or 1e-30
    allowed = allowed_error(verdict)
    edge = 1.15 * most if allowed is None else max(1.15 * most, min(1.15 * allowed, 6 * most))
    y = {"type": "quantitative", "scale": {"domain": [-edge, edge], "nice": False},
         "axis": {"format": ".1~e", "tickCount": 6}}  # fmt: skip
    points = {
        "mark": {"type": "point", "filled": True, "opacity": 0.75, "aria": False},
        "encoding": {
            "x": {"field": "oracle", "type": "quantitative", "scale": {"zero": False},
                  "axis": {"grid": False}},
            "y": {**y, "field": "error"},
            "color": _by_side(["var(--reference)", "var(--candidate)"]),
            "shape": _by_side(["circle", "diamond"]),
            "size": _by_side([18, 26]),
        },
    }  # fmt: skip
    bands = []
    if allowed is not None:
        low, high = max(-allowed, -edge), min(allowed, edge)
        bands.append({
            "data": {"values": [{"low": low, "high": high}]},
            "mark": {"type": "rect", "color": "var(--good)", "opacity": 0.12, "aria": False},
            "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
        })  # fmt: skip
    return layered(rows, *bands, points, width=920, height=280)


def output_rows(sample: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each element and side: the oracle's value and the side's error."""
    return [
        {"side": side, "oracle": oracle, "error": value - oracle}
        for side in ("reference", "candidate")
        for oracle, value in zip(sample["oracle"], sample[side], strict=True)
    ]


def allowed_error(verdict: Verdict) -> float | None:
    """Return what an element of the output, of the usual deviation, may be off; None if unknown."""
    if verdict.sample is None:
        return None
    tap = next(tap for tap in verdict.taps if tap.name == verdict.sample["tap"])
    if tap.accumulated is None or tap.deviation is None:
        return None
    # Sides of two dtypes round their weights differently, which no deviation of one covers.
    return tap.accumulated.candidate.limit_peak * max(tap.deviation, tap.apart or 0.0)


def _by_side(values: list[Any]) -> Spec:
    scale = {"domain": ["reference", "candidate"], "range": values}
    return {"field": "side", "type": "nominal", "scale": scale}
