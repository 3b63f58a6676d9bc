"""The heads that encoders share, whatever the encoder's names.

A network of them says how it encodes and what its own cells make of the hidden states; inputs,
losses and the order of outputs are here. The inputs are those of
:class:`mindport.migrate.cells.bert.BertModel`; an encoder without segments refuses
``token_type_ids``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mindspore import Tensor, nn, ops

from mindport.migrate.cells.layers import (
    Prefix,
    Taps,
    classification_loss,
    cross_entropy,
    take_tokens,
)
from mindport.migrate.cells.pretrained import PretrainedModel
from mindport.migrate.errors import ConfigError


def classifier_dropout(config: Any) -> nn.Dropout:
    """Return the dropout before a classifier: its own, or else that of the hidden states."""
    probability = config.classifier_dropout
    return nn.Dropout(p=config.hidden_dropout_prob if probability is None else probability)


class EncoderForMaskedLM(PretrainedModel):
    """An encoder that fills in masked words."""

    head = "mlm"
    label_limits: ClassVar = {"labels": "vocab_size"}

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Return the outputs of the body for its inputs, in the order of ``construct``."""
        raise NotImplementedError

    def predict(self, hidden: Tensor) -> tuple[Tensor, Taps]:
        """Return the scores ``(batch, seq, vocab)`` of hidden states, and the head's taps."""
        raise NotImplementedError

    def construct(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_taps: bool = False,
        logits_at: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        prefix: tuple[Prefix, ...] | None = None,
    ) -> tuple[Any, ...]:
        """Score every word at every place.

        ``labels`` (batch, seq) are word ids, -100 where there is nothing to predict. With
        ``logits_at`` (batch, k), and no labels, only the words at these places are scored.

        Returns:
            ``loss`` () with labels; ``logits`` (batch, seq or k, vocab); then ``hidden_states`` and
            ``taps`` if asked for.
        """
        outputs = self.encode(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            output_hidden_states,
            output_taps,
            inputs_embeds,
            prefix,
        )
        logits, taps = self.predict(take_tokens(outputs[0], logits_at))
        if output_taps:  # the body's come last
            outputs = (*outputs[:-1], (*outputs[-1], *taps))
        if labels is None:
            return (logits, *outputs[1:])
        return (cross_entropy(logits, labels), logits, *outputs[1:])


class EncoderForSequenceClassification(PretrainedModel):
    """An encoder that classifies a sequence by its first token."""

    head = "sequence-classification"
    label_limits: ClassVar = {"labels": "num_labels"}

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Return the outputs of the body for its inputs, in the order of ``construct``."""
        raise NotImplementedError

    def classify(self, first: Tensor) -> tuple[Tensor, Taps]:
        """Return the logits ``(batch, num_labels)`` of first tokens, and the head's taps."""
        raise NotImplementedError

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
        """Classify each sequence.

        ``labels`` are as for :func:`mindport.migrate.cells.layers.classification_loss`.

        Returns:
            ``loss`` () with labels; ``logits`` (batch, num_labels); then ``hidden_states`` and
            ``taps`` if asked for.
        """
        outputs = self.encode(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            output_hidden_states,
            output_taps,
        )
        logits, taps = self.classify(outputs[0][:, 0])  # (batch, num_labels)
        if output_taps:  # the body's come last
            outputs = (*outputs[:-1], (*outputs[-1], *taps))
        if labels is None:
            return (logits, *outputs[1:])
        config = self.config
        loss = classification_loss(logits, labels, config.num_labels, config.problem_type)
        return (loss, logits, *outputs[1:])


class EncoderForTokenClassification(PretrainedModel):
    """An encoder that classifies every token."""

    head = "token-classification"
    label_limits: ClassVar = {"labels": "num_labels"}

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Return the outputs of the body for its inputs, in the order of ``construct``."""
        raise NotImplementedError

    def classify(self, hidden: Tensor) -> Tensor:
        """Return the logits ``(batch, seq, num_labels)`` of hidden states."""
        raise NotImplementedError

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
        """Classify each token.

        ``labels`` (batch, seq) are whole numbers, -100 where a token does not count.

        Returns:
            ``loss`` () with labels; ``logits`` (batch, seq, num_labels); then ``hidden_states``
            and ``taps`` if asked for.
        """
        outputs = self.encode(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            output_hidden_states,
            output_taps,
        )
        logits = self.classify(outputs[0])  # (batch, seq, num_labels)
        if labels is None:
            return (logits, *outputs[1:])
        return (cross_entropy(logits, labels), logits, *outputs[1:])


class EncoderForQuestionAnswering(PretrainedModel):
    """An encoder that finds where in a text the answer begins and ends."""

    head = "question-answering"
    outputs = ("start_logits", "end_logits")
    loss_inputs = ("start_positions", "end_positions")

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if self.config.num_labels != 2:
            raise ConfigError(
                f"Question answering needs 2 labels, begin and end; the config has "
                f"{self.config.num_labels}."
            )

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Return the outputs of the body for its inputs, in the order of ``construct``."""
        raise NotImplementedError

    def locate(self, hidden: Tensor) -> Tensor:
        """Return the scores ``(batch, seq, 2)`` of hidden states."""
        raise NotImplementedError

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
        """Score every place as begin and as end.

        ``start_positions`` and ``end_positions`` (batch,) say where the answer lies; one beyond
        the sequence does not count. The loss is the mean of both, and needs both.

        Returns:
            ``loss`` () with positions; ``start_logits`` and ``end_logits`` (batch, seq); then
            ``hidden_states`` and ``taps`` if asked for.
        """
        outputs = self.encode(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            output_hidden_states,
            output_taps,
        )
        logits = self.locate(outputs[0])  # (batch, seq, 2)
        start, end = logits[..., 0], logits[..., 1]  # (batch, seq)
        if start_positions is None or end_positions is None:
            return (start, end, *outputs[1:])
        seq = input_ids.shape[1]
        first = cross_entropy(start, ops.clamp(start_positions, 0, seq), ignore_index=seq)
        last = cross_entropy(end, ops.clamp(end_positions, 0, seq), ignore_index=seq)
        return ((first + last) / 2, start, end, *outputs[1:])
