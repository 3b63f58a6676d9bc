"""Parts that architecture files are put together from: what encoders after BERT have in common.

Paths are upstream's, below the body's prefix, with ``{i}`` for the layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from mindport.migrate.architecture import Kind, Parameter, Tap
from mindport.migrate.computation import (
    PREVIOUS,
    Activate,
    Add,
    Norm,
    Project,
    Score,
    Step,
    attention_steps,
)

_BLOCK = "block.{i}"


def table(module: str, rows: str, width: str) -> Parameter:
    """Return the parameter of an embedding."""
    return Parameter(module, Kind.EMBEDDING, (rows, width))


def dense(module: str, out_size: str, in_size: str) -> tuple[Parameter, ...]:
    """Return the parameters of a linear layer with a bias."""
    return (
        Parameter(module, Kind.LINEAR, (out_size, in_size)),
        Parameter(module, Kind.BIAS, (out_size,)),
    )


def norm(module: str, width: str) -> tuple[Parameter, ...]:
    """Return the parameters of a layer norm."""
    return (
        Parameter(module, Kind.NORM_WEIGHT, (width,)),
        Parameter(module, Kind.NORM_BIAS, (width,)),
    )


def linear(module: str) -> Project:
    """Return the product of a linear layer with a bias."""
    return Project(module, bias=module)


@dataclass(frozen=True)
class PostNormBlock:
    """A block whose norms stand behind its sums, as BERT's: where it keeps what.

    Attributes:
        block: The whole block.
        query: The projection of the query.
        key: Of the key.
        value: Of the value.
        softmax: The module that calls the softmax.
        out: The projection of the context.
        attention: The module whose output is the first norm's.
        first_norm: The norm behind the first sum.
        up: The first projection of the feed-forward network.
        activation: The module whose output is the activation's.
        down: Its second projection.
        second_norm: The norm behind the second sum.
    """

    block: str
    query: str
    key: str
    value: str
    softmax: str
    out: str
    attention: str
    first_norm: str
    up: str
    activation: str
    down: str
    second_norm: str

    def parameters(self, width: str, inner: str) -> tuple[Parameter, ...]:
        """Return the block's parameters; ``width`` and ``inner`` are config fields."""
        return (
            *dense(self.query, width, width),
            *dense(self.key, width, width),
            *dense(self.value, width, width),
            *dense(self.out, width, width),
            *norm(self.first_norm, width),
            *dense(self.up, inner, width),
            *dense(self.down, width, inner),
            *norm(self.second_norm, width),
        )

    def taps(self) -> tuple[Tap, ...]:
        """Return the block's taps, in network order."""
        return (
            Tap(f"{_BLOCK}.query", module=self.query, detail=True),
            Tap(f"{_BLOCK}.key", module=self.key, detail=True),
            Tap(f"{_BLOCK}.value", module=self.value, detail=True),
            Tap(f"{_BLOCK}.scores", module=self.softmax, end="softmax-input", detail=True),
            Tap(f"{_BLOCK}.weights", module=self.softmax, end="softmax-output", detail=True),
            Tap(f"{_BLOCK}.context", module=self.out, end="input", detail=True),
            Tap(f"{_BLOCK}.projection", module=self.out, detail=True),
            Tap(f"{_BLOCK}.residual", module=self.first_norm, end="input", detail=True),
            Tap(f"{_BLOCK}.attention", module=self.attention),  # with its residual and norm
            Tap(f"{_BLOCK}.up", module=self.up, detail=True),
            Tap(f"{_BLOCK}.activation", module=self.activation, detail=True),
            Tap(f"{_BLOCK}.mlp", module=self.down),  # before the residual and norm
            Tap(f"{_BLOCK}.sum", module=self.second_norm, end="input", detail=True),
            Tap(_BLOCK, module=self.block),
        )

    def steps(self, heads: str, activation: str, eps: str | float) -> tuple[Step, ...]:
        """Return what the block computes.

        Args:
            heads: Config field of the number of attention heads.
            activation: Config field of the activation.
            eps: As in :class:`mindport.migrate.computation.Norm`.
        """
        attention, second = f"{_BLOCK}.attention", Norm(self.second_norm, eps)
        return (
            *attention_steps(
                PREVIOUS,
                (linear(self.query), linear(self.key), linear(self.value)),
                Score(heads, causal=False),
            ),
            Step(f"{_BLOCK}.projection", linear(self.out), (f"{_BLOCK}.context",)),
            Step(f"{_BLOCK}.residual", Add(), (f"{_BLOCK}.projection", PREVIOUS)),
            Step(attention, Norm(self.first_norm, eps), (f"{_BLOCK}.residual",)),
            Step(f"{_BLOCK}.up", linear(self.up), (attention,)),
            Step(f"{_BLOCK}.activation", Activate(activation), (f"{_BLOCK}.up",)),
            Step(f"{_BLOCK}.mlp", linear(self.down), (f"{_BLOCK}.activation",)),
            Step(f"{_BLOCK}.sum", Add(), (f"{_BLOCK}.mlp", attention)),
            Step(_BLOCK, second, (f"{_BLOCK}.sum",)),
        )


@dataclass(frozen=True)
class MaskedWords:
    """What turns hidden states into scores of words: dense, activation, norm, decoder.

    Attributes:
        dense: The projection.
        norm: The norm.
        decoder: The projection to the vocabulary.
        activation: What stands between projection and norm.
        eps: Of the norm, as in :class:`mindport.migrate.computation.Norm`.
    """

    dense: str
    norm: str
    decoder: str
    activation: Activate
    eps: str | float

    def taps(self) -> tuple[Tap, ...]:
        """Return the taps before the logits."""
        return (
            Tap("head.dense", module=self.dense, detail=True, in_body=False),
            Tap("head.activation", module=self.norm, end="input", detail=True, in_body=False),
            Tap("head.norm", module=self.norm, detail=True, in_body=False),
        )

    def steps(self) -> tuple[Step, ...]:
        """Return what is computed, the logits included."""
        return (
            Step("head.dense", linear(self.dense), (_BLOCK,)),
            Step("head.activation", self.activation, ("head.dense",)),
            Step("head.norm", Norm(self.norm, self.eps), ("head.activation",)),
            Step("logits", linear(self.decoder), ("head.norm",)),
        )
