"""The heads that stand on BERT: masked words, sentence pairs, classifiers, answers."""

from __future__ import annotations

from typing import Any, ClassVar

from mindspore import Parameter, Tensor, nn
from mindspore.common.initializer import initializer

from mindport.migrate.cells.activations import ACTIVATIONS
from mindport.migrate.cells.bert import BertModel
from mindport.migrate.cells.encoder_heads import EncoderForMaskedLM
from mindport.migrate.cells.layers import (
    Prefix,
    Taps,
    cross_entropy,
    dense,
    layer_norm,
    project,
    take_tokens,
)
from mindport.migrate.cells.pretrained import PretrainedModel


class BertPredictionHeadTransform(nn.Cell):
    """What a hidden state goes through before it is compared with the words.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = dense(config.hidden_size, config.hidden_size, config.initializer_range)
        self.activation = ACTIVATIONS[config.hidden_act]()
        self.LayerNorm = layer_norm(config.hidden_size, config.layer_norm_eps)

    def construct(self, hidden: Tensor) -> tuple[Tensor, Taps]:
        """Return the output ``(batch, seq, width)``, and the taps from ``dense`` to ``norm``.

        Args:
            hidden: ``(batch, seq, width)``.
        """
        projected = self.dense(hidden)  # (batch, seq, width)
        activation = self.activation(projected)
        norm = self.LayerNorm(activation)
        return norm, (projected, activation, norm)


class BertLMPredictionHead(nn.Cell):
    """Scores every word at every place.

    Args:
        config: The resolved config. If the embeddings are tied there is no matrix here; if not,
            the decoder brings a bias of its own, and ``bias`` is stored but, as upstream, unused.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.bias = Parameter(initializer("zeros", (config.vocab_size,)), name="bias")
        self.tied = config.tie_word_embeddings
        if not self.tied:
            self.decoder = dense(config.hidden_size, config.vocab_size, config.initializer_range)

    def construct(self, hidden: Tensor, words: Tensor) -> tuple[Tensor, Taps]:
        """Return the scores ``(batch, seq, vocab)``, and the taps of the transform.

        Args:
            hidden: ``(batch, seq, width)``.
            words: ``(vocab, width)``, the word embeddings, used if tied.
        """
        hidden, taps = self.transform(hidden)
        if self.tied:
            return project(hidden, words) + self.bias, taps
        return self.decoder(hidden), taps


class BertHeads(nn.Cell):
    """The heads of pre-training, ``cls`` in the names: either of them, or both.

    Args:
        config: The resolved config.
        predictions: Whether there is the head that scores words.
        seq_relationship: Whether there is the head that scores sentence pairs.
    """

    def __init__(
        self, config: Any, predictions: bool = False, seq_relationship: bool = False
    ) -> None:
        super().__init__()
        if predictions:
            self.predictions = BertLMPredictionHead(config)
        if seq_relationship:
            self.seq_relationship = dense(config.hidden_size, 2, config.initializer_range)


class BertForMaskedLM(EncoderForMaskedLM):
    """BERT that fills in masked words."""

    architecture = "bert"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert = BertModel(self.config, add_pooling_layer=False)
        self.cls = BertHeads(self.config, predictions=True)

    def encode(self, *given: Any) -> tuple[Any, ...]:
        """Run the body."""
        outputs: tuple[Any, ...] = self.bert(*given)
        return outputs

    def predict(self, hidden: Tensor) -> tuple[Tensor, Taps]:
        """Score the words."""
        words = self.bert.embeddings.word_embeddings.embedding_table
        scored: tuple[Tensor, Taps] = self.cls.predictions(hidden, words)
        return scored


class BertForNextSentencePrediction(PretrainedModel):
    """BERT that tells whether the second segment follows the first."""

    architecture = "bert"
    head = "nsp"
    label_limits: ClassVar = {"labels": 2}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert = BertModel(self.config)
        self.cls = BertHeads(self.config, seq_relationship=True)

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
        """Score each pair; the inputs are those of :class:`BertModel`.

        ``labels`` (batch,) are 0 for a continuation and 1 for a random sentence.

        Returns:
            ``loss`` () with labels; ``logits`` (batch, 2); then ``hidden_states`` and ``taps`` if
            asked for.
        """
        outputs = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            output_hidden_states,
            output_taps,
        )
        logits = self.cls.seq_relationship(outputs[1])  # (batch, 2)
        if labels is None:
            return (logits, *outputs[2:])
        return (cross_entropy(logits, labels), logits, *outputs[2:])


class BertForPreTraining(PretrainedModel):
    """BERT with both heads of its pre-training."""

    architecture = "bert"
    head = "pretraining"
    outputs = ("prediction_logits", "seq_relationship_logits")
    loss_inputs = ("labels", "next_sentence_label")
    label_limits: ClassVar = {"labels": "vocab_size", "next_sentence_label": 2}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert = BertModel(self.config)
        self.cls = BertHeads(self.config, predictions=True, seq_relationship=True)

    def construct(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_hidden_states: bool = False,
        output_taps: bool = False,
        logits_at: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        prefix: tuple[Prefix, ...] | None = None,
    ) -> tuple[Any, ...]:
        """Score words and pairs; the inputs are those of :class:`BertModel`.

        ``labels`` (batch, seq) and ``next_sentence_label`` (batch,) are as for the single heads;
        the loss is the sum of theirs, and needs both. With ``logits_at`` (batch, k), and no labels,
        only the words at these places are scored.

        Returns:
            ``loss`` () with labels; ``prediction_logits`` (batch, seq or k, vocab);
            ``seq_relationship_logits`` (batch, 2); then ``hidden_states`` and ``taps`` if asked
            for.
        """
        outputs: tuple[Any, ...] = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            output_hidden_states,
            output_taps,
            inputs_embeds,
            prefix,
        )
        words = self.bert.embeddings.word_embeddings.embedding_table
        scores, taps = self.cls.predictions(take_tokens(outputs[0], logits_at), words)
        if output_taps:  # the body's come last
            outputs = (*outputs[:-1], (*outputs[-1], *taps))
        relation = self.cls.seq_relationship(outputs[1])  # (batch, 2)
        if labels is None or next_sentence_label is None:
            return (scores, relation, *outputs[2:])
        loss = cross_entropy(scores, labels) + cross_entropy(relation, next_sentence_label)
        return (loss, scores, relation, *outputs[2:])
