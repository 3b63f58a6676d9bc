"""What one forward pass shows of a network: which cells ran, in which order, on which tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mindport.validate.own.shapes import Shape


@dataclass(frozen=True)
class Seen:
    """A tensor that went in or out of a cell.

    Attributes:
        shape: Its shape.
        number: The same for the same tensor object, wherever it is seen.
    """

    shape: Shape
    number: int


@dataclass(frozen=True)
class CellRecord:
    """A cell that ran.

    Attributes:
        path: Its path in the network.
        kind: Name of its class.
        parameters: Shapes of the parameters that it owns itself, by name.
        elements: Number of elements of all parameters in it and below.
        leaf: Whether there is no cell below.
        calls: How often it ran.
        entered: When it was first entered, in steps of entering and leaving.
        left: When it was left.
        inputs: Tensors that it was given.
        outputs: Tensors that it returned.
    """

    path: str
    kind: str
    parameters: Mapping[str, Shape]
    elements: int
    leaf: bool
    calls: int
    entered: int
    left: int
    inputs: tuple[Seen, ...]
    outputs: tuple[Seen, ...]

    def contains(self, other: CellRecord) -> bool:
        """Return whether another cell ran within this one."""
        return self.entered < other.entered and other.left < self.left
