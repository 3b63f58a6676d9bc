"""What the bodies of all encoders share, whatever the names of their parameters.

Attention between the projections, the way through the layers, and the rows of padding.
"""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from mindport.migrate.cells.layers import (
    Attention,
    Prefix,
    Taps,
    merge_heads,
    prepend_prefix,
    show_prefix,
    split_heads,
)


class SelfAttention(nn.Cell):
    """Every token attends to every token that is not padding; projections are the caller's.

    Args:
        width: Of the hidden states.
        heads: How many heads there are.
        dropout: Probability with which a weight is dropped in training.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention = Attention((width // heads) ** -0.5, dropout)

    def construct(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, *prefix: Tensor
    ) -> tuple[Tensor, Taps]:
        """Return the mixed values ``(batch, seq, width)``, and the taps from ``query`` to them.

        Args:
            query: ``(batch, seq, width)``, as ``key`` and ``value``.
            key: What a query is compared with.
            value: What is mixed.
            bias: ``(batch, 1, 1, n + seq)``, added to the scores; or None.
            *prefix: Keys and values, each ``(batch or 1, heads, n, head_dim)``, that come first; or
                nothing.
        """
        queries = split_heads(query, self.heads)  # (batch, heads, seq, head_dim)
        keys = split_heads(key, self.heads)
        values = split_heads(value, self.heads)
        if len(prefix) > 0:
            keys = prepend_prefix(prefix[0], keys)  # (batch, heads, n + seq, head_dim)
            values = prepend_prefix(prefix[1], values)
        mixed, scores, weights = self.attention(queries, keys, values, bias)
        context = merge_heads(mixed)  # (batch, seq, width)
        return context, (query, key, value, scores, weights, context)


class Encoder(nn.Cell):
    """The layers, one after the other.

    Args:
        layers: Each takes hidden states, a bias and perhaps a prefix, as :class:`SelfAttention`
            does, and returns the hidden states and its taps.
    """

    def __init__(self, layers: Sequence[nn.Cell]) -> None:
        super().__init__()
        self.layer = nn.CellList(layers)  # upstream's name, and so part of the parameters'

    def construct(
        self,
        hidden: Tensor,
        bias: Tensor | None,
        output_taps: bool,
        prefix: tuple[Prefix, ...] | None = None,
    ) -> tuple[tuple[Tensor, ...], Taps]:
        """Return the input and every layer's output ``(batch, seq, width)``, and the taps.

        Args:
            hidden: ``(batch, seq, width)``.
            bias: ``(batch, 1, 1, seq)``, added to the scores; or None.
            output_taps: Whether there are any taps.
            prefix: One for each layer.
        """
        if bias is not None and prefix is not None:
            bias = show_prefix(bias, prefix[0][0])
        hidden_states: tuple[Tensor, ...] = (hidden,)
        taps: Taps = ()
        for i, layer in enumerate(self.layer):
            hidden, inner = layer(hidden, bias, *(() if prefix is None else prefix[i]))
            hidden_states = (*hidden_states, hidden)
            if output_taps:  # if not, a layer's inner values are let go with it
                taps = (*taps, *inner)
        return hidden_states, taps


def keep_padding(rows: Tensor, ids: Tensor, padding: int) -> Tensor:
    """Return looked up rows, from which the one of padding learns nothing.

    Args:
        rows: ``(batch, seq, width)``.
        ids: ``(batch or 1, seq)``, what was looked up.
        padding: The id of padding.
    """
    hidden = ops.equal(ids, padding)[..., None]  # (batch or 1, seq, 1)
    return ops.where(hidden, ops.stop_gradient(rows), rows)
