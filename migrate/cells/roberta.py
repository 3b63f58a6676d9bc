"""RoBERTa: BERT's encoder with positions that are counted behind padding's, and its heads.

Parameter and module names are those of ``transformers`` (``models/roberta/modeling_roberta.py``),
in MindSpore's spelling.
"""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

from mindport.migrate.cells.activations import ACTIVATIONS, tanh
from mindport.migrate.cells.bert import BertModel
from mindport.migrate.cells.encoder_heads import (
    EncoderForMaskedLM,
    EncoderForQuestionAnswering,
    EncoderForSequenceClassification,
    EncoderForTokenClassification,
    classifier_dropout,
)
from mindport.migrate.cells.encoder_layers import keep_padding
from mindport.migrate.cells.layers import Taps, dense, embedding, layer_norm, project


class RobertaEmbeddings(nn.Cell):
    """The sum of word, position and segment embeddings, normed.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, std, pad = config.hidden_size, config.initializer_range, config.pad_token_id
        self.pad_token_id = pad
        self.word_embeddings = embedding(config.vocab_size, width, std, pad)
        self.position_embeddings = embedding(config.max_position_embeddings, width, std, pad)
        self.token_type_embeddings = embedding(config.type_vocab_size, width, std)
        self.LayerNorm = layer_norm(width, config.layer_norm_eps)
        self.dropout = nn.Dropout(p=config.hidden_dropout_prob)
        places = np.arange(pad + 1, config.max_position_embeddings)
        self.places = Tensor(places, mindspore.int32)

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
            position_ids: ``(batch or 1, seq)``; if None, counted from ``pad_token_id + 1`` on over
                the tokens of ``input_ids`` that are not padding, which stands at its own id.
            inputs_embeds: ``(batch, seq, width)``, in place of the words of ``input_ids``.
        """
        if inputs_embeds is None:
            words = self.word_embeddings(input_ids)  # (batch, seq, width)
            if self.training:  # the embedding of padding is not learnt
                words = keep_padding(words, input_ids, self.pad_token_id)
        else:
            words = ops.cast(inputs_embeds, self.word_embeddings.embedding_table.dtype)
        if position_ids is None:
            if inputs_embeds is None:
                counted = ops.cast(ops.not_equal(input_ids, self.pad_token_id), mindspore.int32)
                position_ids = ops.cumsum(counted, 1) * counted + self.pad_token_id
            else:  # what is padding is not known
                position_ids = self.places[: words.shape[1]][None]  # (1, seq)
        if token_type_ids is None:
            token_type_ids = ops.zeros_like(position_ids)
        words = words + self.token_type_embeddings(token_type_ids)
        places = self.position_embeddings(position_ids)
        if self.training:
            places = keep_padding(places, position_ids, self.pad_token_id)
        total = words + places  # (batch, seq, width)
        return self.dropout(self.LayerNorm(total)), total


class RobertaModel(BertModel):
    """The encoder without a head; the arguments are those of :class:`BertModel`."""

    architecture = "roberta"
    embeddings_class = RobertaEmbeddings


class RobertaLMHead(nn.Cell):
    """Scores every word at every place.

    Args:
        config: The resolved config. If the embeddings are tied there is no matrix here; if not,
            the decoder brings a bias of its own, and ``bias`` is stored but, as upstream, unused.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        width, std = config.hidden_size, config.initializer_range
        self.dense = dense(width, width, std)
        self.activation = ACTIVATIONS["gelu"]()  # whatever hidden_act says
        self.layer_norm = layer_norm(width, config.layer_norm_eps)
        self.bias = Parameter(initializer("zeros", (config.vocab_size,)), name="bias")
        self.tied = config.tie_word_embeddings
        if not self.tied:
            self.decoder = dense(width, config.vocab_size, std)

    def construct(self, hidden: Tensor, words: Tensor) -> tuple[Tensor, Taps]:
        """Return the scores ``(batch, seq, vocab)``, and the taps before them.

        Args:
            hidden: ``(batch, seq, width)``.
            words: ``(vocab, width)``, the word embeddings, used if tied.
        """
        projected = self.dense(hidden)  # (batch, seq, width)
        activation = self.activation(projected)
        norm = self.layer_norm(activation)
        taps = (projected, activation, norm)
        if self.tied:
            return project(norm, words) + self.bias, taps
        return self.decoder(norm), taps


class RobertaClassificationHead(nn.Cell):
    """Classifies a sequence by its first token.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = dense(config.hidden_size, config.hidden_size, config.initializer_range)
        self.dropout = classifier_dropout(config)
        self.out_proj = dense(config.hidden_size, config.num_labels, config.initializer_range)

    def construct(self, first: Tensor) -> tuple[Tensor, Taps]:
        """Return the logits ``(batch, num_labels)`` of ``(batch, width)``, and the taps."""
        projected = self.dense(self.dropout(first))  # (batch, width)
        activation = tanh(projected)
        return self.out_proj(self.dropout(activation)), (projected, activation)


class RobertaForMaskedLM(EncoderForMaskedLM):
    """RoBERTa that fills in masked words."""

    architecture = "roberta"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(self.config, add_pooling_layer=False)
        self.lm_head = RobertaLMHead(self.config)

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Run the body."""
        outputs: tuple[Any, ...] = self.roberta(*given)
        return outputs

    def predict(self, hidden: Tensor) -> tuple[Tensor, Taps]:
        """Score the words."""
        words = self.roberta.embeddings.word_embeddings.embedding_table
        scored: tuple[Tensor, Taps] = self.lm_head(hidden, words)
        return scored


class RobertaForSequenceClassification(EncoderForSequenceClassification):
    """RoBERTa that classifies a sequence by its first token."""

    architecture = "roberta"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(self.config, add_pooling_layer=False)
        self.classifier = RobertaClassificationHead(self.config)

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Run the body."""
        outputs: tuple[Any, ...] = self.roberta(*given)
        return outputs

    def classify(self, first: Tensor) -> tuple[Tensor, Taps]:
        """Classify the first token."""
        classified: tuple[Tensor, Taps] = self.classifier(first)
        return classified


class RobertaForTokenClassification(EncoderForTokenClassification):
    """RoBERTa that classifies every token."""

    architecture = "roberta"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.dropout = classifier_dropout(config)
        self.classifier = dense(config.hidden_size, config.num_labels, config.initializer_range)

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Run the body."""
        outputs: tuple[Any, ...] = self.roberta(*given)
        return outputs

    def classify(self, hidden: Tensor) -> Tensor:
        """Classify the tokens."""
        return self.classifier(self.dropout(hidden))


class RobertaForQuestionAnswering(EncoderForQuestionAnswering):
    """RoBERTa that finds where in a text the answer begins and ends."""

    architecture = "roberta"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.qa_outputs = dense(config.hidden_size, config.num_labels, config.initializer_range)

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Run the body."""
        outputs: tuple[Any, ...] = self.roberta(*given)
        return outputs

    def locate(self, hidden: Tensor) -> Tensor:
        """Score the places."""
        return self.qa_outputs(hidden)
