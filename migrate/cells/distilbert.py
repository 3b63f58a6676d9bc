"""DistilBERT: the encoder, without the heads that stand on it.

Parameter and module names are those of ``transformers``
(``models/distilbert/modeling_distilbert.py``), in MindSpore's spelling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, nn, ops

from mindport.migrate.cells.layers import (
    ACTIVATIONS,
    Attention,
    Prefix,
    Taps,
    dense,
    embedding,
    layer_norm,
    merge_heads,
    padding_bias,
    prepend_prefix,
    show_prefix,
    split_heads,
)
from mindport.migrate.cells.pretrained import PretrainedModel
from mindport.migrate.errors import MindportError

EPS = 1e-12  # upstream writes it into the network


class DistilBertNetwork(PretrainedModel):
    """What all networks on DistilBERT refuse: there are no segments."""

    architecture = "distilbert"

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Check shapes and ids on the host.

        Raises:
            MindportError: If one is impossible, or there are segments.
        """
        if inputs.get("token_type_ids") is not None:
            raise MindportError("DistilBERT has no token_type_ids.", "Leave them out.")
        super().check_inputs(inputs)


class DistilBertEmbeddings(nn.Cell):
    """The sum of word and position embeddings, normed.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, std = config.dim, config.initializer_range
        self.pad_token_id = config.pad_token_id
        self.word_embeddings = embedding(config.vocab_size, width, std, config.pad_token_id)
        self.position_embeddings = embedding(config.max_position_embeddings, width, std)
        self.LayerNorm = layer_norm(width, EPS)
        self.dropout = nn.Dropout(p=config.dropout)
        self.rows = Tensor(np.arange(config.max_position_embeddings), mindspore.int32)  # 0, 1 …

    def construct(
        self, input_ids: Tensor | None, position_ids: Tensor | None, inputs_embeds: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings, and the sum before the norm, each ``(batch, seq, width)``.

        Args:
            input_ids: ``(batch, seq)``.
            position_ids: ``(batch or 1, seq)``; 0, 1, 2 … if None.
            inputs_embeds: ``(batch, seq, width)``, in place of the words of ``input_ids``.
        """
        if inputs_embeds is None:
            words = self.word_embeddings(input_ids)  # (batch, seq, width)
            if self.training:  # the embedding of padding is not learnt
                padding = ops.equal(input_ids, self.pad_token_id)[..., None]  # (batch, seq, 1)
                words = ops.where(padding, ops.stop_gradient(words), words)
        else:
            words = ops.cast(inputs_embeds, self.word_embeddings.embedding_table.dtype)
        if position_ids is None:
            position_ids = self.rows[: words.shape[1]][None]  # (1, seq)
        total = words + self.position_embeddings(position_ids)  # (batch, seq, width)
        return self.dropout(self.LayerNorm(total)), total


class DistilBertSelfAttention(nn.Cell):
    """Every token attends to every token that is not padding.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, std = config.dim, config.initializer_range
        self.heads = config.n_heads
        self.q_lin = dense(width, width, std)
        self.k_lin = dense(width, width, std)
        self.v_lin = dense(width, width, std)
        self.out_lin = dense(width, width, std)
        self.attention = Attention((width // self.heads) ** -0.5, config.attention_dropout)

    def construct(
        self, hidden: Tensor, bias: Tensor | None, *prefix: Tensor
    ) -> tuple[Tensor, Taps]:
        """Return the output ``(batch, seq, width)``, and the taps from ``query`` to it.

        Args:
            hidden: ``(batch, seq, width)``.
            bias: ``(batch, 1, 1, seq)``, added to the scores; or None.
            *prefix: Keys and values, each ``(batch or 1, heads, n, head_dim)``, that come first; or
                nothing.
        """
        query, key, value = self.q_lin(hidden), self.k_lin(hidden), self.v_lin(hidden)
        keys = split_heads(key, self.heads)  # (batch, heads, seq, head_dim)
        values = split_heads(value, self.heads)
        if len(prefix) > 0:
            keys = prepend_prefix(prefix[0], keys)  # (batch, heads, n + seq, head_dim)
            values = prepend_prefix(prefix[1], values)
            bias = None if bias is None else show_prefix(bias, prefix[0])
        mixed, scores, weights = self.attention(split_heads(query, self.heads), keys, values, bias)
        context = merge_heads(mixed)  # (batch, seq, width)
        projection = self.out_lin(context)
        return projection, (query, key, value, scores, weights, context, projection)


class DistilBertFFN(nn.Cell):
    """The feed-forward half of a block.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        std = config.initializer_range
        self.lin1 = dense(config.dim, config.hidden_dim, std)
        self.activation = ACTIVATIONS[config.activation]()
        self.lin2 = dense(config.hidden_dim, config.dim, std)
        self.dropout = nn.Dropout(p=config.dropout)

    def construct(self, hidden: Tensor) -> tuple[Tensor, Taps]:
        """Map ``(batch, seq, width)`` to the same shape; return the taps ``up`` to ``mlp`` too."""
        up = self.lin1(hidden)  # (batch, seq, hidden_dim)
        activation = self.activation(up)
        mlp = self.lin2(activation)
        return self.dropout(mlp), (up, activation, mlp)


