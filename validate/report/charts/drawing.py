"""A specification to SVG, by Vega; no browser, no network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mindport.migrate.errors import EnvironmentUnavailableError

Spec = dict[str, Any]
Row = Mapping[str, Any]

_CONFIG = {
    "font": "Arial, Liberation Sans, Helvetica, sans-serif",
    "padding": {"left": 14, "right": 14, "top": 6, "bottom": 14},
    "view": {"stroke": None},
    "axis": {
        "aria": False, "domainColor": "var(--axis)", "gridColor": "var(--grid)",
        "labelColor": "var(--ink-soft)", "labelFontSize": 11, "labelOverlap": "greedy",
        "tickColor": "var(--axis)", "title": None,
    },
    "legend": {"disable": True},
}  # fmt: skip
_COLOURS = Path(__file__).parents[1] / "page" / "colours.css"


def draw(spec: Spec) -> str:
    """Return the SVG of a specification, to stand in a page that defines the colours.

    A mark with a description ``row-…`` gets it as ``data-row``: the page shows that row of a table.

    Raises:
        EnvironmentUnavailableError: If the extra ``report`` is not installed, or fails.
    """
    try:
        import vl_convert
    except ImportError:
        raise missing_extra("vl-convert-python") from None
    whole = {**spec, "background": None, "config": _CONFIG}
    try:
        svg: str = vl_convert.vegalite_to_svg(whole)
    except ValueError as error:  # a chart less, and no reason to lose the verdict
        raise EnvironmentUnavailableError(
            f"vl-convert-python could not draw a chart: {error}.", "Try another version of it."
        ) from None
    svg = re.sub(r' aria-label="(row-[\w-]+)"', r' data-row="\1"', svg)
    # The figure around it says what it is; what Vega says of each mark is English.
    svg = re.sub(r' (?:aria-[a-z]+|role)="[^"]*"| pointer-events="none"', "", svg)
    svg = re.sub(r'<path class="(?:back|fore)ground"[^>]*/>', "", svg)
    return re.sub(r'( (?:d|transform)=")([^"]*)', _round_numbers, svg)


def _round_numbers(attribute: re.Match[str]) -> str:
    """Cut an attribute's numbers to two digits: a hundredth of a pixel."""
    return attribute.group(1) + re.sub(r"(\.\d\d)\d+", r"\1", attribute.group(2))


def draw_alone(spec: Spec, title: str) -> str:
    """Return an SVG that stands alone: with a title, and with its colours, light and dark."""
    svg = draw(spec)
    colours = _COLOURS.read_text(encoding="utf-8")
    head = (
        f"<title>{escape(title)}</title><style>{colours}</style>"
        '<rect width="100%" height="100%" style="fill: var(--page)"/>'
    )
    return re.sub(r"^(<svg[^>]*)>", rf'\1 role="img">{head}', svg, count=1)


def missing_extra(package: str) -> EnvironmentUnavailableError:
    """Return the error that says how to get what draws and fills pages."""
    return EnvironmentUnavailableError(
        f"{package} is not installed; HTML reports and charts are made with it.",
        'Install it: pip install "mindport[report]".',
    )


def layered(rows: Sequence[Row], *layers: Spec, width: int, height: int, **encoding: Any) -> Spec:
    """Return layers over one table of rows, with encodings that they share."""
    return {
        "width": width, "height": height, "data": {"values": list(rows)},
        "encoding": encoding, "layer": list(layers),
    }  # fmt: skip


def along(field: str, names: Sequence[str], labelled: Sequence[str]) -> Spec:
    """Return a horizontal axis of names in their own order, some of which are written below it."""
    return {
        "field": field, "type": "ordinal", "sort": list(names),
        "axis": {"values": list(labelled), "labelAngle": -50, "labelLimit": 150, "grid": False,
                 "labelOverlap": False},
    }  # fmt: skip


def positive(value: float | None) -> float | None:
    """Return what a logarithmic axis can show: the number, or None for a gap."""
    return value if value is not None and value > 0 else None


def width_for(count: int) -> int:
    """Return the width of a chart with so many things along its axis, in pixels."""
    return max(920, 9 * count)
