"""The classifiers that stand on BERT: of sequences, of tokens, and of where an answer lies."""

from __future__ import annotations

from typing import Any, ClassVar

from mindspore import Tensor, nn, ops

from mindport.migrate.cells.bert import BertModel
from mindport.migrate.cells.layers import classification_loss, cross_entropy, dense
from mindport.migrate.cells.pretrained import PretrainedModel
from mindport.migrate.errors import ConfigError


def _dropout(config: Any) -> nn.Dropout:
    probability = config.classifier_dropout
    return nn.Dropout(p=config.hidden_dropout_prob if probability is None else probability)


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
        self.dropout = _dropout(config)
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


class BertForTokenClassification(PretrainedModel):
    """BERT that classifies every token."""

    architecture = "bert"
    head = "token-classification"
    label_limits: ClassVar = {"labels": "num_labels"}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = _dropout(config)
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
        """Classify each token; the inputs are those of :class:`BertModel`.

        ``labels`` (batch, seq) are whole numbers, -100 where a token does not count.

        Returns:
            ``loss`` () with labels; ``logits`` (batch, seq, num_labels); then ``hidden_states``
            and ``taps`` if asked for.
        """
        outputs = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            output_hidden_states,
            output_taps,
        )
        logits = self.classifier(self.dropout(outputs[0]))  # (batch, seq, num_labels)
        if labels is None:
            return (logits, *outputs[1:])
        return (cross_entropy(logits, labels), logits, *outputs[1:])


class BertForQuestionAnswering(PretrainedModel):
    """BERT that finds where in a text the answer begins and ends."""

    architecture = "bert"
    head = "question-answering"
    outputs = ("start_logits", "end_logits")
    loss_inputs = ("start_positions", "end_positions")

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        if config.num_labels != 2:
            raise ConfigError(
                f"Question answering needs 2 labels, begin and end; the config has "
                f"{config.num_labels}."
            )
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = dense(config.hidden_size, config.num_labels, config.initializer_range)

    def construct(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_hidden_states: bool = False,
        output_taps: bool = False,
    ) -> tuple[Any, ...]:
        """Score every place as begin and as end; the inputs are those of :class:`BertModel`.

        ``start_positions`` and ``end_positions`` (batch,) say where the answer lies; one beyond
        the sequence does not count. The loss is the mean of both, and needs both.

        Returns:
            ``loss`` () with positions; ``start_logits`` and ``end_logits`` (batch, seq); then
            ``hidden_states`` and ``taps`` if asked for.
        """
        outputs = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            output_hidden_states,
            output_taps,
        )
        logits = self.qa_outputs(outputs[0])  # (batch, seq, 2)
        start, end = logits[..., 0], logits[..., 1]  # (batch, seq)
        if start_positions is None or end_positions is None:
            return (start, end, *outputs[1:])
        seq = input_ids.shape[1]
        first = cross_entropy(start, ops.clamp(start_positions, 0, seq), ignore_index=seq)
        last = cross_entropy(end, ops.clamp(end_positions, 0, seq), ignore_index=seq)
        return ((first + last) / 2, start, end, *outputs[1:])
