"""The gradient check on a terminal: the loss, and the gradient that is worst or those that fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from mindport.migrate.console import label
from mindport.migrate.language import tell

_SHOWN = 5


def print_gradients(console: Console, gradients: Mapping[str, Any]) -> None:
    """Print a gradient check.

    Args:
        console: Where to.
        gradients: As :meth:`mindport.validate.gradients.GradientCheck.to_dict` gives it.
    """
    loss = gradients["loss"]
    mark = f"[green]{tell('ok')}[/]" if gradients["loss_ok"] else f"[red]{tell('FAULTY')}[/]"
    said = tell(
        f"{loss['oracle']:.9g} in float64, reference {loss['reference']:.9g}, "
        f"candidate {loss['candidate']:.9g}"
    )
    console.print(f"[bold]{label('loss')}[/]{said}  {mark}")
    results = gradients["parameters"]
    wrong = [result for result in results if not result["ok"]]
    if not wrong:
        worst = max(results, key=lambda result: result["used"] or 0.0)
        said = tell(
            f"{len(results)} agree; {worst['parameter']} uses most, "
            f"{worst['used'] or 0.0:.0%}: {worst['candidate']:.2g} (rms) from the float64 gradient "
            f"of {worst['size']:.2g}, the reference {worst['reference']:.2g}"
        )
        console.print(f"[bold]{label('gradients')}[/]{escape(said)}", soft_wrap=True)
        return
    said = tell(f"{len(wrong)} of {len(results)} are wrong, from the loss backwards:")
    console.print(f"[bold]{label('gradients')}[/]{said}")
    for result in wrong[::-1][:_SHOWN]:
        name, problem = escape(result["parameter"]), escape(tell(result["problem"]))
        console.print(f"  [red]{tell('FAULTY')}[/] {name}: {problem}", soft_wrap=True)
    if len(wrong) > _SHOWN:
        console.print(tell(f"  and {len(wrong) - _SHOWN} more"))
