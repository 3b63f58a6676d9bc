"""The verdict on a terminal: a table of taps, then what it means."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mindport.migrate.console import label
from mindport.migrate.language import tell
from mindport.validate.diagnose.causes import CAUSES, UNKNOWN
from mindport.validate.report.emulation import print_emulation
from mindport.validate.report.ending import print_ending
from mindport.validate.report.forms import Document, Form
from mindport.validate.report.gradients import print_gradients
from mindport.validate.report.prompts import print_prompts
from mindport.validate.report.summary import accepted_line, identity_line, policy_line, share
from mindport.validate.verdict import TapResult, Verdict

_STYLES = {"pass": "bold green", "fail": "bold red"}


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Print a verdict.

    Args:
        console: Where to.
        verdict: What to print.
    """
    for side in ("reference", "candidate"):
        if side in verdict.identity:
            origin = verdict.checkpoint[side]["origin"]
            line = identity_line(verdict.identity[side])
            _print_line(console, side, f"{line}; weights: {origin}")
    if verdict.inputs:
        _print_line(console, "inputs", _inputs_line(verdict.inputs))
    if verdict.policy:
        _print_line(console, "tolerance", policy_line(verdict.policy))
    for accepted in verdict.accepted:
        _print_line(console, "accepted", accepted_line(accepted))
    if verdict.taps:
        console.print()
        console.print(_taps_table(verdict))
    if verdict.diagnosis:
        console.print()
        _print_diagnosis(console, verdict)
    if verdict.gradients is not None:
        console.print()
        print_gradients(console, verdict.gradients)
    if verdict.prompts is not None:
        console.print()
        print_prompts(console, verdict.prompts)
    if verdict.emulation is not None:
        console.print()
        print_emulation(console, verdict.emulation)
    print_ending(
        console, _badge(verdict.verdict), verdict.headline, verdict.notices, verdict.not_run
    )


def _print_line(console: Console, word: str, said: str) -> None:
    console.print(f"[bold]{label(word)}[/]{escape(tell(said))}")


def _badge(status: str) -> str:
    said = tell(status.replace("-", " ").upper())
    return f"[{_STYLES.get(status, 'bold yellow')}]{said} [/]"


def _inputs_line(inputs: Mapping[str, Any]) -> str:
    return (
        f"{inputs['batch']} x {inputs['length']} tokens, {inputs['padded_positions']} of them "
        "padding and not compared"
    )


def _taps_table(verdict: Verdict) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(tell("tap"), no_wrap=True)
    table.add_column(tell("shape"), no_wrap=True)
    for column in ("max abs", "reference", "candidate", "alone", "used", "cosine"):
        table.add_column(tell(column), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for tap in _shown(verdict):
        table.add_row(*_tap_row(tap, tap.name == verdict.first_faulty_tap))
    table.caption = tell(
        "max abs: between the two sides. reference, candidate: error of a side against the float64 "
        "oracle, in units of what rounding in its dtype predicts (rms). alone: the candidate's, "
        "recomputed from its own inputs. used: share of the tolerance, above 100 % is outside"
    )
    table.caption_justify = "left"
    return table


def _shown(verdict: Verdict) -> list[TapResult]:
    """Return the rows of the table: blocks and what stands between, details where a fault is."""
    block = (verdict.first_faulty_tap or "").rpartition(".")[0]
    return [
        tap
        for tap in verdict.taps
        if not tap.detail
        or (not tap.ok and tap.own_fault)
        or (block and tap.name.startswith(f"{block}."))
    ]


def _tap_row(tap: TapResult, first: bool) -> tuple[str, ...]:
    shape = "x".join(map(str, tap.shape))
    mark = f"[green]{tell('ok')}[/]"
    if not tap.ok:
        word, colour = ("FAULTY", "red") if tap.own_fault else ("follows", "yellow")
        mark = f"[{colour}]{tell(word)}[/]"
    name = f"[bold red]{tap.name}[/]" if first else tap.name
    if tap.facts is None or tap.facts.max_abs is None or tap.used is None:
        return (name, shape, *["-"] * 6, f"{mark} {escape(tell(tap.problem))}")
    accumulated, alone = tap.accumulated, tap.isolated
    return (
        name,
        shape,
        f"{tap.facts.max_abs:.2e}",
        f"{accumulated.reference.rms:.3g}" if accumulated else "-",
        f"{accumulated.candidate.rms:.3g}" if accumulated else "-",
        f"{alone.candidate.rms:.3g}" if alone else "-",
        share(tap.used),
        f"{tap.facts.cosine:.7f}",
        mark,
    )


def _print_diagnosis(console: Console, verdict: Verdict) -> None:
    for found in verdict.diagnosis:
        also = tell(f" (and at {len(found.also)} more taps)") if found.also else ""
        where = f"[bold]{label('why?', 5)}[/]{found.tap}{also}"
        detail = escape(tell(found.detail))
        if found.cause == UNKNOWN:
            console.print(f"{where}: {detail}")
            continue
        how = tell("confirmed" if found.confirmed else f"explains {found.explained:.0%}")
        console.print(f"{where}: {tell(CAUSES[found.cause])}: {detail} [bold]({how})[/]")


def _render(verdict: Verdict, name: str) -> Document:
    text = io.StringIO()
    print_verdict(Console(file=text, width=160, highlight=False), verdict)
    return Document(text.getvalue())


FORM = Form("what the command prints, as plain text", _render)
