"""The layers of BERT: self-attention and feed-forward network, each with residual and norm.

Names are those of ``transformers``, as in :mod:`mindport.migrate.cells.bert`.
"""

from __future__ import annotations

from typing import Any

from mindspore import Tensor, nn

from mindport.migrate.cells.layers import (
    ACTIVATIONS,
    Attention,
    Prefix,
    Taps,
    dense,
    layer_norm,
    merge_heads,
    prepend_prefix,
    show_prefix,
    split_heads,
)


class BertSelfAttention(nn.Cell):
    """Every token attends to every token that is not padding.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, std = config.hidden_size, config.initializer_range
        self.heads = config.num_attention_heads
        self.query = dense(width, width, std)
        self.key = dense(width, width, std)
        self.value = dense(width, width, std)
        self.attention = Attention(
            (width // self.heads) ** -0.5, config.attention_probs_dropout_prob
        )

    def construct(
        self, hidden: Tensor, bias: Tensor | None, *prefix: Tensor
    ) -> tuple[Tensor, Taps]:
        """Return the mixed values ``(batch, seq, width)``, and the taps from ``query`` to them.

        Args:
            hidden: ``(batch, seq, width)``.
            bias: ``(batch, 1, 1, seq)``, added to the scores; or None.
            *prefix: Keys and values, each ``(batch or 1, heads, n, head_dim)``, that come first; or
                nothing.
        """
        query, key, value = self.query(hidden), self.key(hidden), self.value(hidden)
        keys = split_heads(key, self.heads)  # (batch, heads, seq, head_dim)
        values = split_heads(value, self.heads)
        if len(prefix) > 0:
            keys = prepend_prefix(prefix[0], keys)  # (batch, heads, n + seq, head_dim)
            values = prepend_prefix(prefix[1], values)
            bias = None if bias is None else show_prefix(bias, prefix[0])
        mixed, scores, weights = self.attention(split_heads(query, self.heads), keys, values, bias)
        context = merge_heads(mixed)  # (batch, seq, width)
        return context, (query, key, value, scores, weights, context)


class BertProjection(nn.Cell):
    """A projection, and the residual and norm after it; ``output`` in attention and layer.

    Args:
        config: The resolved config.
        in_size: Width of what is projected.
    """

    def __init__(self, config: Any, in_size: int) -> None:
        super().__init__()
        self.dense = dense(in_size, config.hidden_size, config.initializer_range)
        self.LayerNorm = layer_norm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(p=config.hidden_dropout_prob)

    def construct(self, states: Tensor, residual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normed sum, the projection, and the sum, each ``(batch, seq, width)``.

        Args:
            states: ``(batch, seq, in_size)``.
            residual: ``(batch, seq, width)``.
        """
        projected = self.dense(states)
        total = self.dropout(projected) + residual
        return self.LayerNorm(total), projected, total


class BertAttention(nn.Cell):
    """Self-attention with its projection, residual and norm.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.self = BertSelfAttention(config)  # upstream's name, and so part of the parameters'
        self.output = BertProjection(config, config.hidden_size)

    def construct(
        self, hidden: Tensor, bias: Tensor | None, *prefix: Tensor
    ) -> tuple[Tensor, Taps]:
        """Return the output ``(batch, seq, width)``, and the taps from ``query`` to it.

        The arguments are those of :class:`BertSelfAttention`.
        """
        context, inner = self.self(hidden, bias, *prefix)
        attention, projection, residual = self.output(context, hidden)
        return attention, (*inner, projection, residual, attention)


class BertIntermediate(nn.Cell):
    """The wide half of the feed-forward network.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = dense(config.hidden_size, config.intermediate_size, config.initializer_range)
        self.activation = ACTIVATIONS[config.hidden_act]()

    def construct(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output, and before its activation, each ``(batch, seq, intermediate_size)``.

        Args:
            hidden: ``(batch, seq, width)``.
        """
        up = self.dense(hidden)
        return self.activation(up), up


class BertLayer(nn.Cell):
    """Attention, then the feed-forward network, each with residual and norm behind it.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertProjection(config, config.intermediate_size)

    def construct(
        self, hidden: Tensor, bias: Tensor | None, *prefix: Tensor
    ) -> tuple[Tensor, Taps]:
        """Return the output ``(batch, seq, width)``, and the layer's taps.

        The arguments are those of :class:`BertSelfAttention`.
        """
        attention, inner = self.attention(hidden, bias, *prefix)
        activation, up = self.intermediate(attention)  # (batch, seq, intermediate_size)
        hidden, mlp, total = self.output(activation, attention)
        return hidden, (*inner, up, activation, mlp, total, hidden)


class BertEncoder(nn.Cell):
    """The layers, one after the other.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layer = nn.CellList([BertLayer(config) for _ in range(config.num_hidden_layers)])

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
        hidden_states: tuple[Tensor, ...] = (hidden,)
        taps: Taps = ()
        for i, layer in enumerate(self.layer):
            hidden, inner = layer(hidden, bias, *(() if prefix is None else prefix[i]))
            hidden_states = (*hidden_states, hidden)
            if output_taps:  # if not, a layer's inner values are let go with it
                taps = (*taps, *inner)
        return hidden_states, taps
