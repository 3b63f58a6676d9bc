"""The words in which an architecture file states what its network computes.

A *step* is one operation: the value of a tap from the values of other taps and from parameters.
The steps of a head, in network order, are the whole network. Who needs the mathematics (to
recompute a layer in float64, to predict its rounding error, to test what is wrong with it) reads
it here, so that none of that knows an architecture by name.

Shapes: ``(batch, seq, width)`` unless said otherwise; ``heads * head_dim = width``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mindport.migrate.architecture import Kind, at_layer, over_layers

PREVIOUS = "{previous}"  # as an input: what goes into the block

Rows = Literal["all", "first", "last"]


@dataclass(frozen=True)
class Lookup:
    """The sum of rows of embedding tables.

    Attributes:
        tables: Module of each table, and the name of the model input that holds its ids.
    """

    tables: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Norm:
    """Layer norm over the last axis.

    Attributes:
        module: Owner of scale and shift.
        eps: Config field of the number added to the variance, or the number where no field
            says it.
    """

    module: str
    eps: str | float

    def epsilon(self, config: Mapping[str, Any]) -> float:
        """Return the number that is added to the variance."""
        return float(config[self.eps] if isinstance(self.eps, str) else self.eps)


@dataclass(frozen=True)
class Project:
    """A matrix product, with a bias or without.

    Attributes:
        module: Owner of the matrix.
        kind: ``LINEAR`` or ``CONV1D``.
        bias: Owner of the bias; empty for none.
        part: Which of how many equal parts of the output this is: ``(0, 3)`` is the first third.
        rows: Which positions of the sequence are projected: all, the first, or the last that is
            not ``pad_token_id``.
        squeeze: Whether the last axis, of size one, is dropped.
    """

    module: str
    kind: Kind = Kind.LINEAR
    bias: str = ""
    part: tuple[int, int] = (0, 1)
    rows: Rows = "all"
    squeeze: bool = False


@dataclass(frozen=True)
class Score:
    """Query times key by head, scaled: ``(batch, heads, query, key)``.

    Attributes:
        heads: Config field of the number of heads.
        causal: Whether a query sees no later key.
        scaled: Config field that, when false, leaves out ``head_dim ** -0.5``; empty for always.
        by_layer: Config field that, when true, also divides by the block's number from 1.
    """

    heads: str
    causal: bool
    scaled: str = ""
    by_layer: str = ""


@dataclass(frozen=True)
class Softmax:
    """The scores of the keys that a query may see, made into weights that sum to 1.

    Attributes:
        causal: Whether a query sees no later key.
    """

    causal: bool


@dataclass(frozen=True)
class Mix:
    """Values mixed by the weights, heads side by side again."""

    heads: str


@dataclass(frozen=True)
class Activate:
    """A function of each element.

    Attributes:
        field: Config field that names it; empty for ``function``.
        function: Its name where no field says it.
    """

    field: str = ""
    function: str = ""


@dataclass(frozen=True)
class Add:
    """The sum of two taps."""


Operation = Lookup | Norm | Project | Score | Softmax | Mix | Activate | Add


@dataclass(frozen=True)
class Step:
    """One operation of the network, or with ``{i}`` in ``tap`` one per block.

    Attributes:
        tap: Name of the tap that it makes.
        operation: What is done.
        inputs: Names of the taps that it is done to; ``{previous}`` is what goes into the block.
        layer: The block, filled in by :func:`network_steps`.
    """

    tap: str
    operation: Operation
    inputs: tuple[str, ...] = ()
    layer: int | None = None

    @property
    def per_layer(self) -> bool:
        """Whether the step exists once per block."""
        return "{i}" in self.tap

    @property
    def module(self) -> str:
        """Path of the module that owns the step's parameters; empty if it has none."""
        return getattr(self.operation, "module", "")


def attention_steps(
    source: str, projections: tuple[Project, Project, Project], score: Score
) -> tuple[Step, ...]:
    """Return the steps of attention in every block, from the projections to the context.

    Args:
        source: Tap that is projected.
        projections: Of query, key and value.
        score: How the scores are made.
    """
    block = "block.{i}"
    return (
        *(
            Step(f"{block}.{name}", projection, (source,))
            for name, projection in zip(("query", "key", "value"), projections, strict=True)
        ),
        Step(f"{block}.scores", score, (f"{block}.query", f"{block}.key")),
        Step(f"{block}.weights", Softmax(score.causal), (f"{block}.scores",)),
        Step(f"{block}.context", Mix(score.heads), (f"{block}.weights", f"{block}.value")),
    )


def network_steps(steps: Sequence[Step], layers: int) -> Iterator[Step]:
    """Yield the steps of a network with ``layers`` blocks, in order, names filled in.

    Args:
        steps: Of a head; those of a block are neighbours, and the first other one before them
            that is not an input of a later step makes what goes into block 0.
        layers: How many blocks there are.
    """
    before = _input_of_first_block(steps)
    last = next((s.tap for s in reversed(steps) if s.per_layer), "")
    for step, layer in over_layers(steps, layers):
        previous = before if not layer else at_layer(last, layer - 1)
        if layer is None:
            inputs = tuple(at_layer(name, layers - 1) for name in step.inputs)
            yield replace(step, inputs=inputs)
            continue
        inputs = tuple(
            previous if name == PREVIOUS else at_layer(name, layer) for name in step.inputs
        )
        yield Step(at_layer(step.tap, layer), _fill(step.operation, layer), inputs, layer)


def _input_of_first_block(steps: Sequence[Step]) -> str:
    tap = ""
    for step in steps:
        if step.per_layer:
            break
        tap = step.tap
    return tap


def _fill(operation: Operation, layer: int) -> Operation:
    if isinstance(operation, Norm):
        return replace(operation, module=at_layer(operation.module, layer))
    if isinstance(operation, Project):
        return replace(
            operation,
            module=at_layer(operation.module, layer),
            bias=at_layer(operation.bias, layer),
        )
    return operation


def position_axes(steps: Sequence[Step]) -> dict[str, tuple[int, ...]]:
    """Return, for every tap of filled-in steps, which of its axes run over positions.

    That is axis 1 of (batch, seq, width), axes 2 and 3 of (batch, heads, query, key), and none of
    what is pooled, (batch, width).
    """
    axes: dict[str, tuple[int, ...]] = {}
    for step in steps:
        operation = step.operation
        if isinstance(operation, (Score, Softmax)):
            axes[step.tap] = (2, 3)
        elif isinstance(operation, (Lookup, Mix)):
            axes[step.tap] = (1,)
        elif isinstance(operation, Project) and operation.rows != "all":
            axes[step.tap] = ()
        else:
            axes[step.tap] = axes[step.inputs[0]]
    return axes
