"""The words an architecture file is written in.

An architecture states *kinds* of parameters and the shapes they have in terms of the config;
how a framework spells and lays out a kind is the business of :mod:`mindport.migrate.dialect`.
So N architectures and M frameworks cost N + M tables. Parameter and module names are the
upstream (``transformers``) ones, with ``{i}`` for the layer.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from mindport.migrate.computation import Step


class PerLayer(Protocol):
    """A description that may stand for one thing per layer."""

    @property
    def per_layer(self) -> bool:
        """Whether there is one per layer."""
        ...


T = TypeVar("T", bound=PerLayer)
REQUIRED = object()  # the default of a config field that has none


class Kind(enum.Enum):
    """What a parameter is; a dialect knows how to spell it and which layout it has."""

    EMBEDDING = "embedding"  # (rows, width)
    LINEAR = "linear"  # torch nn.Linear: (out, in)
    CONV1D = "conv1d"  # GPT-2's Conv1D: (in, out), the transpose of a Linear
    BIAS = "bias"  # (width,)
    NORM_WEIGHT = "norm_weight"  # layer norm's scale, (width,)
    NORM_BIAS = "norm_bias"  # layer norm's shift, (width,)


@dataclass(frozen=True)
class Parameter:
    """One parameter, or with ``{i}`` in ``module`` one per layer.

    Attributes:
        module: Path of the module that owns it, such as ``h.{i}.ln_1``.
        kind: What it is.
        shape: In the source (torch) layout, each axis a config field, a number, or a product
            such as ``3*n_embd``.
    """

    module: str
    kind: Kind
    shape: tuple[str, ...]

    @property
    def per_layer(self) -> bool:
        """Whether the parameter exists once per layer."""
        return "{i}" in self.module


@dataclass(frozen=True)
class Tied:
    """A parameter that shares the storage of another one and is therefore stored once.

    Attributes:
        parameter: The one that is not stored.
        to: Module path of the parameter whose storage it shares.
        to_kind: Kind of that parameter.
        unless: Config field that, when false, unties the two; empty for always tied.
    """

    parameter: Parameter
    to: str
    to_kind: Kind
    unless: str = ""


@dataclass(frozen=True)
class Buffer:
    """A stored tensor that holds no knowledge (masks, position ids): dropped, with its reason.

    Attributes:
        name: Upstream name with ``{i}`` for the layer.
        reason: Why nothing is lost by leaving it out.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Tap:
    """A canonical point in the network whose output is captured under the same name everywhere.

    Attributes:
        name: ``embeddings``, ``block.{i}.attention``, ``logits`` …
        module: Upstream module whose (first) output it is, below the body's prefix; or
        output: the attribute of the model's output, for taps that no module returns.
        detail: Whether it lies inside a block or head, and is captured to tell which operation is
            at fault.
        end: Whether it is the module's output, its first input, or what goes into or comes out of
            the softmax that the module calls.
        part: Which of how many equal parts of the last axis it is.
        in_body: Whether ``module`` lies below the body's prefix.
    """

    name: str
    module: str = ""
    output: str = ""
    detail: bool = False
    end: Literal["output", "input", "softmax-input", "softmax-output"] = "output"
    part: tuple[int, int] = (0, 1)
    in_body: bool = True

    @property
    def per_layer(self) -> bool:
        """Whether the tap exists once per layer."""
        return "{i}" in self.name


@dataclass(frozen=True)
class Target:
    """What the loss compares an output with.

    The loss of a head is the sum over its targets, each times its weight. A target of whole
    numbers makes it the mean cross entropy over those that are not ``IGNORED``; of one class, the
    mean squared difference to a number; a cotangent, the sum of its product with the output.

    Attributes:
        name: The model's input that it is given as.
        output: The attribute of the model's output that it is compared with.
        per: Whether there is one per token, per sequence, or (a cotangent) per element.
        classes: How many classes there are: a config field, a number, or ``positions`` for the
            positions of the sequence; of a cotangent, the output's width.
        shift: Whether the output at one token is compared with the target of the next.
        weight: What its part of the loss is multiplied by.
    """

    name: str
    output: str
    per: Literal["token", "sequence", "element"] = "token"
    classes: str = "num_labels"
    shift: bool = False
    weight: float = 1.0


IGNORED = -100  # a target of this value adds nothing to the loss


@dataclass(frozen=True)
class Field:
    """A config field that the port needs.

    Attributes:
        name: The field's name in ``config.json``.
        default: What upstream takes when the field is absent or null; ``REQUIRED`` if none.
            A string for a ``dimension`` field is an expression such as ``4*n_embd``.
        allowed: The values that this port implements; empty for any.
        dimension: Whether it is a positive number that shapes may refer to.
    """

    name: str
    default: object = REQUIRED
    allowed: tuple[object, ...] = ()
    dimension: bool = False


