"""What two verdicts differ in, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from mindport.migrate.console import label
from mindport.migrate.language import tell
from mindport.validate.report.difference import Difference, Move
from mindport.validate.report.summary import share

_SHOWN = 10
_STYLES = {"worse": "bold red", "better": "bold green", "same": "bold"}


def print_difference(console: Console, found: Difference) -> None:
    """Print a difference, what is worse first.

    Args:
        console: Where to.
        found: What to print.
    """
    for change in found.changes:
        said = f"{change.what}: {change.before} → {change.after}"
        console.print(f"[bold]{label('changed', 9)}[/]{escape(said)}", soft_wrap=True)
    for what, moves in (("tap", found.taps), ("gradient", found.gradients)):
        for kind in ("worse", "better", "same"):
            _print_moves(console, what, kind, [move for move in moves if move.kind == kind])
    for name in found.flips[:_SHOWN]:
        _print_line(console, "worse", f"label of {name} flipped")
    _print_more(console, len(found.flips))
    for name in found.unflipped[:_SHOWN]:
        _print_line(console, "better", f"label of {name} is the reference's again")
    _print_more(console, len(found.unflipped))
    for what in found.lost:
        _print_line(console, "worse", f"{what} were judged before and are not now")
    badge = f"[{_STYLES[found.status]}]{tell(found.status.upper())}[/]"
    console.print(f"{badge} {escape(tell(_summary(found)))}", soft_wrap=True)


def _print_line(console: Console, kind: str, said: str) -> None:
    head = f"[{_STYLES[kind]}]{label(kind, 9)}[/]"
    console.print(f"{head}{escape(tell(said))}", soft_wrap=True)


def _print_moves(console: Console, what: str, kind: str, moves: Sequence[Move]) -> None:
    for move in moves[:_SHOWN]:
        ratio = f", {move.ratio:.3g} times as much" if move.ratio is not None else ""
        why = f", {move.why}" if move.why else ""
        used = f"{share(move.before)} → {share(move.after)} of its tolerance"
        _print_line(console, kind, f"{what} {move.name}: {used}{ratio}{why}")
    _print_more(console, len(moves))


def _print_more(console: Console, count: int) -> None:
    if count > _SHOWN:
        console.print(tell(f"         and {count - _SHOWN} more"))


def _summary(found: Difference) -> str:
    parts = [f"{found.before} before, {found.after} now"]
    moves = (*found.taps, *found.gradients)
    for kind in ("worse", "better"):
        count = sum(move.kind == kind for move in moves)
        if count:
            parts.append(f"{count} taps and gradients {kind}")
    if found.flips or found.unflipped:
        parts.append(f"{len(found.flips)} labels flipped, {len(found.unflipped)} back")
    return "; ".join(parts)
