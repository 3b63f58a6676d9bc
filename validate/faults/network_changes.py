"""What goes wrong in a network's code: changes that a fault puts together.

Each takes a :class:`mindport.validate.faults.network.NetworkSite`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mindport.migrate.computation import Activate
from mindport.validate.faults.fault import ACTIVATION, EMBEDDINGS, QUERY
from mindport.validate.faults.network import Arrays, NetworkSite
from mindport.validate.faults.rounding import keep_bits

Change = Callable[[NetworkSite], None]
_erf = np.vectorize(math.erf, otypes=[float])


def exact_gelu(x: np.ndarray) -> np.ndarray:
    """Return GELU, with erf."""
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


def tanh_gelu(x: np.ndarray) -> np.ndarray:
    """Return GELU, approximated with tanh."""
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def take_other_gelu(site: NetworkSite) -> None:
    """Take the exact GELU for the approximate one, or the other way round."""
    activation = site.step(ACTIVATION).operation
    field = activation.field if isinstance(activation, Activate) else ""
    other = exact_gelu if site.config[field] == "gelu_new" else tanh_gelu
    replace_activation(other)(site)


def replace_activation(function: Arrays) -> Change:
    """Return what puts another function in the activation's place."""

    def change(site: NetworkSite) -> None:
        site.replace(site.cell("activation"), site.on_arrays(in_float64(function)))

    return change


def in_float64(function: Arrays) -> Arrays:
    """Return a function of arrays that computes in float64 and rounds its result once."""
    return lambda x: np.asarray(function(x.astype(np.float64)), x.dtype)


def set_eps(site: NetworkSite) -> None:
    """Give a norm the severity as eps."""
    norm = site.owner()
    other = site.mindspore.nn.LayerNorm((norm.gamma.shape[0],), epsilon=site.amount)
    other.gamma, other.beta = norm.gamma, norm.beta
    site.replace(norm, other)


def replace_norm(normalise: Callable[[np.ndarray, float], np.ndarray]) -> Change:
    """Return what normalises in another way; it is given the eps, and scale and shift stay."""

    def change(site: NetworkSite) -> None:
        norm = site.owner()
        eps = float(norm.epsilon)
        scale, shift = norm.gamma.asnumpy(), norm.beta.asnumpy()
        site.replace(norm, site.on_arrays(in_float64(lambda x: normalise(x, eps) * scale + shift)))

    return change


def divide_by_root_mean_square(x: np.ndarray, eps: float) -> np.ndarray:
    """Return the RMS norm: the mean is not taken away."""
    return np.asarray(x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps))


def skip_owner(site: NetworkSite) -> None:
    """Leave a norm or projection out: its result is its input."""
    site.replace(site.owner(), lambda x: x)


def skip_activation(site: NetworkSite) -> None:
    """Leave the activation out."""
    site.replace(site.cell("activation"), lambda x: x)


def scale_scores(factor: Callable[[int], float]) -> Change:
    """Return what multiplies query times key with ``factor(head_dim)``."""

    def change(site: NetworkSite) -> None:
        width = site.owner(QUERY).weight.shape[1]
        site.cell("attention").scaling = factor(width // site.heads)

    return change


def change_mask(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Change:
    """Return what hides other keys.

    Args:
        change: From the keys hidden by padding ``(batch, 1, 1, key)`` and by the order of the
            sequence ``(1, 1, query, key)``, both bool, to what is added to the scores, where
            ``-inf`` stands for the lowest finite number.
    """

    def new_bias(bias: np.ndarray) -> np.ndarray:
        hidden = bias < 0
        padding = hidden[:, :, -1:, :]  # the last query sees every key that is not padding
        later = np.triu(np.ones(hidden.shape[2:], bool), 1)[None, None]
        if hidden.shape[2] == 1:  # where a query sees later keys: one row for all
            later = np.zeros_like(later)
        added = np.asarray(change(padding, later), bias.dtype)
        return np.maximum(added, np.finfo(bias.dtype).min)

    def apply(site: NetworkSite) -> None:
        of_tensor = site.on_arrays(new_bias)

        def before(query: Any, key: Any, value: Any, bias: Any) -> tuple[Any, ...]:
            return query, key, value, None if bias is None else of_tensor(bias)

        site.wrap(site.cell("attention"), before=before)

    return apply


def hide(hidden: np.ndarray) -> np.ndarray:
    """Return what is added to the scores to hide keys."""
    return np.where(hidden, -np.inf, 0.0)


def weigh_over_queries(site: NetworkSite) -> None:
    """Let the softmax run over the queries."""
    remake_weights(lambda scores: site.mindspore.ops.softmax(scores, -2))(site)


def remake_weights(softmax: Callable[[Any], Any]) -> Change:
    """Return what makes other weights of the scores, and mixes the values with them."""

    def change(site: NetworkSite) -> None:
        cell = site.cell("attention")

        def after(result: Any, query: Any, key: Any, value: Any, bias: Any) -> Any:
            _, scores, _ = result
            weights = softmax(scores)
            return cell.mix(weights, value), scores, weights

        site.wrap(cell, after=after)

    return change


def split_heads_otherwise(site: NetworkSite) -> None:
    """Split the width into ``(head_dim, heads)`` where it is ``(heads, head_dim)``."""

    def split(states: Any) -> Any:
        batch, heads, seq, head_dim = states.shape
        flat = states.transpose(0, 2, 1, 3).reshape(batch, seq, head_dim, heads)
        return flat.transpose(0, 3, 1, 2)

    site.wrap(
        site.cell("attention"),
        before=lambda query, key, value, bias: (split(query), split(key), split(value), bias),
    )


def change_ids(ids: str, change: Callable[[np.ndarray, int], np.ndarray]) -> Change:
    """Return what looks up other rows; ``change`` is given the ids and the number of rows."""

    def apply(site: NetworkSite) -> None:
        table = site.table(ids, EMBEDDINGS)
        rows = table.embedding_table.shape[0]
        of_tensor = site.on_arrays(lambda array: change(array, rows).astype(array.dtype))
        site.wrap(table, before=lambda given: (of_tensor(given),))

    return apply


def leave_dropout_on(role: str) -> Change:
    """Return what drops values with the severity as probability."""

    def change(site: NetworkSite) -> None:
        dropout = site.mindspore.nn.Dropout(p=site.amount)
        dropout.set_train(True)
        site.replace(site.cell(role), dropout)

    return change


def round_input(site: NetworkSite) -> None:
    """Round what goes into a projection to as many bits of mantissa as the severity says."""
    of_tensor = site.on_arrays(lambda x: keep_bits(x, int(site.amount)))
    site.wrap(site.owner(), before=lambda x: (of_tensor(x),))


def skip_tanh_of_pooler(site: NetworkSite) -> None:
    """Leave the pooler's tanh out."""
    site.wrap(site.cell("pooler"), after=lambda result, *_: (result[1], result[1]))
