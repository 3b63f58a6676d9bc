"""The gradient check on a terminal: the loss, and the gradient that is worst or those that fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

_SHOWN = 5


def print_gradients(console: Console, gradients: Mapping[str, Any]) -> None:
    """Print a gradient check.

    Args:
        console: Where to.
        gradients: As :meth:`mindport.validate.gradients.GradientCheck.to_dict` gives it.
    """
    loss = gradients["loss"]
    mark = "[green]ok[/]" if gradients["loss_ok"] else "[red]FAULTY[/]"
    console.print(
        f"[bold]loss       [/]{loss['oracle']:.9g} in float64, reference {loss['reference']:.9g}, "
        f"candidate {loss['candidate']:.9g}  {mark}"
    )
    results = gradients["parameters"]
    wrong = [result for result in results if not result["ok"]]
    if not wrong:
        worst = max(results, key=lambda result: result["used"] or 0.0)
        console.print(
            f"[bold]gradients  [/]{len(results)} agree; {escape(worst['parameter'])} uses most, "
            f"{worst['used'] or 0.0:.0%}: {worst['candidate']:.2g} (rms) from the float64 gradient "
            f"of {worst['size']:.2g}, the reference {worst['reference']:.2g}",
            soft_wrap=True,
        )
        return
    console.print(
        f"[bold]gradients  [/]{len(wrong)} of {len(results)} are wrong, from the loss backwards:"
    )
    for result in wrong[::-1][:_SHOWN]:
        name, problem = escape(result["parameter"]), escape(result["problem"])
        console.print(f"  [red]FAULTY[/] {name}: {problem}", soft_wrap=True)
    if len(wrong) > _SHOWN:
        console.print(f"  and {len(wrong) - _SHOWN} more")
