"""The classifiers that stand on BERT: of sequences, of tokens, and of where an answer lies."""

from __future__ import annotations

from typing import Any, ClassVar

from mindspore import Tensor

from mindport.migrate.cells.bert import BertModel
from mindport.migrate.cells.encoder_heads import (
    EncoderForQuestionAnswering,
    EncoderForTokenClassification,
    classifier_dropout,
)
from mindport.migrate.cells.layers import classification_loss, dense
from mindport.migrate.cells.pretrained import PretrainedModel


class BertForSequenceClassification(PretrainedModel):
    """BERT that classifies a sequence by its pooled first token."""

    architecture = "bert"
    head = "sequence-classification"
    label_limits: ClassVar = {"labels": "num_labels"}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        self.num_labels = config.num_labels
        self.problem_type = config.problem_type
        self.bert = BertModel(config)
        self.dropout = classifier_dropout(config)
        self.classifier = dense(config.hidden_size, config.num_labels, config.initializer_range)

    def construct(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_taps: bool = False,
    ) -> tuple[Any, ...]:
        """Classify each sequence; the inputs are those of :class:`BertModel`.

        ``labels`` are as for :func:`mindport.migrate.cells.layers.classification_loss`.

        Returns:
            ``loss`` () with labels; ``logits`` (batch, num_labels); then ``hidden_states`` and
            ``taps`` if asked for.
        """
        outputs = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            output_hidden_states,
            output_taps,
        )
        logits = self.classifier(self.dropout(outputs[1]))  # (batch, num_labels)
        if labels is None:
            return (logits, *outputs[2:])
        loss = classification_loss(logits, labels, self.num_labels, self.problem_type)
        return (loss, logits, *outputs[2:])


class BertForTokenClassification(EncoderForTokenClassification):
    """BERT that classifies every token."""

    architecture = "bert"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = classifier_dropout(config)
        self.classifier = dense(config.hidden_size, config.num_labels, config.initializer_range)

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Run the body."""
        outputs: tuple[Any, ...] = self.bert(*given)
        return outputs

    def classify(self, hidden: Tensor) -> Tensor:
        """Classify the tokens."""
        return self.classifier(self.dropout(hidden))


class BertForQuestionAnswering(EncoderForQuestionAnswering):
    """BERT that finds where in a text the answer begins and ends."""

    architecture = "bert"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = dense(config.hidden_size, config.num_labels, config.initializer_range)

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Run the body."""
        outputs: tuple[Any, ...] = self.bert(*given)
        return outputs

    def locate(self, hidden: Tensor) -> Tensor:
        """Score the places."""
        return self.qa_outputs(hidden)
