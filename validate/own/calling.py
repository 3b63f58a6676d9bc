"""How a user's ``construct`` is called, and where in what it returns the outputs are."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.validate.own.shapes import Shape, conforms

# Other names under which an input of the model is known.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "input_ids": ("ids", "input", "inputs", "x", "tokens", "token_ids", "input_id", "idx"),
    "attention_mask": ("mask", "input_mask", "padding_mask", "attn_mask", "attention_masks"),
    "token_type_ids": ("segment_ids", "segments", "token_types", "type_ids", "token_type_id"),
    "position_ids": ("positions", "pos", "input_position", "position_id", "pos_ids"),
}
# Other names of what a network without a head returns.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "final_norm": ("last_hidden_state",),
    "pooler": ("pooler_output", "pooled_output"),
}


@dataclass(frozen=True)
class Call:
    """How to call.

    Attributes:
        positional: Inputs to give by position, in order.
        named: By the name of a parameter of ``construct``, the input to give.
        left_out: Inputs that it does not take.
    """

    positional: tuple[str, ...]
    named: Mapping[str, str]
    left_out: tuple[str, ...]


def match_inputs(signature: inspect.Signature, inputs: Sequence[str], title: str) -> Call:
    """Return how to give inputs to a function.

    Args:
        signature: Of ``construct``, without self.
        inputs: Names of the model's inputs, in order.
        title: What to call the function in a message.

    Raises:
        MindportError: If it needs something else, or takes no ``input_ids``.
    """
    kinds = inspect.Parameter
    parameters = [p for p in signature.parameters.values() if p.kind not in (kinds.VAR_KEYWORD,)]
    named: dict[str, str] = {}
    for parameter in parameters:
        known = next((i for i in inputs if parameter.name in (i, *ALIASES.get(i, ()))), None)
        if known is not None and known not in named.values():
            named[parameter.name] = known
    if any(p.kind is kinds.VAR_POSITIONAL for p in parameters) and not named:
        return Call(tuple(inputs), {}, ())
    needed = [p.name for p in parameters if p.default is kinds.empty
              and p.kind is not kinds.VAR_POSITIONAL]  # fmt: skip
    if not named and 0 < len(needed) <= len(inputs):
        return Call(tuple(inputs[: len(needed)]), {}, tuple(inputs[len(needed) :]))
    unknown = [name for name in needed if name not in named]
    if unknown or "input_ids" not in named.values():
        what = f"needs {unknown[0]!r}" if unknown else "takes no input_ids"
        raise MindportError(
            f"{title}({', '.join(signature.parameters)}) {what}, which the comparison cannot give.",
            f"Call its arguments {', '.join(inputs)}, and give any other one a default.",
        )
    # Positional, since a hook is told of those only in some versions.
    order = [p.name for p in parameters]
    leading = 0
    while leading < len(order) and order[leading] in named:
        leading += 1
    return Call(
        tuple(named[name] for name in order[:leading]),
        {name: named[name] for name in order[leading:] if name in named},
        tuple(i for i in inputs if i not in named.values()),
    )


def harmful_omissions(left_out: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[str]:
    """Return what is lost because some inputs are not given, a sentence each.

    Args:
        left_out: Inputs that ``construct`` does not take.
        inputs: What the reference is fed.
    """
    said = []
    mask = inputs["attention_mask"]
    if "attention_mask" in left_out and (mask == 0).any():
        padded = int(mask.size - np.count_nonzero(mask))
        said.append(
            f"construct takes no attention_mask, although {padded} positions are padding: nothing "
            "tells the port to hide them (right of a causal mask they are hidden anyway)"
        )
    positions = inputs.get("position_ids")
    if "position_ids" in left_out and positions is not None:
        plain = np.broadcast_to(np.arange(positions.shape[1]), positions.shape)
        if not np.array_equal(positions, plain):
            said.append("construct takes no position_ids, although they are not 0, 1, 2 …")
    segments = inputs.get("token_type_ids")
    if "token_type_ids" in left_out and segments is not None and segments.any():
        said.append(
            "construct takes no token_type_ids, although there is a second segment: the port "
            "cannot know of it"
        )
    return said


def flatten(value: Any, tensor: type) -> list[Any]:
    """Return the tensors in nested tuples, lists and dicts, or in an object that holds those."""
    if isinstance(value, tensor):
        return [value]
    return [
        leaf
        for _, item in _items(value)
        if isinstance(item, (tensor, tuple, list, Mapping))
        for leaf in flatten(item, tensor)
    ]


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the items of a container, with their names where they have any."""
    names = getattr(value, "_fields", None) or getattr(value, "names", None)
    if isinstance(value, Mapping):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, tuple) and names and len(names) == len(value):
        yield from zip(map(str, names), value, strict=True)
    elif isinstance(value, (tuple, list)):
        yield from (("", item) for item in value)
    elif is_dataclass(value) or hasattr(value, "__dict__"):
        yield from vars(value).items()


def find_outputs(
    value: Any, wanted: Mapping[str, str], shapes: Mapping[str, Shape], tensor: type
) -> dict[str, Any]:
    """Return the final taps that are in what a network returned.

    By name first, then by shape, where as many tensors have it as taps are to be found.

    Args:
        value: What the network returned.
        wanted: By the name of a tap, the field that upstream calls it; empty for none.
        shapes: Of the taps.
        tensor: The framework's type of tensors.
    """
    fields = dict(_items(value)) if not isinstance(value, tensor) else {}
    found: dict[str, Any] = {}
    for tap, field in wanted.items():
        names = (field, tap, *_FIELDS.get(tap, ()))
        named = next((fields[n] for n in names if isinstance(fields.get(n), tensor)), None)
        if named is not None:
            found[tap] = named
    taken = {id(item) for item in found.values()}
    rest = [item for item in flatten(value, tensor) if id(item) not in taken]
    open_taps = [tap for tap in wanted if tap not in found]
    for tap in open_taps:
        alike = [t for t in open_taps if shapes[t] == shapes[tap]]
        fitting = [item for item in rest if conforms(item.shape, shapes[tap])]
        if len(fitting) == len(alike):
            found[tap] = fitting[alike.index(tap)]
    if not found and len(wanted) == 1 and len(rest) == 1:
        found[next(iter(wanted))] = rest[0]  # of another shape, as the verdict will say
    return found
