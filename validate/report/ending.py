"""How every report on a terminal ends: notices, the verdict, and what could not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape


def print_ending(
    console: Console,
    badge: str,
    headline: str,
    notices: Sequence[str],
    not_run: Sequence[Mapping[str, Any]],
) -> None:
    """Print the last lines.

    Args:
        console: Where to.
        badge: The verdict, with rich's markup.
        headline: The reason.
        notices: What a reader should know.
        not_run: Hint and last lines of what could not run.
    """
    console.print()
    for notice in notices:
        console.print(f"[yellow]note [/]{escape(notice)}")
    console.print(f"{badge}{escape(headline)}")
    for reason in not_run:
        if reason["hint"]:
            console.print(f"[bold]try: [/]{escape(reason['hint'])}")
        for line in reason["last_lines"]:
            console.print(f"  | {escape(line)}")
