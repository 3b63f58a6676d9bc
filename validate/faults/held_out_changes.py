"""Changes that only faults of the held-out set make."""

from __future__ import annotations

from typing import Any

import numpy as np

from mindport.migrate.architecture import Kind
from mindport.migrate.dialect import MINDSPORE
from mindport.migrate.expected import expected_parameters
from mindport.validate.faults.fault import EMBEDDINGS, KEY, QUERY, VALUE
from mindport.validate.faults.network import NetworkSite
from mindport.validate.faults.rewiring import Becomes, rewire
from mindport.validate.faults.rounding import keep_bits
from mindport.validate.faults.weights import WeightSite

_THIRDS = (QUERY, KEY, VALUE)


def read_fused_in_other_order(site: WeightSite) -> None:
    """Reshape the whole fused matrix where it should be transposed."""
    fused = np.concatenate([site.matrix(place) for place in _THIRDS])  # (3 * width, width)
    read = np.ascontiguousarray(fused.T).reshape(fused.shape)
    for place, part in zip(_THIRDS, np.split(read, 3), strict=True):
        site.set_matrix(part, place)


def fuse_by_channel(site: WeightSite) -> None:
    """Cut a matrix into thirds in which query, key and value alternate row by row."""
    for read, write in ((site.matrix, site.set_matrix), (site.bias, site.set_bias)):
        parts = np.stack([read(place) for place in _THIRDS], axis=1)  # (width, 3, …)
        mixed = np.concatenate(list(parts)).reshape(3, *read(QUERY).shape)
        for place, part in zip(_THIRDS, mixed, strict=True):
            write(part, place)


def rotate_projections(site: WeightSite) -> None:
    """Load value, query, key where query, key, value belong."""
    held = [(site.matrix(place), site.bias(place)) for place in (VALUE, QUERY, KEY)]
    for place, (matrix, bias) in zip(_THIRDS, held, strict=True):
        site.set_matrix(matrix, place)
        site.set_bias(bias, place)


def take_norm_from_next_block(site: WeightSite) -> None:
    """Put the norm of the next block here."""
    site.set_norm(*site.at_block(site.block + 1).norm())


def reverse_blocks(site: WeightSite) -> None:
    """Load the blocks from the last to the first."""
    layers, kept = site.layers, dict(site.tensors)
    stem = site.name(site.step().module, Kind.BIAS).split(".0.")[0]
    for name, stored in kept.items():
        number, _, rest = name.removeprefix(stem + ".").partition(".")
        if name.startswith(stem + ".") and number.isdigit():
            site.tensors[f"{stem}.{layers - 1 - int(number)}.{rest}"] = stored


def negate_bias(site: WeightSite) -> None:
    """Load a bias with the wrong sign."""
    site.set_bias(-site.bias())


def offset_shift(site: WeightSite) -> None:
    """Add the severity to a norm's whole shift."""
    scale, shift = site.norm()
    site.set_norm(scale, shift + shift.dtype.type(site.amount))


def prune(site: WeightSite) -> None:
    """Zero the share of a matrix that the severity says, the smallest numbers first."""
    matrix = site.matrix()
    limit = np.quantile(np.abs(matrix), site.amount)
    site.set_matrix(np.where(np.abs(matrix) <= limit, 0, matrix).astype(matrix.dtype))


