"""What the networks share: projections, masked attention, and the losses.

Shapes are written as ``(batch, seq, width)``; ``heads * head_dim = width``, ``query`` and ``key``
are the lengths of the two sides of attention. Everything here runs in eager and in graph mode, on
kernels that exist for float16, float32 and float64 on the CPU.
"""

from __future__ import annotations

from functools import lru_cache

import mindspore
import numpy as np
from mindspore import Tensor, constexpr, nn, ops
from mindspore.common.initializer import Normal

Taps = tuple[Tensor, ...]  # in network order, as the architecture file names them
Prefix = tuple[Tensor, Tensor]  # keys and values of one layer, learned in place of words
IGNORE_INDEX = -100  # a label with this value adds nothing to a loss
_MATMUL = ops.MatMul(transpose_b=True)


def dense(in_size: int, out_size: int, std: float, bias: bool = True) -> nn.Dense:
    """Return ``(..., in_size) -> (..., out_size)`` with weights of standard deviation ``std``."""
    return nn.Dense(in_size, out_size, Normal(std), "zeros", has_bias=bias)


def embedding(rows: int, width: int, std: float, padding: int | None = None) -> nn.Embedding:
    """Return ``ids -> (*ids.shape, width)``, of standard deviation ``std``, but 0 for padding."""
    return nn.Embedding(rows, width, embedding_table=Normal(std), padding_idx=padding)


def layer_norm(width: int, eps: float) -> nn.LayerNorm:
    """Return a norm over the last axis; MindSpore's own ``eps`` would be 1e-7."""
    return nn.LayerNorm((width,), epsilon=float(eps))


def project(hidden: Tensor, matrix: Tensor) -> Tensor:
    """Multiply ``(..., in)`` with a matrix ``(out, in)`` that belongs to another module.

    ``ops.dense`` would do it in one word, but in graph mode it falls back to dynamic shapes.
    """
    flat = hidden.reshape(-1, hidden.shape[-1])  # (count, in)
    return _MATMUL(flat, matrix).reshape(*hidden.shape[:-1], matrix.shape[0])


def lowest(dtype: mindspore.dtype.Type) -> float:
    """Return the number that masks a score: finite in ``dtype``, and far below any real score.

    It is the dtype's own minimum, but for float64, where float32's serves as well and, unlike
    float64's, survives MindSpore's graphs (they hold Python numbers as float32).
    """
    if dtype == mindspore.float16:
        return -65504.0
    if dtype == mindspore.bfloat16:
        return -3.3895313892515355e38
    return -3.4028234663852886e38


def padding_bias(attention_mask: Tensor, dtype: mindspore.dtype.Type) -> Tensor:
    """Return what hides padding when it is added to the scores.

    Args:
        attention_mask: ``(batch, key)``, zero where there is padding.
        dtype: The dtype of the scores.

    Returns:
        ``(batch, 1, 1, key)``: 0 where a key may be seen, :func:`lowest` where not.
    """
    hidden = ops.equal(attention_mask, 0)[:, None, None, :]  # (batch, 1, 1, key)
    return ops.cast(hidden, dtype) * lowest(dtype)


def causal_bias(
    query_rows: Tensor,
    key_rows: Tensor,
    attention_mask: Tensor | None,
    dtype: mindspore.dtype.Type,
) -> Tensor:
    """Return what hides the future, and padding, when it is added to the scores.

    Args:
        query_rows: ``(query,)``, where in the sequence each query stands.
        key_rows: ``(key,)``, the same for the keys.
        attention_mask: ``(batch, key)``, zero where there is padding; None if there is none.
        dtype: The dtype of the scores.

    Returns:
        ``(batch or 1, 1, query, key)``: 0 where a key may be seen, :func:`lowest` where not.
    """
    hidden = (key_rows[None, :] > query_rows[:, None])[None, None]  # (1, 1, query, key)
    if attention_mask is not None:
        hidden = ops.logical_or(hidden, ops.equal(attention_mask, 0)[:, None, None, :])
    return ops.cast(hidden, dtype) * lowest(dtype)


@constexpr  # type: ignore[untyped-decorator]
@lru_cache(maxsize=64)
def _swapped_rows(batch: int, first: int, second: int, part: int, parts: int) -> Tensor:
    """Return the rows of ``(batch, first, parts, second)`` that make ``(batch, second, first)``."""
    rows = np.arange(batch * first * parts * second).reshape(batch, first, parts, second)
    return Tensor(rows[:, :, part].swapaxes(1, 2).reshape(-1), mindspore.int32)


def split_heads(states: Tensor, heads: int, part: int = 0, parts: int = 1) -> Tensor:
    """Turn ``(batch, seq, parts * width)`` into ``(batch, heads, seq, head_dim)``.

    Rows of ``head_dim`` numbers are copied whole; in eager mode a transposed view is copied number
    by number wherever it is used, which takes several times as long.

    Args:
        states: Of one projection, or of several one beside the other.
        heads: Of one projection.
        part: Which projection, from 0.
        parts: How many there are.
    """
    batch, seq, width = states.shape
    head_dim = width // (parts * heads)
    rows = ops.gather(
        states.reshape(-1, head_dim), _swapped_rows(batch, seq, heads, part, parts), 0
    )
    return rows.reshape(batch, heads, seq, head_dim)


def merge_heads(states: Tensor) -> Tensor:
    """Turn ``(batch, heads, seq, head_dim)`` into ``(batch, seq, width)``."""
    batch, heads, seq, head_dim = states.shape
    rows = ops.gather(states.reshape(-1, head_dim), _swapped_rows(batch, heads, seq, 0, 1), 0)
    return rows.reshape(batch, seq, heads * head_dim)


