"""The error of every parameter's gradient, on a logarithmic scale, with what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mindport.validate.report.charts.drawing import Spec, along, layered, positive, width_for

# By field: the name of its colour, and how its line is drawn.
_LINES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "size": ("floor", {"strokeDash": [2, 3]}),
    "allowed": ("tolerance", {"strokeDash": [7, 4]}),
    "reference": ("reference", {}),
    "candidate": ("candidate", {}),
}


def chart_gradients(parameters: Sequence[Mapping[str, Any]]) -> Spec | None:
    """Return the chart; None if no gradient has figures.

    Args:
        parameters: The results, in network order, as the verdict has them.
    """
    rows: list[dict[str, Any]] = [
        {"parameter": result["parameter"], "row": f"row-gradients-{place}",
         "state": "ok" if result["ok"] else "faulty",
         **{name: positive(result[name]) for name in _LINES}}
        for place, result in enumerate(parameters)
    ]  # fmt: skip
    if all(row["candidate"] is None for row in rows):
        return None
    names = [row["parameter"] for row in rows]
    step = -(-len(names) // 50)
    wrong = [row["parameter"] for row in rows if row["state"] == "faulty"][:1]
    y = {"type": "quantitative", "scale": {"type": "log", "nice": False, "padding": 12},
         "axis": {"format": ".0~e", "tickCount": 6}}  # fmt: skip
    lines: list[Spec] = [
        {
            "transform": [{"filter": f"isValid(datum.{field})"}],
            "mark": {"type": "line", "color": f"var(--{colour})", "strokeWidth": 2, "aria": False,
                     **style},
            "encoding": {"y": {**y, "field": field}},
        }
        for field, (colour, style) in _LINES.items()
    ]  # fmt: skip
    points = {
        "transform": [{"filter": "isValid(datum.candidate)"}],
        "mark": {"type": "point", "filled": True, "opacity": 1},
        "encoding": {
            "y": {**y, "field": "candidate"},
            "color": _by_state(["var(--candidate)", "var(--bad)"]),
            "shape": _by_state(["circle", "cross"]),
            "size": _by_state([34, 110]),
            "description": {"field": "row", "type": "nominal"},
        },
    }
    return layered(
        rows, *lines, points, width=width_for(len(names)), height=280,
        x=along("parameter", names, [*names[::step], *wrong]),
    )  # fmt: skip


def _by_state(values: list[Any]) -> Spec:
    return {"field": "state", "type": "nominal",
            "scale": {"domain": ["ok", "faulty"], "range": values}}  # fmt: skip
