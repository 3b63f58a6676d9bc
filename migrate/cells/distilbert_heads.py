"""The heads that stand on DistilBERT."""

from __future__ import annotations

from typing import Any

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

from mindport.migrate.cells.activations import ACTIVATIONS
from mindport.migrate.cells.distilbert import EPS, DistilBertModel, DistilBertNetwork
from mindport.migrate.cells.encoder_heads import (
    EncoderForMaskedLM,
    EncoderForQuestionAnswering,
    EncoderForSequenceClassification,
    EncoderForTokenClassification,
)
from mindport.migrate.cells.layers import Taps, dense, layer_norm, project


class TiedProjector(nn.Cell):
    """The decoder's bias alone: its matrix is the word embeddings.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.bias = Parameter(initializer("zeros", (config.vocab_size,)), name="bias")

    def construct(self, hidden: Tensor, words: Tensor) -> Tensor:
        """Return the scores ``(batch, seq, vocab)``.

        Args:
            hidden: ``(batch, seq, width)``.
            words: ``(vocab, width)``, the word embeddings.
        """
        return project(hidden, words) + self.bias


class DistilBertForMaskedLM(DistilBertNetwork, EncoderForMaskedLM):
    """DistilBERT that fills in masked words."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        self.distilbert = DistilBertModel(config)
        self.vocab_transform = dense(config.dim, config.dim, config.initializer_range)
        self.activation = ACTIVATIONS[config.activation]()
        self.vocab_layer_norm = layer_norm(config.dim, EPS)
        self.tied = config.tie_word_embeddings
        if self.tied:
            self.vocab_projector = TiedProjector(config)
        else:
            self.vocab_projector = dense(config.dim, config.vocab_size, config.initializer_range)

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Run the body."""
        outputs: tuple[Any, ...] = self.distilbert(*given)
        return outputs

    def predict(self, hidden: Tensor) -> tuple[Tensor, Taps]:
        """Score the words."""
        projected = self.vocab_transform(hidden)  # (batch, seq, width)
        activation = self.activation(projected)
        norm = self.vocab_layer_norm(activation)
        taps = (projected, activation, norm)
        if self.tied:
            words = self.distilbert.embeddings.word_embeddings.embedding_table
            return self.vocab_projector(norm, words), taps
        return self.vocab_projector(norm), taps


class DistilBertForSequenceClassification(DistilBertNetwork, EncoderForSequenceClassification):
    """DistilBERT that classifies a sequence by its first token."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config, std = self.config, self.config.initializer_range
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = dense(config.dim, config.dim, std)
        self.classifier = dense(config.dim, config.num_labels, std)
        self.dropout = nn.Dropout(p=config.seq_classif_dropout)

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Run the body."""
        outputs: tuple[Any, ...] = self.distilbert(*given)
        return outputs

    def classify(self, first: Tensor) -> tuple[Tensor, Taps]:
        """Classify the first token."""
        projected = self.pre_classifier(first)  # (batch, width)
        activation = ops.relu(projected)
        return self.classifier(self.dropout(activation)), (projected, activation)


class DistilBertForTokenClassification(DistilBertNetwork, EncoderForTokenClassification):
    """DistilBERT that classifies every token."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        self.distilbert = DistilBertModel(config)
        self.dropout = nn.Dropout(p=config.dropout)
        self.classifier = dense(config.dim, config.num_labels, config.initializer_range)

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Run the body."""
        outputs: tuple[Any, ...] = self.distilbert(*given)
        return outputs

    def classify(self, hidden: Tensor) -> Tensor:
        """Classify the tokens."""
        return self.classifier(self.dropout(hidden))


class DistilBertForQuestionAnswering(DistilBertNetwork, EncoderForQuestionAnswering):
    """DistilBERT that finds where in a text the answer begins and ends."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        self.distilbert = DistilBertModel(config)
        self.dropout = nn.Dropout(p=config.qa_dropout)
        self.qa_outputs = dense(config.dim, config.num_labels, config.initializer_range)

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Run the body."""
        outputs: tuple[Any, ...] = self.distilbert(*given)
        return outputs

    def locate(self, hidden: Tensor) -> Tensor:
        """Score the places."""
        return self.qa_outputs(self.dropout(hidden))