class Attention(nn.Cell):
    """Masked softmax attention of several heads, without projections.

    Args:
        scaling: What the scores are multiplied with, usually ``head_dim ** -0.5``.
        dropout: Probability with which a weight is dropped in training.
    """

    def __init__(self, scaling: float, dropout: float) -> None:
        super().__init__()
        self.scaling = scaling
        self.dropout = nn.Dropout(p=dropout)
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.mix = ops.BatchMatMul()

    def construct(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the values, mixed as the scores say, and on the way to them scores and weights.

        Args:
            query: ``(batch, heads, query, head_dim)``.
            key: ``(batch, heads, key, head_dim)``.
            value: ``(batch, heads, key, head_dim)``.
            bias: Broadcast to ``(batch, heads, query, key)`` and added to the scores; or None.

        Returns:
            The mixed values ``(batch, heads, query, head_dim)``; what goes into the softmax and
            what comes out of it, each ``(batch, heads, query, key)``.
        """
        # Scaling the query and not the product keeps float16 scores in range.
        scores = self.scores(query * self.scaling, key)  # (batch, heads, query, key)
        if bias is not None:
            scores = scores + bias
            if scores.dtype == mindspore.float16:  # a row of -inf alone would become NaN
                scores = ops.maximum(scores, lowest(mindspore.float16))
        weights = ops.softmax(scores, -1)
        return self.mix(self.dropout(weights), value), scores, weights


def write_rows(cache: Tensor, new: Tensor, source: Tensor) -> Tensor:
    """Return ``cache`` with some of its rows replaced; all shapes stay as they are.

    Args:
        cache: ``(batch, heads, capacity, head_dim)``.
        new: ``(batch, heads, seq, head_dim)``.
        source: ``(capacity,)``, for each row of the cache the row of ``new`` that replaces it;
            rows whose number does not exist in ``new`` are kept.
    """
    seq = new.shape[2]
    replaced = ops.logical_and(source >= 0, source < seq)[None, None, :, None]
    rows = ops.gather(new, ops.clamp(source, 0, seq - 1), 2)  # as cache
    return ops.where(replaced, rows, cache)


def prepend_prefix(prefix: Tensor, states: Tensor) -> Tensor:
    """Put learned keys or values before those of a sequence.

    Args:
        prefix: ``(batch or 1, heads, n, head_dim)``, of any float dtype.
        states: ``(batch, heads, seq, head_dim)``.

    Returns:
        ``(batch, heads, n + seq, head_dim)`` in the dtype of ``states``.
    """
    shape = (states.shape[0], *prefix.shape[1:])
    return ops.concat((ops.broadcast_to(ops.cast(prefix, states.dtype), shape), states), 2)


def show_prefix(bias: Tensor, prefix: Tensor) -> Tensor:
    """Widen what hides keys, so that every query sees a prefix.

    Args:
        bias: ``(batch or 1, 1, query or 1, key)``, added to the scores.
        prefix: ``(batch or 1, heads, n, head_dim)``.

    Returns:
        ``(batch or 1, 1, query or 1, n + key)``.
    """
    shown = ops.zeros((*bias.shape[:3], prefix.shape[2]), bias.dtype)
    return ops.concat((shown, bias), -1)


def take_tokens(states: Tensor, positions: Tensor | None) -> Tensor:
    """Return the states of some tokens.

    Args:
        states: ``(batch, seq, width)``.
        positions: ``(batch, k)``, where in its sequence each token stands; all of them if None.

    Returns:
        ``(batch, k, width)``.
    """
    return states if positions is None else ops.gather(states, positions, 1, 1)


def cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Return the mean cross entropy over the labels that are not ``ignore_index``.

    Args:
        logits: ``(..., classes)``; float16 is raised to float32 first.
        labels: ``(...)``, whole numbers.
        ignore_index: The label that does not count. If no label counts the loss is NaN, as
            torch's is.
    """
    if logits.dtype != mindspore.float64:
        logits = ops.cast(logits, mindspore.float32)
    logits = logits.reshape(-1, logits.shape[-1])  # (count, classes)
    labels = ops.cast(labels.reshape(-1), mindspore.int32)  # (count,)
    return ops.cross_entropy(logits, labels, ignore_index=ignore_index)


def classification_loss(
    logits: Tensor, labels: Tensor, num_labels: int, problem_type: str | None
) -> Tensor:
    """Return the loss of a sequence classifier, of the kind that the labels call for.

    Args:
        logits: ``(batch, num_labels)``.
        labels: ``(batch,)`` of whole numbers for one label, ``(batch, num_labels)`` of 0.0 and 1.0
            for several at once, ``(batch,)`` or ``(batch, num_labels)`` of numbers for regression.
        num_labels: How many labels there are; 1 means regression.
        problem_type: ``regression``, ``single_label_classification``,
            ``multi_label_classification``, or None to tell it from the labels.
    """
    whole = labels.dtype == mindspore.int32 or labels.dtype == mindspore.int64
    if problem_type is None:
        if num_labels == 1:
            problem_type = "regression"
        elif whole:
            problem_type = "single_label_classification"
        else:
            problem_type = "multi_label_classification"
    if problem_type == "single_label_classification":
        return cross_entropy(logits, labels)
    logits = ops.cast(logits, mindspore.float32).reshape(-1)
    labels = ops.cast(labels, mindspore.float32).reshape(-1)
    if problem_type == "regression":
        return ops.mse_loss(logits, labels)
    # log(1 + exp(x)) - x y, written so that nothing overflows
    softplus = ops.relu(logits) + ops.log1p(ops.exp(-ops.abs(logits)))
    return (softplus - logits * labels).mean()
