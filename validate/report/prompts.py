"""The prompt check on a terminal: one line a level, as ``verdict.json`` has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from mindport.migrate.console import label
from mindport.migrate.language import tell

_MARKS = {True: ("ok", "green"), False: ("FAIL", "bold red"), None: ("-", "dim")}
_FLIPS_SHOWN = 5


def print_prompts(console: Console, prompts: Mapping[str, Any]) -> None:
    """Print the levels and the first flips.

    Args:
        console: Where to.
        prompts: The section of the verdict.
    """
    said = tell(f"task {prompts['task']}, {prompts['items']} items")
    console.print(f"[bold]{label('prompts')}[/]{escape(said)}")
    for line in prompt_lines(prompts):
        console.print(line, soft_wrap=True)


def prompt_lines(prompts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines, with rich's markup.

    Args:
        prompts: What :meth:`mindport.prompts.PromptParity.to_dict` returns.
    """
    for level in prompts["levels"]:
        word, style = _MARKS[level["ok"]]
        mark, name = f"[{style}]{label(word, 4)}[/]", label(level["name"], 14)
        yield f"  {mark} {name}{escape(tell(level['finding']))}"
    for flip in prompts["flips"][:_FLIPS_SHOWN]:
        said = tell(
            f"flip {flip['id']}: {flip['reference']} became {flip['candidate']}, "
            f"margin {flip['margin']:.2g}, bound {flip['bound']:.2g}"
        )
        why = tell("explained" if flip["explained"] else "unexplained")
        why = why if flip["explained"] else f"[bold red]{why}[/]"
        yield f"       {escape(said)}, {why}"
    if len(prompts["flips"]) > _FLIPS_SHOWN:
        yield tell(f"       and {len(prompts['flips']) - _FLIPS_SHOWN} more")
