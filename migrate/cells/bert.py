"""BERT: the encoder, without the heads that stand on it.

Parameter and module names are those of ``transformers`` (``models/bert/modeling_bert.py``), in
MindSpore's spelling: ``bert.encoder.layer.0.attention.output.LayerNorm.gamma``,
``bert.embeddings.word_embeddings.embedding_table``.
"""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, nn, ops

from mindport.migrate.cells.layers import (
    ACTIVATIONS,
    Attention,
    Taps,
    dense,
    embedding,
    layer_norm,
    merge_heads,
    padding_bias,
    split_heads,
)
from mindport.migrate.cells.pretrained import PretrainedModel


class BertEmbeddings(nn.Cell):
    """The sum of word, position and segment embeddings, normed.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, std = config.hidden_size, config.initializer_range
        self.pad_token_id = config.pad_token_id
        self.word_embeddings = embedding(config.vocab_size, width, std, config.pad_token_id)
        self.position_embeddings = embedding(config.max_position_embeddings, width, std)
        self.token_type_embeddings = embedding(config.type_vocab_size, width, std)
        self.LayerNorm = layer_norm(width, config.layer_norm_eps)
        self.dropout = nn.Dropout(p=config.hidden_dropout_prob)
        self.rows = Tensor(np.arange(config.max_position_embeddings), mindspore.int32)  # 0, 1 …

    def construct(
        self, input_ids: Tensor, token_type_ids: Tensor | None, position_ids: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings, and the sum before the norm, each ``(batch, seq, width)``.

        Args:
            input_ids: ``(batch, seq)``.
            token_type_ids: ``(batch, seq)``; zeros if None.
            position_ids: ``(batch or 1, seq)``; 0, 1, 2 … if None.
        """
        if position_ids is None:
            position_ids = self.rows[: input_ids.shape[1]][None]  # (1, seq)
        if token_type_ids is None:
            token_type_ids = ops.zeros_like(position_ids)  # (1, seq)
        words = self.word_embeddings(input_ids)  # (batch, seq, width)
        if self.training:  # the embedding of padding is not learnt
            padding = ops.equal(input_ids, self.pad_token_id)[..., None]  # (batch, seq, 1)
            words = ops.where(padding, ops.stop_gradient(words), words)
        words = words + self.token_type_embeddings(token_type_ids)
        total = words + self.position_embeddings(position_ids)  # (batch, seq, width)
        return self.dropout(self.LayerNorm(total)), total


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

    def construct(self, hidden: Tensor, bias: Tensor | None) -> tuple[Tensor, Taps]:
        """Return the mixed values ``(batch, seq, width)``, and the taps from ``query`` to them.

        Args:
            hidden: ``(batch, seq, width)``.
            bias: ``(batch, 1, 1, seq)``, added to the scores; or None.
        """
        query, key, value = self.query(hidden), self.key(hidden), self.value(hidden)
        mixed, scores, weights = self.attention(
            split_heads(query, self.heads),  # (batch, heads, seq, head_dim)
            split_heads(key, self.heads),
            split_heads(value, self.heads),
            bias,
        )
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

    def construct(self, hidden: Tensor, bias: Tensor | None) -> tuple[Tensor, Taps]:
        """Return the output ``(batch, seq, width)``, and the taps from ``query`` to it.

        Args:
            hidden: ``(batch, seq, width)``.
            bias: ``(batch, 1, 1, seq)``, added to the scores; or None.
        """
        context, inner = self.self(hidden, bias)
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

    def construct(self, hidden: Tensor, bias: Tensor | None) -> tuple[Tensor, Taps]:
        """Return the output ``(batch, seq, width)``, and the layer's taps.

        Args:
            hidden: ``(batch, seq, width)``.
            bias: ``(batch, 1, 1, seq)``, added to the scores; or None.
        """
        attention, inner = self.attention(hidden, bias)
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
        self, hidden: Tensor, bias: Tensor | None, output_taps: bool
    ) -> tuple[tuple[Tensor, ...], Taps]:
        """Return the input and every layer's output ``(batch, seq, width)``, and the taps.

        Args:
            hidden: ``(batch, seq, width)``.
            bias: ``(batch, 1, 1, seq)``, added to the scores; or None.
            output_taps: Whether there are any taps.
        """
        hidden_states: tuple[Tensor, ...] = (hidden,)
        taps: Taps = ()
        for layer in self.layer:
            hidden, inner = layer(hidden, bias)
            hidden_states = (*hidden_states, hidden)
            if output_taps:  # if not, a layer's inner values are let go with it
                taps = (*taps, *inner)
        return hidden_states, taps


class BertPooler(nn.Cell):
    """A summary of the sequence, made from its first token.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = dense(config.hidden_size, config.hidden_size, config.initializer_range)

    def construct(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the summary, and before its activation, each ``(batch, width)``.

        Args:
            hidden: ``(batch, seq, width)``.
        """
        projected = self.dense(hidden[:, 0])
        return ops.tanh(projected), projected


class BertModel(PretrainedModel):
    """The encoder without a head.

    Args:
        config: As for :class:`PretrainedModel`.
        add_pooling_layer: Whether there is a pooler; some heads have none.
    """

    architecture = "bert"
    head = "none"
    outputs: tuple[str, ...] = ("last_hidden_state", "pooler_output")

    def __init__(self, config: Any, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(self.config)
        self.encoder = BertEncoder(self.config)
        self.pooler = BertPooler(self.config) if add_pooling_layer else None
        if not add_pooling_layer:
            self.outputs = ("last_hidden_state",)

    def construct(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_taps: bool = False,
    ) -> tuple[Any, ...]:
        """Run the encoder.

        Args:
            input_ids: ``(batch, seq)``.
            attention_mask: ``(batch, seq)``, 0 for padding.
            token_type_ids: ``(batch, seq)``, the segment of each token; zeros if absent.
            position_ids: ``(batch or 1, seq)``; 0, 1, 2 … if absent.
            output_hidden_states: Whether to return the embeddings and every layer's output.
            output_taps: Whether to return the taps.

        Returns:
            ``last_hidden_state`` (batch, seq, width); with a pooler ``pooler_output`` (batch,
            width); then ``hidden_states`` and ``taps`` if asked for.
        """
        hidden, total = self.embeddings(input_ids, token_type_ids, position_ids)
        bias = None if attention_mask is None else padding_bias(attention_mask, hidden.dtype)
        hidden_states, inner = self.encoder(hidden, bias, output_taps)
        taps: Taps = (total, hidden, *inner)
        outputs: tuple[Any, ...] = (hidden_states[-1],)
        if self.pooler is not None:
            pooled, projected = self.pooler(hidden_states[-1])  # (batch, width)
            outputs = (*outputs, pooled)
            taps = (*taps, projected, pooled)
        if output_hidden_states:
            outputs = (*outputs, hidden_states)
        if output_taps:
            outputs = (*outputs, taps)
        return outputs
