"""The verdict of two trainings on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mindport.migrate.console import label
from mindport.migrate.language import tell
from mindport.validate.learning.verdict import LearningVerdict
from mindport.validate.report.ending import print_ending

_STYLES = {"pass": "bold green", "fail": "bold red", "not-run": "bold yellow"}
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 48


def print_learning(console: Console, verdict: LearningVerdict) -> None:
    """Print a verdict.

    Args:
        console: Where to.
        verdict: What to print.
    """
    settings, data = verdict.settings, verdict.data
    _say(console, "learning",
         f"{settings['method']}, {settings['tokens']} tokens, {settings['steps']} steps of "
         f"{settings['batch_size']} rows, seed {settings['seed']}")  # fmt: skip
    _say(console, "rows",
         f"{data['train']} to learn from, {data['held_out']} held out; template "
         f"{data['template']!r}", meaning="rows of data")  # fmt: skip
    for side, identity in verdict.identity.items():
        _say(console, side, f"{identity['framework']} {identity['version']}, "
             f"{identity['device']}, {identity['mode']}")  # fmt: skip
    for side, losses in verdict.curves.items():
        console.print(f"[bold]{label('loss')}[/]{sparkline(losses)} {losses[0]:.4f} → "
                      f"{losses[-1]:.4f}  {tell(side)}")  # fmt: skip
    if verdict.parity is not None:
        console.print()
        console.print(_measures(verdict.parity))
        _print_answers(console, verdict)
    badge = f"[{_STYLES[verdict.verdict]}]{tell(verdict.verdict.replace('-', ' ').upper())} [/]"
    print_ending(console, badge, verdict.headline, verdict.notices, verdict.not_run)


def _say(console: Console, word: str, text: str, meaning: str = "") -> None:
    # "rows" is the name of a level of agreement, too, and has another word there.
    head = label(meaning if tell(meaning) != meaning else word)
    console.print(f"[bold]{head}[/]{escape(tell(text))}")


def _measures(parity: Mapping[str, Any]) -> Table:
    heads = ("compared", "apart", "correct runs apart", "allowed", "")
    table = Table(*map(tell, heads), box=None)
    for measure in parity["measures"]:
        table.add_row(
            tell(measure["name"]),
            *(f"{measure[key]:.2g}" for key in ("difference", "floor", "allowed")),
            tell("ok") if measure["ok"] else f"[bold red]{tell('no')}[/]",
        )
    return table


def _print_answers(console: Console, verdict: LearningVerdict) -> None:
    parity = verdict.parity or {}
    for side, found in verdict.improvement.items():
        intervals = f"{_interval(found['before_interval'])} → {_interval(found['after_interval'])}"
        _say(console, side,
             f"accuracy {found['before']:.3f} → {found['after']:.3f} (95 %: {intervals}; "
             f"{found['gained']} rows gained, {found['lost']} lost, "
             f"p = {found['p_value']:.2g})")  # fmt: skip
        tokens = parity[side]["tokens"]
        if tokens:
            words = " ".join(repr(token) for token in tokens)
            console.print(f"{'':11}{escape(tell(f'nearest tokens {words}'))}")
    _say(console, "labels",
         f"{parity['agreement']:.1%} agree; learned prompt: cosine {parity['cosine']:.8f}, norm "
         f"ratio {parity['norm_ratio']:.8f}")  # fmt: skip


def _interval(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """Return a curve as one line of bars, each the mean of its share of the values."""
    count = min(width, len(values))
    ends = [len(values) * k // count for k in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(ends)]
    low, span = min(means), (max(means) - min(means)) or 1.0
    return "".join(_BARS[round((mean - low) / span * (len(_BARS) - 1))] for mean in means)
