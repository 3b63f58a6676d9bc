"""The verdict for a pull request: what ran, what came out, the first fault, a chart beside it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.diagnose.causes import CAUSES
from mindport.validate.report.charts.drawing import draw_alone
from mindport.validate.report.charts.errors import View, chart_errors
from mindport.validate.report.forms import Document, Form
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

_WRONG_SHOWN, _FLIPS_SHOWN = 20, 10


def _render(verdict: Verdict, name: str) -> Document:
    pictures, chart = {}, []
    if name and verdict.taps:
        picture, said = f"{name}-errors.svg", "Error at every tap, reference and candidate"
        try:
            spec = chart_errors(verdict, _view(verdict), "rms")
            if spec is not None:
                pictures[picture] = draw_alone(spec, said)
                chart = [f"![{said}]({picture})", "", _chart_caption(verdict), ""]
        except EnvironmentUnavailableError as error:
            chart = [f"_No chart: {error.message} {error.hint}_", ""]
    what = f"{verdict.architecture} {verdict.head}"
    lines = [
        f"## {verdict.verdict.upper()}: {plain_text(what)}",
        "",
        plain_text(verdict.headline),
        "",
        *_table(("", "result"), _results(verdict)),
        *_table(("", "reference", "candidate"), _sides(verdict)),
        *chart,
        *_taps(verdict),
        *_flips(verdict),
        *_list("What could not run", (_reason(reason) for reason in verdict.not_run)),
        *_list("Notes", verdict.notices),
        *_again(verdict),
    ]
    return Document("\n".join(lines).rstrip() + "\n", pictures)


def _results(verdict: Verdict) -> Iterator[tuple[str, ...]]:
    if verdict.taps:
        right = sum(tap.ok for tap in verdict.taps)
        yield "taps", f"{right} of {len(verdict.taps)} agree"
    if verdict.first_faulty_tap:
        yield "first faulty tap", _code(verdict.first_faulty_tap)
    if cause := verdict.first_diagnosis:
        how = "confirmed" if cause.confirmed else f"explains {cause.explained:.0%}"
        yield "cause", f"{plain_text(CAUSES[cause.cause])}: {plain_text(cause.detail)} ({how})"
    elif not verdict.first_faulty_tap and (fullest := fullest_tap(verdict)):
        yield "largest use of the tolerance", f"{share(fullest.used)}, at {_code(fullest.name)}"
    if verdict.gradients:
        yield "gradients", plain_text(verdict.gradients["problem"] or verdict.gradients["summary"])
    if verdict.prompts:
        yield "prompts", plain_text(f"{verdict.prompts['task']}: {verdict.prompts['headline']}")
    if verdict.policy:
        yield "tolerance", plain_text(policy_line(verdict.policy))
    for accepted in verdict.accepted:
        yield "accepted", plain_text(accepted_line(accepted))


def _sides(verdict: Verdict) -> Iterator[tuple[str, ...]]:
    sides = [side for side in ("reference", "candidate") if side in verdict.identity]
    if len(sides) == 2:
        yield "ran", *(plain_text(identity_line(verdict.identity[side])) for side in sides)
        yield "weights", *(plain_text(verdict.checkpoint[side]["origin"]) for side in sides)
        yield "parameters loaded", *(str(verdict.load[side]["loaded"]) for side in sides)


def _view(verdict: Verdict) -> View:
    known = any(tap.isolated for tap in verdict.taps)
    return "isolated" if verdict.first_faulty_tap and known else "accumulated"


def _chart_caption(verdict: Verdict) -> str:
    what = "each operation from its own inputs" if _view(verdict) == "isolated" else "whole forward"
    return (
        f"Error at every tap, {what}: root mean square in units of what rounding predicts "
        "(dotted). Blue is the candidate, grey the reference, dashed the tolerance; a red cross is "
        "a fault."
    )


def _taps(verdict: Verdict) -> Iterator[str]:
    wrong = [tap for tap in verdict.taps if not tap.ok]
    faulty = [tap for tap in wrong if tap.own_fault] or wrong
    if wrong:
        yield from ("### Taps that are wrong", "")
        yield from _table(_COLUMNS, (_tap(tap) for tap in faulty[:_WRONG_SHOWN]))
        more = len(faulty[_WRONG_SHOWN:])
        said = [f"{more} more are faulty"] * bool(more)
        said += [f"{len(wrong) - len(faulty)} more are off as a consequence"] * (wrong != faulty)
        yield from (f"… {part}.\n" for part in said)
    outer = [tap for tap in verdict.taps if not tap.detail]
    if outer:
        yield from ("<details><summary>Taps outside and between blocks</summary>", "")
        yield from _table(_COLUMNS, map(_tap, outer))
        yield from ("</details>", "")


_COLUMNS = ("tap", "max abs", "reference", "candidate", "alone", "used", "", "")


def _tap(tap: TapResult) -> tuple[str, ...]:
    accumulated, alone = tap.accumulated, tap.isolated
    return (
        _code(tap.name),
        figure(tap.facts.max_abs if tap.facts else None),
        figure(accumulated.reference.rms if accumulated else None),
        figure(accumulated.candidate.rms if accumulated else None),
        figure(alone.candidate.rms if alone else None),
        share(tap.used),
        state_of(tap),
        plain_text(tap.problem),
    )


def _flips(verdict: Verdict) -> Iterator[str]:
    flips = verdict.prompts["flips"] if verdict.prompts else []
    if not flips:
        return
    yield from ("### Labels that flipped", "")
    columns = ("item", "text", "true", "reference", "candidate", "margin", "bound", "")
    rows = (
        (
            *(plain_text(flip[key]) for key in ("id", "text", "label", "reference", "candidate")),
            figure(flip["margin"]),
            figure(flip["bound"]),
            "explained" if flip["explained"] else "**unexplained**",
        )
        for flip in flips[:_FLIPS_SHOWN]
    )
    yield from _table(columns, rows)
    if len(flips) > _FLIPS_SHOWN:
        yield from (f"… and {len(flips) - _FLIPS_SHOWN} more.", "")


def _reason(reason: Mapping[str, str]) -> str:
    return f"the {reason['side']}: {reason['reason']} {reason['hint']}"


def _list(title: str, lines: Iterable[str]) -> Iterator[str]:
    items = [f"- {plain_text(line)}" for line in lines]
    if items:
        yield from (f"### {title}", "", *items, "")


def _again(verdict: Verdict) -> Iterator[str]:
    command = verdict.made.get("command")
    if command:
        said = shlex.join(command).replace("```", "")
        yield from ("```sh", said, "```")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if lines:
        yield from (f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *lines, "")


def plain_text(text: str) -> str:
    """Return text that shows as it is, in a table too: no markup, no link, no mention."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", line).replace("@", "&#64;")


def _code(name: str) -> str:
    """Return a name as code, where nothing but the backtick and the pipe means anything."""
    return f"`{' '.join(name.split()).replace('`', chr(39)).replace('|', '¦')}`"


FORM = Form("for a pull request, with an SVG chart beside it; the chart needs mindport[report]",
            _render)  # fmt: skip
