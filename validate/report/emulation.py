"""An emulation on a terminal: the unit, who says so and what is assumed, and the worst taps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

_SHOWN = 3


def print_emulation(console: Console, emulation: Mapping[str, Any]) -> None:
    """Print an emulation.

    Args:
        console: Where to.
        emulation: The section of the verdict.
    """
    unit = emulation["unit"]
    console.print(
        f"[bold]emulated   [/]{escape(unit['title'])}: inputs of matrix products in "
        f"{unit['inputs']}, sums in {unit['accumulation']}, results in {unit['output']}; as with "
        f"{escape(unit['setting'])}",
        soft_wrap=True,
    )
    for name, lines in (("source", unit["source"]), ("assumed", unit["assumed"])):
        for line in lines:
            console.print(f"  [bold]{name:9}[/]{escape(line)}", soft_wrap=True)
    known = [tap for tap in emulation["taps"] if tap["found"] is not None]
    for tap in sorted(known, key=lambda tap: -tap["found"] / tap["limit"])[:_SHOWN]:
        console.print(
            f"  [bold]tap      [/]{escape(tap['name'])}: {tap['found']:.2g} (rms) found, "
            f"{tap['predicted']:.2g} predicted, {tap['limit']:.2g} allowed",
            soft_wrap=True,
        )
    for name, count in emulation["beyond_range"].items():
        console.print(
            f"  [red]overflow [/]{escape(name)}: {count} values of its product are too large for "
            f"{unit['inputs']}",
            soft_wrap=True,
        )