def change_one_element(site: WeightSite) -> None:
    """Change one element of a matrix by the severity."""
    matrix = site.matrix()
    matrix[matrix.shape[0] // 5, matrix.shape[1] // 7] += site.amount
    site.set_matrix(matrix)


def cut_vocabulary(site: WeightSite) -> None:
    """Leave the last share of the token table at zero, as a shorter vocabulary would."""
    table = site.table("input_ids")
    table[len(table) - int(len(table) * site.amount) :] = 0
    site.set_table("input_ids", table)


def randomise_positions(site: WeightSite) -> None:
    """Leave the position table as a fresh network has it."""
    table = site.table("position_ids")
    site.set_table("position_ids", site.rng.normal(0, 0.02, table.shape).astype(table.dtype))


def untie_and_train(site: WeightSite) -> None:
    """Give the head a matrix of its own that has moved from the embeddings by the severity."""
    before = set(site.tensors)
    site.config["tie_word_embeddings"] = False
    for item in expected_parameters(site.architecture, site.head, site.resolved, MINDSPORE):
        name = item.spell(MINDSPORE)
        if name in before:
            continue
        owner = next(t for t in site.head.tied if t.parameter.kind is item.parameter.kind)
        array = site.tensors[MINDSPORE.spell(owner.to, owner.to_kind)].copy()
        if item.parameter.kind is not Kind.BIAS:
            size = site.amount * array.std()
            array = (array + site.rng.normal(0, size, array.shape)).astype(array.dtype)
        site.tensors[name] = array


def scale_embeddings(site: NetworkSite) -> None:
    """Multiply the token embeddings by the square root of the width."""
    table = site.table("input_ids")
    factor = float(table.embedding_table.shape[1]) ** 0.5
    site.wrap(table, after=lambda rows, *_: rows * factor)


def leave_table_out(ids: str) -> Any:
    """Return what adds nothing for an input."""

    def change(site: NetworkSite) -> None:
        site.wrap(site.table(ids, EMBEDDINGS), after=lambda rows, *_: rows * 0)

    return change


def split_without_transpose(site: NetworkSite) -> None:
    """Reshape straight into ``(batch, heads, seq, head_dim)``."""

    def split(states: Any) -> Any:
        return states.transpose(0, 2, 1, 3).reshape(states.shape)

    site.wrap(
        site.cell("attention"),
        before=lambda query, key, value, bias: (split(query), split(key), split(value), bias),
    )


def merge_without_transpose(site: NetworkSite) -> None:
    """Reshape ``(batch, heads, seq, head_dim)`` straight into ``(batch, seq, width)``."""

    def after(result: Any, *_: Any) -> Any:
        mixed, *rest = result
        batch, heads, seq, head_dim = mixed.shape
        # What merges, as it should be merged, into the wrong order.
        wrong = mixed.reshape(batch, seq, heads, head_dim).transpose(0, 2, 1, 3)
        return (wrong, *rest)

    site.wrap(site.cell("attention"), after=after)


def drop_weights(site: NetworkSite) -> None:
    """Drop attention weights with the severity as probability."""
    dropout = site.mindspore.nn.Dropout(p=site.amount)
    dropout.set_train(True)
    site.replace(site.cell("attention").dropout, dropout)


def round_sum(site: NetworkSite) -> None:
    """Keep the residual stream in as many bits as the severity says."""
    of_tensor = site.on_arrays(lambda x: keep_bits(x, int(site.amount)))
    rewire(
        pre_norm={"residual": lambda v: of_tensor(v["previous"] + v["attention"])},
        post_norm={"residual": lambda v: of_tensor(v["previous"] + v["projection"])},
    )(site)


def round_operands(site: NetworkSite) -> None:
    """Round both operands of a product to as many bits as the severity says."""
    owner = site.owner()
    of_tensor = site.on_arrays(lambda x: keep_bits(x, int(site.amount)))
    owner.weight.set_data(of_tensor(owner.weight))
    site.wrap(owner, before=lambda x: (of_tensor(x),))


def round_weights_of_attention(weights: np.ndarray) -> np.ndarray:
    """Return attention weights as a softmax in bfloat16 gives them."""
    return keep_bits(weights, 7)


# Norm after the feed-forward half instead of before it, or before instead of after.
move_second_norm = rewire(
    pre_norm={
        "up": lambda v: v["residual"],
        "norm_2": lambda v: v["mlp"],
        "output": lambda v: v["residual"] + v["norm_2"],
    },
    post_norm={
        "up": lambda v: v.apply("output", v["attention"]),
        "output": Becomes(lambda v: v["sum"]),
    },
)


def read_last_token(site: NetworkSite) -> None:
    """Pool the last position instead of the first."""
    site.wrap(site.cell("pooler"), before=lambda hidden: (hidden[:, -1:],))
