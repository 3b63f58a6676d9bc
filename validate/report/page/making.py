"""A verdict to the page."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mindport.validate.report.charts.drawing import Spec, draw, missing_extra
from mindport.validate.report.charts.errors import STATISTICS, VIEWS, chart_errors
from mindport.validate.report.charts.gradients import chart_gradients
from mindport.validate.report.charts.output import allowed_error, chart_output, output_rows
from mindport.validate.report.charts.room import SHOWN, chart_room
from mindport.validate.report.charts.ulps import chart_ulps, chart_ulps_of
from mindport.validate.report.page.frame import LANGUAGES, colours, read_part, script_hash
from mindport.validate.report.page.heat import heat_map
from mindport.validate.report.page.texts import say, tell
from mindport.validate.report.summary import (
    accepted_line,
    figure,
    fullest_tap,
    identity_line,
    policy_line,
    share,
    state_of,
)
from mindport.validate.verdict import TapResult, Verdict

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent
_WORST = 12


@dataclass(frozen=True)
class Drawing:
    """A chart in the page.

    Attributes:
        view: ``accumulated`` or ``isolated``, where there is a choice.
        statistic: ``rms``, ``peak`` or ``absolute``, where there is a choice.
        svg: Markup.
    """

    view: str
    statistic: str
    svg: Any


def make_page(verdict: Verdict) -> str:
    """Return the page: one file, with its style, script and charts.

    Raises:
        EnvironmentUnavailableError: If the extra ``report`` is not installed.
    """
    environment = _environment()
    script = read_part("switch.js", "script.js")
    page: str = environment.get_template("page.html.j2").render(
        verdict=verdict,
        style=_plain(colours() + read_part("style.css", "switch.css")),
        script=_plain(script),
        script_hash=script_hash(script),
        languages=LANGUAGES,
        cause=verdict.first_diagnosis,
        fullest=fullest_tap(verdict),
        wrong=[tap for tap in verdict.taps if not tap.ok],
        command=shlex.join(verdict.made.get("command", ())),
        **_charts(verdict),
    )
    return page


def _environment() -> Environment:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise missing_extra("jinja2") from None
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        say=say,
        tell=tell,
        accepted_line=accepted_line,
        state_of=state_of,
        identity_line=identity_line,
        policy_line=policy_line,
    )
    environment.filters.update(figure=figure, share=share)
    return environment


def _charts(verdict: Verdict) -> dict[str, Any]:
    charts = [
        Drawing(view, statistic, _svg(spec))
        for view in VIEWS
        for statistic in STATISTICS
        if (spec := chart_errors(verdict, view, statistic)) is not None
    ]
    # Where something is wrong, the view in which faults do not follow from one another comes first.
    views = [view for view in VIEWS if any(chart.view == view for chart in charts)]
    first = views[-1] if verdict.first_faulty_tap and views else "accumulated"
    rows = output_rows(verdict.sample) if verdict.sample else []
    candidates = [row for row in rows if row["side"] == "candidate"]
    prompts, gradients = verdict.prompts, verdict.gradients
    return {
        "errors": charts,
        "views": views,
        "first_view": first,
        "heat": heat_map(verdict),
        "ulps": _svg(chart_ulps(verdict)),
        "histograms": [(tap, _svg(chart_ulps_of(tap))) for tap in _histogram_taps(verdict)],
        "output": _svg(chart_output(verdict)),
        "output_allowed": allowed_error(verdict),
        "output_worst": sorted(candidates, key=lambda row: -abs(row["error"]))[:_WORST],
        "room": _svg(chart_room(prompts["room"])) if prompts else None,
        "room_shown": SHOWN,
        "gradients": _svg(chart_gradients(gradients["parameters"])) if gradients else None,
    }


def _histogram_taps(verdict: Verdict) -> list[TapResult]:
    """Return the taps whose distances are drawn one by one: the first fault, and the output."""
    shown = [tap for tap in verdict.taps if tap.name == verdict.first_faulty_tap]
    shown += [tap for tap in verdict.taps[-1:] if tap not in shown]
    return [tap for tap in shown if tap.facts is not None and tap.facts.compared]


def _svg(spec: Spec | None) -> Any:
    return None if spec is None else _plain(draw(spec))


def _plain(text: str) -> Any:
    """Mark our own text, and what Vega has escaped, as markup."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704
