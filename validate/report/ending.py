"""How every report on a terminal ends: notices, the verdict, and what could not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from mindport.migrate.console import label
from mindport.migrate.language import tell


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
        badge: The verdict in the reader's language, with rich's markup.
        headline: The reason.
        notices: What a reader should know.
        not_run: Hint and last lines of what could not run.
    """
    console.print()
    for notice in notices:
        console.print(f"[yellow]{label('note', 5)}[/]{escape(tell(notice))}")
    console.print(f"{badge}{escape(tell(headline))}")
    for reason in not_run:
        if reason["hint"]:
            console.print(f"[bold]{label('try:', 5)}[/]{escape(tell(reason['hint']))}")
        for line in reason["last_lines"]:
            console.print(f"  | {escape(line)}")
