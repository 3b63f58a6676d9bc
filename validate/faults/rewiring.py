"""Blocks that are wired in another way: residuals left out, norms moved, other inputs.

The steps of the architecture file say how the right block is wired; the cells that own their
parameters compute them. What a block returns stays as our networks have it, in the order of the
architecture's taps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mindport.migrate.computation import Activate, Add, Mix, Norm, Project, Score, Softmax, Step
from mindport.validate.faults.fault import PRE_NORM, style_of
from mindport.validate.faults.network import NetworkSite

Change = Callable[[NetworkSite], None]
# What an operation reads, or what a sum comes to, from the block's other values.
Source = Callable[["Values"], Any]


@dataclass(frozen=True)
class Becomes:
    """What a tap is, instead of what its operation reads.

    Attributes:
        value: From the block's other values.
    """

    value: Source


Wiring = Mapping[str, Source | Becomes]


def rewire(pre_norm: Wiring, post_norm: Wiring) -> Change:
    """Return what lets some operations of a block read something else.

    Both are by the last part of the tap, ``output`` for the block's own: what a norm or projection
    reads (query's, key and value too), what a sum comes to, or what :class:`Becomes` the tap.

    Args:
        pre_norm: Of a block that norms before its branches, where it differs from the right one.
        post_norm: Of a block that norms behind its sums.
    """

    def change(site: NetworkSite) -> None:
        block = site.cell("block")
        style = style_of(site.architecture.name)
        wiring = pre_norm if style == PRE_NORM else post_norm
        values = Values(site, wiring)

        def construct(hidden: Any, bias: Any, *others: Any) -> Any:
            if any(other is not None for other in others):
                raise NotImplementedError("a block that is wired otherwise has no cache or prefix")
            taps = values.compute(hidden, bias)
            if style == PRE_NORM:  # it returns keys and values as well, which nobody asks for here
                return taps[-1], None, taps
            return taps[-1], taps

        site.replace(block, construct)

    return change


class Values:
    """The values of a block by the last part of their taps, computed when they are asked for.

    Args:
        site: The network.
        wiring: What differs from the right block.
    """

    def __init__(self, site: NetworkSite, wiring: Wiring) -> None:
        self._site, self._wiring = site, wiring
        steps = [step for step in site.head.steps if step.per_layer]
        self._steps: Mapping[str, Step] = {_name(step.tap): step for step in steps}
        # Looked up now: in a moment the block's cells may be others'.
        self._owners = {
            name: site.owner(step.tap)
            for name, step in self._steps.items()
            if isinstance(step.operation, (Norm, Project))
        }
        self._attention, self._activation = site.cell("attention"), site.cell("activation")
        self._known: dict[str, Any] = {}
        self._bias: Any = None

    def compute(self, hidden: Any, bias: Any) -> tuple[Any, ...]:
        """Return every tap of the block, in network order."""
        self._known, self._bias = {"previous": hidden}, bias
        return tuple(self[name] for name in self._steps)

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._value(name)
        return self._known[name]

    def apply(self, name: str, value: Any) -> Any:
        """Return what the norm or projection of a tap makes of a value."""
        result = self._owners[name](value)
        operation = self._steps[name].operation
        number, count = operation.part if isinstance(operation, Project) else (0, 1)
        return self._site.mindspore.ops.chunk(result, count, -1)[number] if count > 1 else result

    def _value(self, name: str) -> Any:
        step = self._steps[name]
        given = self._wiring.get("query" if name in ("key", "value") else name)
        if isinstance(given, Becomes):
            return given.value(self)
        match step.operation:
            case Norm() | Project():
                return self.apply(name, given(self) if given else self[_name(step.inputs[0])])
            case Add():
                first, second = (_name(tap) for tap in step.inputs)
                return given(self) if given else self[first] + self[second]
            case Activate():
                return self._activation(self[_name(step.inputs[0])])
            case Score() | Softmax() | Mix():
                self._attend()
                return self._known[name]
        raise TypeError(f"{step.tap} is made by {step.operation}, which no block has.")

    def _attend(self) -> None:
        heads = self._site.heads

        def split(states: Any) -> Any:
            batch, seq, width = states.shape
            return states.reshape(batch, seq, heads, width // heads).transpose(0, 2, 1, 3)

        query, key, value = (split(self[name]) for name in ("query", "key", "value"))
        mixed, scores, weights = self._attention(query, key, value, self._bias)
        batch, _, seq, _ = mixed.shape
        context = mixed.transpose(0, 2, 1, 3).reshape(batch, seq, -1)
        self._known.update(scores=scores, weights=weights, context=context)


def _name(tap: str) -> str:
    return {"block.{i}": "output", "{previous}": "previous"}.get(tap, tap.rpartition(".")[2])


# Norm after the residual where the norm stands before the branch, or the reverse.
move_norms = rewire(
    pre_norm={
        "query": lambda v: v["previous"],
        "norm_1": lambda v: v["residual"],
        "up": lambda v: v["norm_1"],
        "norm_2": lambda v: v["norm_1"] + v["mlp"],
        "output": lambda v: v["norm_2"],
    },
    post_norm={
        "query": lambda v: v.apply("attention", v["previous"]),
        "attention": Becomes(lambda v: v["residual"]),
        "up": lambda v: v.apply("output", v["residual"]),
        "output": Becomes(lambda v: v["sum"]),
    },
)
