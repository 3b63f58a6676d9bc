"""What a network checks on the host before it computes, as a device may not notice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor

from mindport.migrate.cells.layers import IGNORE_INDEX
from mindport.migrate.errors import MindportError


@dataclass(frozen=True)
class Sizes:
    """What the config says of embeddings, keys and values.

    Attributes:
        layers: How many blocks there are.
        heads: How many attention heads each has.
        width: Of the hidden states.
        positions: How many tokens a sequence may have.
    """

    layers: int
    heads: int
    width: int
    positions: int


def as_tensor(value: Any) -> Any:
    """Return arrays, lists and positions as tensors, and anything else as it is.

    In tuples the same is done with the items. Whole numbers become int32, floats stay.
    """
    if isinstance(value, (list, np.ndarray, np.integer)) or type(value) is int:
        array = np.asarray(value)
        return Tensor(array.astype(np.int32) if array.dtype.kind in "iub" else array)
    if isinstance(value, tuple):
        return tuple(as_tensor(item) for item in value)
    return value


def check_inputs(
    inputs: Mapping[str, Any],
    limits: Mapping[str, int],
    sizes: Sizes,
    loss_inputs: Sequence[str],
) -> None:
    """Check shapes and ids, those of labels excepted.

    Args:
        inputs: The arguments of a network's ``construct``, by name.
        limits: By the name of an input, the number that its ids must stay below.
        sizes: See :class:`Sizes`.
        loss_inputs: Names of the inputs that make the network return a loss.

    Raises:
        MindportError: If one is impossible, or two exclude each other; it names the input and the
            limit.
    """
    batch, seq = _shape_of_words(inputs, sizes)
    first, keys = 0, seq
    if inputs.get("past_key_values") is not None:
        if inputs["cache_position"] is None:
            raise MindportError("past_key_values needs cache_position, the row to write to.")
        first, keys = int(inputs["cache_position"]), inputs["past_key_values"][0][0].shape[2]
    if not 0 <= first <= min(keys, sizes.positions) - seq:
        raise MindportError(
            f"{seq} tokens from position {first} on do not fit: there are "
            f"{sizes.positions} positions"
            + (f" and {keys} rows in the cache." if keys != seq or first else "."),
            "Shorten the input.",
        )
    for name, length in (("attention_mask", keys), ("token_type_ids", seq)):
        if inputs.get(name) is not None and tuple(inputs[name].shape) != (batch, length):
            raise MindportError(
                f"{name} has shape {tuple(inputs[name].shape)}, not {(batch, length)}."
            )
    if inputs.get("prefix") is not None:
        _check_prefix(inputs, batch, sizes)
    if inputs.get("logits_at") is not None:
        _check_logits_at(inputs, batch, seq, loss_inputs)
    for name, limit in limits.items():
        if inputs.get(name) is not None:
            _check_ids(name, inputs[name].asnumpy(), limit)


def check_labels(name: str, labels: np.ndarray, classes: int) -> None:
    """Check that every label that counts is one of the classes.

    Args:
        name: Of the input.
        labels: Class numbers, or, of one class or as floats, the numbers of a regression.
        classes: How many there are.

    Raises:
        MindportError: If one is not.
    """
    if labels.dtype.kind in "iu" and classes > 1:
        _check_ids(name, labels[labels != IGNORE_INDEX], classes)


def _shape_of_words(inputs: Mapping[str, Any], sizes: Sizes) -> tuple[int, int]:
    """Return batch and length of the one input that stands for the words."""
    ids: Any = inputs.get("input_ids")
    embeds: Any = inputs.get("inputs_embeds")
    if (ids is None) == (embeds is None):
        raise MindportError(
            f"There are {'neither' if ids is None else 'both'} input_ids "
            f"{'nor' if ids is None else 'and'} inputs_embeds.",
            "Give one of them.",
        )
    if embeds is None:
        shape = tuple(ids.shape)
        if len(shape) != 2 or 0 in shape:
            raise MindportError(f"input_ids has shape {shape}, not (batch, seq).")
    else:
        shape = tuple(embeds.shape)
        if len(shape) != 3 or 0 in shape or shape[-1] != sizes.width:
            raise MindportError(
                f"inputs_embeds has shape {shape}, not (batch, seq, {sizes.width})."
            )
    return shape[0], shape[1]


def _check_prefix(inputs: Mapping[str, Any], batch: int, sizes: Sizes) -> None:
    if inputs.get("past_key_values") is not None:
        raise MindportError(
            "A network with past_key_values takes no prefix.",
            "Leave out the cache, or write the prefix into its first rows.",
        )
    prefix = inputs["prefix"]
    if len(prefix) != sizes.layers:
        raise MindportError(
            f"prefix has {len(prefix)} pairs of keys and values, and there are {sizes.layers} "
            "layers."
        )
    length = prefix[0][0].shape[-2]
    for layer, pair in enumerate(prefix):
        if len(pair) != 2:
            raise MindportError(f"prefix {layer} is not a pair of keys and values.")
        for name, states in zip(("keys", "values"), pair, strict=True):
            wanted = (sizes.heads, length, sizes.width // sizes.heads)
            if states.ndim != 4 or states.shape[0] not in (1, batch) or states.shape[1:] != wanted:
                raise MindportError(
                    f"The {name} of prefix {layer} have shape {tuple(states.shape)}, not "
                    f"{(batch, *wanted)} or {(1, *wanted)}."
                )


def _check_logits_at(
    inputs: Mapping[str, Any], batch: int, seq: int, loss_inputs: Sequence[str]
) -> None:
    places = inputs["logits_at"]
    others = [name for name in loss_inputs if inputs.get(name) is not None]
    others += ["logits_to_keep"] if inputs.get("logits_to_keep") else []
    if others:
        raise MindportError(
            f"logits_at and {others[0]} exclude each other.", "Leave one of them out."
        )
    if places.ndim != 2 or places.shape[0] != batch or 0 in places.shape:
        raise MindportError(f"logits_at has shape {tuple(places.shape)}, not ({batch}, k).")
    _check_ids("logits_at", places.asnumpy(), seq)


def _check_ids(name: str, ids: np.ndarray, limit: int) -> None:
    """Check that all ids lie in ``[0, limit)``."""
    low, high = int(ids.min(initial=0)), int(ids.max(initial=0))
    if low < 0 or high >= limit:
        bad = low if low < 0 else high
        raise MindportError(f"{name} holds {bad}, outside [0, {limit}).")
