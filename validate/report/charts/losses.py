"""The loss of every step on both sides, while a prompt is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mindport.validate.report.charts.drawing import Spec, layered

_WIDTH, _HEIGHT = 640, 240
# The reference is drawn broad, so that it shows beneath the candidate where both are alike.
_BREADTHS = {"reference": 6, "candidate": 1.5}


def chart_losses(curves: Mapping[str, Sequence[float]]) -> Spec | None:
    """Return the chart; None if no side has a curve.

    Args:
        curves: By side, as :class:`mindport.validate.learning.verdict.LearningVerdict` has them.
    """
    rows = [
        {"side": side, "step": step, "loss": loss}
        for side in _BREADTHS
        for step, loss in enumerate(curves.get(side, ()), 1)
    ]
    if not rows:
        return None
    y = {"field": "loss", "type": "quantitative", "scale": {"zero": False},
         "axis": {"tickCount": 5}}  # fmt: skip

    def line(side: str, breadth: float) -> dict[str, Any]:
        return {
            "transform": [{"filter": f"datum.side == '{side}'"}],
            "mark": {"type": "line", "color": f"var(--{side})", "strokeWidth": breadth,
                     "aria": False},
            "encoding": {"y": y},
        }  # fmt: skip

    return layered(
        rows,
        *(line(side, breadth) for side, breadth in _BREADTHS.items()),
        width=_WIDTH,
        height=_HEIGHT,
        x={"field": "step", "type": "quantitative", "axis": {"grid": False, "tickCount": 8}},
    )
