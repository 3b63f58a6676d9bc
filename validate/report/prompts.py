"""The prompt check on a terminal: one line a level, as ``verdict.json`` has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

_MARKS = {True: "[green]ok  [/]", False: "[bold red]FAIL[/]", None: "[dim]-   [/]"}
_FLIPS_SHOWN = 5


def print_prompts(console: Console, prompts: Mapping[str, Any]) -> None:
    """Print the levels and the first flips.

    Args:
        console: Where to.
        prompts: The section of the verdict.
    """
    console.print(f"[bold]prompts    [/]task {escape(prompts['task'])}, {prompts['items']} items")
    for line in prompt_lines(prompts):
        console.print(line, soft_wrap=True)


def prompt_lines(prompts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines, with rich's markup.

    Args:
        prompts: What :meth:`mindport.prompts.PromptParity.to_dict` returns.
    """
    for level in prompts["levels"]:
        yield f"  {_MARKS[level['ok']]} {level['name']:14}{escape(level['finding'])}"
    for flip in prompts["flips"][:_FLIPS_SHOWN]:
        why = "explained" if flip["explained"] else "[bold red]unexplained[/]"
        yield (
            f"       flip {escape(flip['id'])}: {escape(flip['reference'])} became "
            f"{escape(flip['candidate'])}, margin {flip['margin']:.2g}, bound {flip['bound']:.2g}, "
            f"{why}"
        )
    if len(prompts["flips"]) > _FLIPS_SHOWN:
        yield f"       and {len(prompts['flips']) - _FLIPS_SHOWN} more"
