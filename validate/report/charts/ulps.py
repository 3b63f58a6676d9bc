"""How many units in the last place the two sides are apart: at every tap, and at one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from mindport.validate.pairs.facts import PairFacts
from mindport.validate.report.charts.drawing import Spec, along, layered, width_for
from mindport.validate.report.charts.errors import labelled
from mindport.validate.verdict import TapResult, Verdict

_STEPS = 6  # shades: a tenth of the elements less with each
_ROW = 15
_LAST = "32769-65536"  # beyond it stand differences of signs and of values next to zero
_BEYOND = "> 65536"


def chart_ulps(verdict: Verdict) -> Spec | None:
    """Return distance by tap, the shade saying the share of elements; None without figures."""
    taps = [(i, tap) for i, tap in enumerate(verdict.taps) if tap.facts is not None]
    if not taps:
        return None
    counts = {i: binned(tap.facts) for i, tap in taps if tap.facts}
    bins = used_bins(counts.values())
    rows = [
        {"tap": tap.name, "bin": label, "row": f"row-taps-{i}",
         "shade": shade(counts[i][label] / tap.facts.compared)}
        for i, tap in taps if tap.facts
        for label in bins if counts[i][label]
    ]  # fmt: skip
    names = [tap.name for tap in verdict.taps]
    shades = [f"var(--shade-{step})" for step in range(_STEPS)]
    tiles = {
        "mark": {"type": "rect"},
        "encoding": {
            "y": {"field": "bin", "type": "ordinal", "sort": bins[::-1],
                  "scale": {"domain": bins[::-1]}, "axis": {"grid": False, "labelOverlap": False}},
            "color": {"field": "shade", "type": "ordinal",
                      "scale": {"domain": list(range(_STEPS)), "range": shades}},
            "description": {"field": "row", "type": "nominal"},
        },
    }  # fmt: skip
    x = along("tap", names, labelled(verdict))
    return layered(
        rows, tiles, width=width_for(len(names)), height=_ROW * len(bins),
        x={**x, "scale": {"domain": names}},
    )  # fmt: skip


def chart_ulps_of(tap: TapResult) -> Spec | None:
    """Return the histogram of one tap, in per cent of its elements; None without figures."""
    if tap.facts is None or not tap.facts.compared:
        return None
    counts = binned(tap.facts)
    bins = used_bins([counts])
    rows = [{"bin": label, "share": counts[label] / tap.facts.compared} for label in bins]
    bars = {
        "mark": {"type": "bar", "color": "var(--candidate)", "cornerRadiusEnd": 2, "aria": False},
        "encoding": {"y": {"field": "share", "type": "quantitative",
                           "axis": {"format": "~%", "tickCount": 4}}},
    }  # fmt: skip
    return layered(
        rows, bars, width=380, height=150,
        x={"field": "bin", "type": "ordinal", "sort": bins,
           "axis": {"labelAngle": -45, "grid": False}},
    )  # fmt: skip


def shade(part: float) -> int:
    """Return how dark a share is drawn: 5 for most of the elements, one less per factor of ten."""
    return max(0, _STEPS - 1 + math.ceil(math.log10(part) - 0.5)) if part > 0 else 0


def binned(facts: PairFacts) -> dict[str, int]:
    """Return how many elements are so far apart, by label; large distances are put together."""
    labels = list(facts.ulps)
    kept = labels[: labels.index(_LAST) + 1] if _LAST in labels else labels
    counts = {label: facts.ulps[label] for label in kept if label != "nan"}
    counts[_BEYOND] = sum(facts.ulps[label] for label in labels if label not in {*kept, "nan"})
    counts["NaN"] = facts.ulps.get("nan", 0)
    return counts


def used_bins(counts: Iterable[Mapping[str, int]]) -> list[str]:
    """Return the labels from no distance up to the largest that any has."""
    every = list(counts)
    labels = list(every[0])
    used = [place for place, label in enumerate(labels) if any(one[label] for one in every)]
    return labels[: max(used, default=0) + 1]
