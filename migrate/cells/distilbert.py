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

from mindport.migrate.cells.activations import ACTIVATIONS
from mindport.migrate.cells.encoder_layers import Encoder, SelfAttention, keep_padding
from mindport.migrate.cells.layers import Prefix, Taps, dense, embedding, layer_norm, padding_bias
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
                words = keep_padding(words, input_ids, self.pad_token_id)
        else:
            words = ops.cast(inputs_embeds, self.word_embeddings.embedding_table.dtype)
        if position_ids is None:
            position_ids = self.rows[: words.shape[1]][None]  # (1, seq)
        total = words + self.position_embeddings(position_ids)  # (batch, seq, width)
        return self.dropout(self.LayerNorm(total)), total


class DistilBertSelfAttention(nn.Cell):
    """Self-attention with its projections.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, std = config.dim, config.initializer_range
        self.q_lin = dense(width, width, std)
        self.k_lin = dense(width, width, std)
        self.v_lin = dense(width, width, std)
        self.out_lin = dense(width, width, std)
        self.mixing = SelfAttention(width, config.n_heads, config.attention_dropout)

    def construct(
        self, hidden: Tensor, bias: Tensor | None, *prefix: Tensor
    ) -> tuple[Tensor, Taps]:
        """Return the output ``(batch, seq, width)``, and the taps from ``query`` to it.

        Args:
            hidden: ``(batch, seq, width)``.
            bias: As for :class:`SelfAttention`.
            *prefix: As for :class:`SelfAttention`.
        """
        query, key, value = self.q_lin(hidden), self.k_lin(hidden), self.v_lin(hidden)
        context, inner = self.mixing(query, key, value, bias, *prefix)
        projection = self.out_lin(context)  # (batch, seq, width)
        return projection, (*inner, projection)


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


class DistilBertModel(DistilBertNetwork):
    """The encoder without a head."""

    head = "none"
    outputs = ("last_hidden_state",)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embeddings = DistilBertEmbeddings(self.config)
        layers = [DistilBertBlock(self.config) for _ in range(self.config.n_layers)]
        self.transformer = Encoder(layers)

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
