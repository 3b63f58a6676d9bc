"""BERT: the encoder, without the heads that stand on it.

Parameter and module names are those of ``transformers`` (``models/bert/modeling_bert.py``), in
MindSpore's spelling: ``bert.encoder.layer.0.attention.output.LayerNorm.gamma``,
``bert.embeddings.word_embeddings.embedding_table``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import mindspore
import numpy as np
from mindspore import Tensor, nn, ops

from mindport.migrate.cells.activations import tanh
from mindport.migrate.cells.bert_layers import BertLayer
from mindport.migrate.cells.encoder_layers import Encoder, keep_padding
from mindport.migrate.cells.layers import Prefix, Taps, dense, embedding, layer_norm, padding_bias
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
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings, and the sum before the norm, each ``(batch, seq, width)``.

        Args:
            input_ids: ``(batch, seq)``.
            token_type_ids: ``(batch, seq)``; zeros if None.
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
        if token_type_ids is None:
            token_type_ids = ops.zeros_like(position_ids)  # (1, seq)
        words = words + self.token_type_embeddings(token_type_ids)
        total = words + self.position_embeddings(position_ids)  # (batch, seq, width)
        return self.dropout(self.LayerNorm(total)), total


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
        return tanh(projected), projected


class BertModel(PretrainedModel):
    """The encoder without a head.

    Args:
        config: As for :class:`PretrainedModel`.
        add_pooling_layer: Whether there is a pooler; some heads have none.
    """

    architecture = "bert"
    head = "none"
    outputs: tuple[str, ...] = ("last_hidden_state", "pooler_output")
    embeddings_class: ClassVar[type[nn.Cell]] = BertEmbeddings

    def __init__(self, config: Any, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = self.embeddings_class(self.config)
        layers = [BertLayer(self.config) for _ in range(self.config.num_hidden_layers)]
        self.encoder = Encoder(layers)
        self.pooler = BertPooler(self.config) if add_pooling_layer else None
        if not add_pooling_layer:
            self.outputs = ("last_hidden_state",)

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

        Args:
            input_ids: ``(batch, seq)``.
            attention_mask: ``(batch, seq)``, 0 for padding.
            token_type_ids: ``(batch, seq)``, the segment of each token; zeros if absent.
            position_ids: ``(batch or 1, seq)``; 0, 1, 2 … if absent.
            output_hidden_states: Whether to return the embeddings and every layer's output.
            output_taps: Whether to return the taps.
            inputs_embeds: ``(batch, seq, width)``, in place of the word embeddings of
                ``input_ids``; whatever else an embedding gets is added to it.
            prefix: For each layer keys and values, each ``(batch or 1, heads, n, head_dim)``, that
                every token sees before those of the sequence. They are never masked, and positions
                count as if they were not there.

        Returns:
            ``last_hidden_state`` (batch, seq, width); with a pooler ``pooler_output`` (batch,
            width); then ``hidden_states`` and ``taps`` if asked for.
        """
        hidden, total = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        bias = None if attention_mask is None else padding_bias(attention_mask, hidden.dtype)
        hidden_states, inner = self.encoder(hidden, bias, output_taps, prefix)
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