class DistilBertBlock(nn.Cell):
    """Attention, then the feed-forward network, each with residual and norm behind it.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.attention = DistilBertSelfAttention(config)
        self.sa_layer_norm = layer_norm(config.dim, EPS)
        self.ffn = DistilBertFFN(config)
        self.output_layer_norm = layer_norm(config.dim, EPS)

    def construct(
        self, hidden: Tensor, bias: Tensor | None, *prefix: Tensor
    ) -> tuple[Tensor, Taps]:
        """Return the output ``(batch, seq, width)``, and the block's taps.

        The arguments are those of :class:`DistilBertSelfAttention`.
        """
        projection, inner = self.attention(hidden, bias, *prefix)
        residual = projection + hidden  # (batch, seq, width)
        attention = self.sa_layer_norm(residual)
        mlp, wide = self.ffn(attention)
        total = mlp + attention
        hidden = self.output_layer_norm(total)
        return hidden, (*inner, residual, attention, *wide, total, hidden)


class DistilBertTransformer(nn.Cell):
    """The blocks, one after the other.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layer = nn.CellList([DistilBertBlock(config) for _ in range(config.n_layers)])

    def construct(
        self,
        hidden: Tensor,
        bias: Tensor | None,
        output_taps: bool,
        prefix: tuple[Prefix, ...] | None = None,
    ) -> tuple[tuple[Tensor, ...], Taps]:
        """Return the input and every block's output ``(batch, seq, width)``, and the taps.

        Args:
            hidden: ``(batch, seq, width)``.
            bias: ``(batch, 1, 1, seq)``, added to the scores; or None.
            output_taps: Whether there are any taps.
            prefix: One for each block.
        """
        hidden_states: tuple[Tensor, ...] = (hidden,)
        taps: Taps = ()
        for i, block in enumerate(self.layer):
            hidden, inner = block(hidden, bias, *(() if prefix is None else prefix[i]))
            hidden_states = (*hidden_states, hidden)
            if output_taps:  # if not, a block's inner values are let go with it
                taps = (*taps, *inner)
        return hidden_states, taps


class DistilBertModel(DistilBertNetwork):
    """The encoder without a head."""

    head = "none"
    outputs = ("last_hidden_state",)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embeddings = DistilBertEmbeddings(self.config)
        self.transformer = DistilBertTransformer(self.config)

    def construct(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_taps: bool = False,
        inputs_embeds: Tensor | None = None,
        prefix: tuple[Prefix, ...] | None = None,
    ) -> tuple[Any, ...]:
        """Run the encoder.

        The arguments are those of :class:`mindport.migrate.cells.bert.BertModel`, except that
        ``token_type_ids`` must be None: it is there so that all encoders are called alike.

        Returns:
            ``last_hidden_state`` (batch, seq, width); then ``hidden_states`` and ``taps`` if asked
            for.
        """
        hidden, total = self.embeddings(input_ids, position_ids, inputs_embeds)
        bias = None if attention_mask is None else padding_bias(attention_mask, hidden.dtype)
        hidden_states, inner = self.transformer(hidden, bias, output_taps, prefix)
        outputs: tuple[Any, ...] = (hidden_states[-1],)
        if output_hidden_states:
            outputs = (*outputs, hidden_states)
        if output_taps:
            outputs = (*outputs, (total, hidden, *inner))
        return outputs
