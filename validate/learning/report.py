"""The verdict of two trainings on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mindport.validate.learning.verdict import LearningVerdict
from mindport.validate.report.ending import print_ending

_BADGES = {"pass": "[bold green]PASS [/]", "fail": "[bold red]FAIL [/]",
           "not-run": "[bold yellow]NOT RUN [/]"}  # fmt: skip
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 48


def print_learning(console: Console, verdict: LearningVerdict) -> None:
    """Print a verdict.

    Args:
        console: Where to.
        verdict: What to print.
    """
    settings, data = verdict.settings, verdict.data
    console.print(
        f"[bold]learning   [/]{escape(str(settings['method']))}, {settings['tokens']} tokens, "
        f"{settings['steps']} steps of {settings['batch_size']} rows, seed {settings['seed']}"
    )
    console.print(
        f"[bold]rows       [/]{data['train']} to learn from, {data['held_out']} held out; "
        f"template {escape(repr(data['template']))}"
    )
    for side, identity in verdict.identity.items():
        console.print(
            f"[bold]{side:10} [/]{identity['framework']} {identity['version']}, "
            f"{identity['device']}, {identity['mode']}"
        )
    for side, losses in verdict.curves.items():
        console.print(f"[bold]{'loss':10} [/]{sparkline(losses)} {losses[0]:.4f} → "
                      f"{losses[-1]:.4f}  {side}")  # fmt: skip
    if verdict.parity is not None:
        console.print()
        console.print(_measures(verdict.parity))
        _print_answers(console, verdict)
    print_ending(
        console, _BADGES[verdict.verdict], verdict.headline, verdict.notices, verdict.not_run
    )


def _measures(parity: Mapping[str, Any]) -> Table:
    table = Table("compared", "apart", "correct runs apart", "allowed", "", box=None)
    for measure in parity["measures"]:
        table.add_row(
            measure["name"],
            *(f"{measure[key]:.2g}" for key in ("difference", "floor", "allowed")),
            "ok" if measure["ok"] else "[bold red]no[/]",
        )
    return table


def _print_answers(console: Console, verdict: LearningVerdict) -> None:
    parity = verdict.parity or {}
    for side, found in verdict.improvement.items():
        console.print(
            f"[bold]{side:10} [/]accuracy {found['before']:.3f} → {found['after']:.3f} "
            f"(95 %: {_interval(found['before_interval'])} → {_interval(found['after_interval'])}; "
            f"{found['gained']} rows gained, {found['lost']} lost, p = {found['p_value']:.2g})"
        )
        tokens = parity[side]["tokens"]
        if tokens:
            words = " ".join(repr(token) for token in tokens)
            console.print(f"{'':11}nearest tokens {escape(words)}")
    console.print(
        f"[bold]{'labels':10} [/]{parity['agreement']:.1%} agree; learned prompt: cosine "
        f"{parity['cosine']:.8f}, norm ratio {parity['norm_ratio']:.8f}"
    )


def _interval(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """Return a curve as one line of bars, each the mean of its share of the values."""
    count = min(width, len(values))
    ends = [len(values) * k // count for k in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(ends)]
    low, span = min(means), (max(means) - min(means)) or 1.0
    return "".join(_BARS[round((mean - low) / span * (len(_BARS) - 1))] for mean in means)
