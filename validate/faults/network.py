"""Where a fault of the network is done: the cells of a step, found by its tap.

A cell is broken by giving this one instance another ``construct``. That keeps its parameters and
attributes, so that whoever else reads them (a tied head, say) still finds them; it works in eager
mode alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mindport.migrate.architecture import Architecture, Head, at_layer
from mindport.migrate.computation import Lookup, Project, Score, Step, network_steps
from mindport.validate.faults.fault import Place, tap_name

Arrays = Callable[[np.ndarray], np.ndarray]


@dataclass
class NetworkSite:
    """A loaded network, for a fault to break.

    Attributes:
        mindspore: The package, handed in: nothing here imports a framework.
        network: One of our networks.
        architecture: What it is.
        head: Its head.
        block: The block that is to be broken.
        severity: How much; None if the fault knows no degrees.
        tap: Where the fault first shows, the default of every ``place``.
    """

    mindspore: Any
    network: Any
    architecture: Architecture
    head: Head
    block: int
    severity: float | None
    tap: Place = ""

    @property
    def amount(self) -> float:
        """The severity, of a fault that has one."""
        if self.severity is None:
            raise ValueError(f"The fault at {self.tap} needs a severity.")
        return self.severity

    @property
    def config(self) -> Mapping[str, Any]:
        """The network's resolved config."""
        fields: Mapping[str, Any] = vars(self.network.config)
        return fields

    @property
    def heads(self) -> int:
        """How many attention heads there are."""
        operations = (step.operation for step in self.head.steps)
        return int(self.config[next(o.heads for o in operations if isinstance(o, Score))])

    @property
    def body(self) -> Any:
        """The network without its head."""
        return _walk(self.network, self.head.prefix.rstrip("."))

    def step(self, place: Place = "") -> Step:
        """Return the step that makes the tap of a place."""
        wanted = tap_name(place or self.tap, self.architecture.name, self.block)
        layers = self.config[self.architecture.layers]
        return next(s for s in network_steps(self.head.steps, layers) if s.tap == wanted)

    def owner(self, place: Place = "") -> Any:
        """Return the cell that owns the parameters of a step: a projection, a norm."""
        module = self.step(place).module
        own = any(p.module == module for p in self.head.parameters)
        return _walk(self.network if own else self.body, module)

    def table(self, ids: str, place: Place = "") -> Any:
        """Return the embedding cell that looks up an input."""
        operation = self.step(place).operation
        if not isinstance(operation, Lookup):
            raise TypeError(f"{self.step(place).tap} is made by {operation}, not by a lookup.")
        return _walk(self.body, next(module for module, name in operation.tables if name == ids))

    def cell(self, role: str) -> Any:
        """Return a cell that no step names, by its role (a key of ``Architecture.cells``)."""
        return _walk(self.body, at_layer(self.architecture.cells[role], self.block))

    def wrap(
        self,
        cell: Any,
        before: Callable[..., tuple[Any, ...]] | None = None,
        after: Callable[..., Any] | None = None,
    ) -> None:
        """Change what goes into a cell, or what comes out of it.

        Args:
            cell: The instance.
            before: From its arguments to those that it gets instead.
            after: From its result and its (changed) arguments to the result that it gives instead.
        """
        original = cell.construct

        def construct(*given: Any) -> Any:
            arguments = before(*given) if before else given
            result = original(*arguments)
            return after(result, *arguments) if after else result

        cell.construct = construct

    def replace(self, cell: Any, construct: Callable[..., Any]) -> None:
        """Let a cell compute something else altogether."""
        # A cell in this place would be taken for a child.
        cell.construct = lambda *given: construct(*given)

    def change_output(self, change: Callable[[Any], Any], place: Place = "") -> None:
        """Change the output of a projection; of a fused one, the part that is the step's."""
        operation = self.step(place).operation
        number, count = operation.part if isinstance(operation, Project) else (0, 1)

        def after(result: Any, *_: Any) -> Any:
            parts = list(self.mindspore.ops.chunk(result, count, -1)) if count > 1 else [result]
            parts[number] = change(parts[number])
            return self.mindspore.ops.cat(parts, -1) if count > 1 else parts[0]

        self.wrap(self.owner(place), after=after)

    def on_arrays(self, change: Arrays) -> Callable[[Any], Any]:
        """Return a change of arrays as one of tensors, dtype kept."""

        def of_tensor(tensor: Any) -> Any:
            return self.mindspore.Tensor(change(tensor.asnumpy()), tensor.dtype)

        return of_tensor


def _walk(cell: Any, path: str) -> Any:
    for name in filter(None, path.split(".")):
        cell = cell[int(name)] if name.isdigit() else getattr(cell, name)
    return cell
