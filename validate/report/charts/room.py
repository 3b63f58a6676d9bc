"""How near each prompt came to losing its label: the move of its gap by the gap's size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mindport.validate.report.charts.drawing import Spec

SHOWN = 400
_WIDTH, _HEIGHT = 640, 380


def chart_room(room: Sequence[Mapping[str, Any]]) -> Spec | None:
    """Return the chart; None without items.

    Below the diagonal a gap cannot close. An item is certified if its *bound* (a dash) lies there;
    a label can have flipped only if the *move* (a dot) lies above.

    Args:
        room: Items as the verdict has them.
    """
    if not room:
        return None
    margins = [item["margin"] for item in room if item["margin"] > 0] or [1.0]
    left, right = min(margins) / 2, max(margins) * 2
    bounds = sorted(item["bound"] for item in room if item["bound"] > 0) or [left]
    # Rows that are equal bit by bit move by nothing; what is smaller is drawn on the edge.
    low = min(left, bounds[len(bounds) // 2]) / 100
    high = max(right, *bounds, *(item["moved"] for item in room)) * 2
    rows = [
        {"margin": max(item["margin"], left), "bound": max(item["bound"], low),
         "moved": max(item["moved"], low),
         "state": "flipped" if item["flipped"] else "certified" if item["certified"] else "open",
         "row": f"row-room-{place}"}
        for place, item in enumerate(room[:SHOWN])
    ]  # fmt: skip
    x, y = (
        {"type": "quantitative", "scale": {"type": "log", "domain": domain, "nice": False},
         "axis": {"format": ".0~e", "values": _decades(*domain)}}
        for domain in ([left, right], [low, high])
    )  # fmt: skip
    colour = _by_state(["var(--candidate)", "var(--follows)", "var(--bad)"])
    ground = {"values": [{"at": left, "floor": low}, {"at": right, "floor": low}]}
    region = {
        "data": ground,
        "mark": {"type": "area", "color": "var(--good)", "opacity": 0.14, "aria": False,
                 "line": {"color": "var(--good)", "strokeWidth": 1.5}},
        "encoding": {"x": {**x, "field": "at"}, "y": {**y, "field": "at"},
                     "y2": {"field": "floor"}},
    }  # fmt: skip
    ticks = {
        "mark": {"type": "tick", "thickness": 1.5, "size": 9, "orient": "horizontal",
                 "opacity": 0.8, "aria": False},
        "encoding": {"x": {**x, "field": "margin"}, "y": {**y, "field": "bound"}, "color": colour},
    }  # fmt: skip
    moves = {
        "mark": {"type": "point", "filled": True, "opacity": 0.8},
        "encoding": {
            "x": {**x, "field": "margin"}, "y": {**y, "field": "moved"}, "color": colour,
            "shape": _by_state(["circle", "circle", "cross"]), "size": _by_state([26, 34, 120]),
            "description": {"field": "row", "type": "nominal"},
        },
    }  # fmt: skip
    return {"width": _WIDTH, "height": _HEIGHT, "data": {"values": rows},
            "layer": [region, ticks, moves]}  # fmt: skip


def _decades(low: float, high: float) -> list[float]:
    """Return powers of ten between two numbers, or all that are round, if few are."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5)):
        found = [
            d * 10.0**power for power in powers for d in digits if low <= d * 10.0**power <= high
        ]
        if len(found) > 2:
            break
    return found


def _by_state(values: list[Any]) -> Spec:
    scale = {"domain": ["certified", "open", "flipped"], "range": values}
    return {"field": "state", "type": "nominal", "scale": scale}
