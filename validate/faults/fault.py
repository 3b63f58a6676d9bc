"""What a fault is: how a port goes wrong, where that first shows, and what it is to be called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from mindport.migrate.architecture import Architecture, Head, at_layer
from mindport.migrate.architectures import load_architecture
from mindport.migrate.computation import Norm

Place = str | Mapping[str, str]  # a canonical tap, ``{i}`` for the block; or one by style

# Where a block norms: before its branches, as GPT-2's, or behind its sums, as BERT's.
PRE_NORM, POST_NORM = "pre-norm", "post-norm"

# Places that are called differently where norms stand elsewhere.
ATTENTION_OUT: Place = {PRE_NORM: "block.{i}.attention", POST_NORM: "block.{i}.projection"}
EMBEDDINGS: Place = {PRE_NORM: "embeddings", POST_NORM: "embeddings.sum"}
FIRST_NORM: Place = {PRE_NORM: "block.{i}.norm_1", POST_NORM: "block.{i}.attention"}
SECOND_NORM: Place = {PRE_NORM: "block.{i}.norm_2", POST_NORM: "block.{i}"}
OUTER_NORM: Place = {PRE_NORM: "final_norm", POST_NORM: "embeddings"}
FIRST_SUM: Place = "block.{i}.residual"
SECOND_SUM: Place = {PRE_NORM: "block.{i}", POST_NORM: "block.{i}.sum"}
FIRST_READ: Place = {PRE_NORM: "block.{i}.norm_1", POST_NORM: "block.{i}.query"}
MLP_READ: Place = {PRE_NORM: "block.{i}.norm_2", POST_NORM: "block.{i}.up"}
# The others are called the same everywhere.
QUERY, KEY, VALUE = "block.{i}.query", "block.{i}.key", "block.{i}.value"
SCORES, WEIGHTS, CONTEXT = "block.{i}.scores", "block.{i}.weights", "block.{i}.context"
UP, ACTIVATION, DOWN = "block.{i}.up", "block.{i}.activation", "block.{i}.mlp"
LOGITS = "logits"

Need = Callable[[Architecture, Head], bool]


@dataclass(frozen=True)
class Fault:
    """A realistic fault of a port.

    Attributes:
        name: Unique among all faults.
        title: What was done wrong, in a few words.
        cause: The id of :data:`mindport.validate.diagnose.causes.CAUSES` that names it; empty for
            a fault that no tap shows.
        kind: ``weights`` if the ported checkpoint is wrong, ``network`` if the network is,
            ``backward`` if only the network's gradients are.
        tap: Where it first shows, when every operation is compared with what it should make of
            its own inputs; of a ``backward`` one, whose gradient it changes.
        apply: Breaks a :class:`mindport.validate.faults.weights.WeightSite` or a
            :class:`mindport.validate.faults.network.NetworkSite`.
        per_block: Whether it is done to one chosen block; if not, ``{i}`` in ``tap`` is block 0.
        severity: How strong it is, where there is a choice: an eps, a factor, a share, the number
            of mantissa bits that are kept …
        severities: The same from gross to subtle.
        also: Other causes that name it as well.
        needs: Whether it makes sense in a head of an architecture that has the tap.
    """

    name: str
    title: str
    cause: str
    kind: Literal["weights", "network", "backward"]
    tap: Place
    apply: Callable[[Any], None]
    per_block: bool = True
    severity: float | None = None
    severities: tuple[float, ...] = ()
    also: tuple[str, ...] = ()
    needs: Need | None = None

    def tap_at(self, architecture: str, block: int = 0) -> str:
        """Return the tap at which the fault first shows, the block filled in."""
        return tap_name(self.tap, architecture, block if self.per_block else 0)

    def fits(self, architecture: Architecture, head: str) -> bool:
        """Return whether a network of this architecture and head has what the fault breaks."""
        described = architecture.heads[head]
        wanted = place_name(self.tap, architecture.name)
        if all(step.tap != wanted for step in described.steps):
            return False
        return self.needs is None or self.needs(architecture, described)


def place_name(place: Place, architecture: str) -> str:
    """Return the tap of a place, ``{i}`` still in it."""
    return place if isinstance(place, str) else place[style_of(architecture)]


@cache
def style_of(architecture: str) -> str:
    """Return where the blocks of an architecture norm: ``pre-norm`` or ``post-norm``."""
    described = load_architecture(architecture)
    steps = described.heads[described.default_head].steps
    first = next(step for step in steps if step.per_layer)
    return PRE_NORM if isinstance(first.operation, Norm) else POST_NORM


def tap_name(place: Place, architecture: str, block: int) -> str:
    """Return the tap of a place, the block filled in."""
    return at_layer(place_name(place, architecture), block)
