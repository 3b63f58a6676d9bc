"""The layers of BERT: self-attention and feed-forward network, each with residual and norm.

Names are those of ``transformers``, as in :mod:`mindport.migrate.cells.bert`.
"""

from __future__ import annotations

from typing import Any

from mindspore import Tensor, nn

from mindport.migrate.cells.activations import ACTIVATIONS
from mindport.migrate.cells.encoder_layers import SelfAttention
from mindport.migrate.cells.layers import Taps, dense, layer_norm


class BertSelfAttention(nn.Cell):
    """Self-attention with its projections of query, key and value.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, std = config.hidden_size, config.initializer_range
        self.query = dense(width, width, std)
        self.key = dense(width, width, std)
        self.value = dense(width, width, std)
        self.mixing = SelfAttention(
            width, config.num_attention_heads, config.attention_probs_dropout_prob
        )

    def construct(
        self, hidden: Tensor, bias: Tensor | None, *prefix: Tensor
    ) -> tuple[Tensor, Taps]:
        """Return the mixed values ``(batch, seq, width)``, and the taps from ``query`` to them.

        Args:
            hidden: ``(batch, seq, width)``.
            bias: As for :class:`SelfAttention`.
            *prefix: As for :class:`SelfAttention`.
        """
        query, key, value = self.query(hidden), self.key(hidden), self.value(hidden)
        mixed: tuple[Tensor, Taps] = self.mixing(query, key, value, bias, *prefix)
        return mixed


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
