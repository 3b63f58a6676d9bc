"""An emulation on a terminal: the unit, who says so and what is assumed, and the worst taps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from mindport.migrate.console import label
from mindport.migrate.language import tell

_SHOWN = 3


def print_emulation(console: Console, emulation: Mapping[str, Any]) -> None:
    """Print an emulation.

    Args:
        console: Where to.
        emulation: The section of the verdict.
    """
    unit = emulation["unit"]
    said = tell(
        f"{unit['title']}: inputs of matrix products in {unit['inputs']}, sums in "
        f"{unit['accumulation']}, results in {unit['output']}; as with {unit['setting']}"
    )
    console.print(f"[bold]{label('emulated')}[/]{escape(said)}", soft_wrap=True)
    for name, lines in (("source", unit["source"]), ("assumed", unit["assumed"])):
        for line in lines:
            console.print(f"  [bold]{label(name, 9)}[/]{escape(tell(line))}", soft_wrap=True)
    known = [tap for tap in emulation["taps"] if tap["found"] is not None]
    for tap in sorted(known, key=lambda tap: -tap["found"] / tap["limit"])[:_SHOWN]:
        said = tell(
            f"{tap['name']}: {tap['found']:.2g} (rms) found, {tap['predicted']:.2g} predicted, "
            f"{tap['limit']:.2g} allowed"
        )
        console.print(f"  [bold]{label('tap', 9)}[/]{escape(said)}", soft_wrap=True)
    for name, count in emulation["beyond_range"].items():
        said = tell(f"{name}: {count} values of its product are too large for {unit['inputs']}")
        console.print(f"  [red]{label('overflow', 9)}[/]{escape(said)}", soft_wrap=True)
