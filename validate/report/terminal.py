"""The verdict on a terminal: a table of taps, then what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mindport.validate.verdict import TapResult, Verdict

_BADGES = {"pass": "[bold green]PASS [/]", "fail": "[bold red]FAIL [/]",
           "not-run": "[bold yellow]NOT RUN [/]"}  # fmt: skip


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Print a verdict.

    Args:
        console: Where to.
        verdict: What to print.
    """
    for side in ("reference", "candidate"):
        if side in verdict.identity:
            origin = verdict.checkpoint[side]["origin"]
            line = _identity_line(verdict.identity[side])
            console.print(f"[bold]{side:10} [/]{escape(line)}; weights: {escape(origin)}")
    if verdict.inputs:
        console.print(f"[bold]{'inputs':10} [/]{escape(_inputs_line(verdict.inputs))}")
    if verdict.policy:
        console.print(f"[bold]{'tolerance':10} [/]{escape(_policy_line(verdict.policy))}")
    if verdict.taps:
        console.print()
        console.print(_taps_table(verdict))
    if verdict.prompts is not None:
        console.print()
        _print_prompts(console, verdict.prompts)
    console.print()
    for notice in verdict.notices:
        console.print(f"[yellow]note [/]{escape(notice)}")
    console.print(f"{_BADGES[verdict.verdict]}{escape(verdict.headline)}")
    for reason in verdict.not_run:
        if reason["hint"]:
            console.print(f"[bold]try: [/]{escape(reason['hint'])}")
        for line in reason["last_lines"]:
            console.print(f"  | {escape(line)}")


def _identity_line(identity: Mapping[str, Any]) -> str:
    return (
        f"{identity['framework']} {identity['version']}, {identity['device']}, "
        f"{identity['dtype']}, {identity['mode']}"
    )


def _inputs_line(inputs: Mapping[str, Any]) -> str:
    return (
        f"{inputs['batch']} x {inputs['length']} tokens, {inputs['padded_positions']} of them "
        "padding and not compared"
    )


def _policy_line(policy: Mapping[str, Any]) -> str:
    if policy["name"] == "user":
        return f"atol {policy['atol']:g}, rtol {policy['rtol']:g}, {policy['basis']}"
    return f"{policy['name']}: {policy['basis']}"


def _taps_table(verdict: Verdict) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("tap", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    for column in ("max abs", "max rel", "cosine", "within"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for tap in verdict.taps:
        table.add_row(*_tap_row(tap, tap.name == verdict.first_faulty_tap))
    table.caption = "max rel: the largest |c - r| / (atol + rtol |r|); above 1 is outside"
    table.caption_justify = "left"
    return table


def _tap_row(tap: TapResult, first: bool) -> tuple[str, ...]:
    shape = "x".join(map(str, tap.shape))
    mark = "[green]ok[/]" if tap.ok else "[red]FAULTY[/]"
    name = f"[bold red]{tap.name}[/]" if first else tap.name
    if tap.max_abs is None or tap.max_rel is None or tap.cosine is None or tap.within is None:
        return (name, shape, "-", "-", "-", "-", f"{mark} {escape(tap.problem)}")
    return (
        name,
        shape,
        f"{tap.max_abs:.2e}",
        f"{tap.max_rel:.3g}",
        f"{tap.cosine:.9f}",
        _share(tap.within),
        mark,
    )


def _share(share: float) -> str:
    # Never round a share that is not whole up to 100 %.
    return "100 %" if share == 1.0 else f"{int(share * 10000) / 100:.2f} %"


def _print_prompts(console: Console, prompts: Mapping[str, Any]) -> None:
    console.print(
        f"[bold]prompts    [/]task {escape(prompts['task'])}, {prompts['items']} items: "
        f"{escape(prompts['summary'])}"
    )