@dataclass(frozen=True)
class Head:
    """The body with what stands on it.

    Attributes:
        name: ``lm``, ``mlm``, ``nsp``, ``pretraining``, ``sequence-classification``,
            ``token-classification``, ``question-answering`` or ``none``.
        class_name: The upstream class, and the name of our cell.
        prefix: What stands before the body's names in this head: ``transformer.``, ``bert.`` or "".
        body: The body's parameters, relative to ``prefix``.
        parameters: The head's own parameters, with full names.
        tied: Parameters that share another's storage.
        taps: The points captured, in network order.
        steps: What the network computes, one step per tap, in network order (see
            :mod:`mindport.migrate.computation`).
        inputs: Names of the model's inputs.
        prompts: Which shape of prompt the ``logits`` tap can answer: ``prefix`` (next token),
            ``cloze`` (masked token), or empty for none. Only ``prefix`` can be continued from a
            cache, since elsewhere what comes later changes what came before.
        projection: Full path of the upstream module that hidden states ``(batch, seq, width)`` go
            into on their way to the ``logits`` tap, token by token; empty if no prompts are
            answered.
        pools_last_token: Whether the head reads the last token that is not ``pad_token_id``.
        targets: What its loss is made of.
    """

    name: str
    class_name: str
    prefix: str
    body: tuple[Parameter, ...]
    parameters: tuple[Parameter, ...] = ()
    tied: tuple[Tied, ...] = ()
    taps: tuple[Tap, ...] = ()
    steps: tuple[Step, ...] = ()
    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "position_ids")
    prompts: Literal["", "prefix", "cloze"] = ""
    projection: str = ""
    pools_last_token: bool = False
    targets: tuple[Target, ...] = ()

    def output_of(self, tap: str) -> str:
        """Return the attribute of the model's output that a tap is."""
        return next(t.output for t in self.taps if t.name == tap)


@dataclass(frozen=True)
class Architecture:
    """Everything that mindport knows about a model type.

    Attributes:
        name: The ``model_type`` of ``config.json``, and the name of the file.
        title: How people write it.
        prefix: The body's prefix in a checkpoint saved with a head.
        layers: Config field that holds the number of layers.
        positions: Config field that holds the number of positions.
        fields: Config fields with their defaults.
        heads: Heads by name.
        default_head: The head taken when neither the config nor the tensors tell.
        buffers: Stored tensors that are dropped, relative to the body.
        sizes: Named configs for random checkpoints (``tiny``, ``base``, …).
        sources: Papers and upstream files that this description was read from.
        positions_after: Config field of the id behind which positions are counted, as RoBERTa
            does: the first token stands at the position one above it, and padding, a token of
            that id, at the id itself. Empty where positions are 0, 1, 2 …
        cells: Where our network keeps what owns no parameters and so is named by no step, by its
            role: ``block``, ``attention`` (the product of the softmax), ``activation``,
            ``embeddings-dropout``, ``mlp-dropout``, and ``pooler`` if there is one. Paths below
            the body's prefix.
    """

    name: str
    title: str
    prefix: str
    layers: str
    positions: str
    fields: tuple[Field, ...]
    heads: Mapping[str, Head]
    default_head: str
    buffers: tuple[Buffer, ...]
    sizes: Mapping[str, Mapping[str, object]]
    sources: tuple[str, ...]
    positions_after: str = ""
    cells: Mapping[str, str] = field(default_factory=dict)

    def head_of_class(self, class_name: str) -> Head | None:
        """Return the head of an upstream class name, or None."""
        return next((h for h in self.heads.values() if h.class_name == class_name), None)


def dimension(expression: str | int, config: Mapping[str, object]) -> int:
    """Evaluate an axis such as ``3*n_embd`` against a config.

    Args:
        expression: A number, a config field, or a product of them joined by ``*``.
        config: A resolved config (see :func:`mindport.migrate.config.resolve_config`).
    """
    size = 1
    for factor in str(expression).split("*"):
        value = int(factor) if factor.isdigit() else config[factor]
        if not isinstance(value, int):
            raise TypeError(f"config field {factor!r} is {value!r}, not a whole number")
        size *= value
    return size


def over_layers(items: Sequence[T], layers: int) -> Iterator[tuple[T, int | None]]:
    """Yield items in network order: the run of per-layer ones once for each layer.

    Args:
        items: In network order; the per-layer ones must be neighbours.
        layers: How many layers the model has.

    Yields:
        Each item with its layer, or with None if it is not per layer.
    """
    block = [item for item in items if item.per_layer]
    for item in items:
        if not item.per_layer:
            yield item, None
        elif item is block[0]:
            yield from ((member, i) for i in range(layers) for member in block)


def at_layer(name: str, layer: int | None) -> str:
    """Fill the layer into a name with ``{i}``."""
    return name.replace("{i}", str(layer))


def network_order(taps: Sequence[Tap], layers: int) -> list[Tap]:
    """Return the taps of a model with ``layers`` layers, in network order."""
    return [
        replace(tap, name=at_layer(tap.name, i), module=at_layer(tap.module, i))
        for tap, i in over_layers(taps, layers)
    ]
