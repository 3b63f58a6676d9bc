"""The heads that stand on GPT-2: a language model and a sequence classifier."""

from __future__ import annotations

from typing import Any, ClassVar

import mindspore
from mindspore import Tensor, ops

from mindport.migrate.cells.generation import Generator
from mindport.migrate.cells.gpt2 import Cache, GPT2Model
from mindport.migrate.cells.layers import (
    Prefix,
    classification_loss,
    cross_entropy,
    dense,
    project,
    take_tokens,
)
from mindport.migrate.cells.pretrained import PretrainedModel
from mindport.migrate.errors import MindportError


class GPT2LMHeadModel(Generator, PretrainedModel):
    """GPT-2 that predicts the next token; its matrix is that of the token embeddings if tied."""

    architecture = "gpt2"
    head = "lm"
    label_limits: ClassVar = {"labels": "vocab_size"}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        self.tied = config.tie_word_embeddings
        self.transformer = GPT2Model(config)
        if not self.tied:
            self.lm_head = dense(
                config.n_embd, config.vocab_size, config.initializer_range, bias=False
            )

    def construct(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        cache_position: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_taps: bool = False,
        logits_to_keep: int = 0,
        logits_at: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        prefix: tuple[Prefix, ...] | None = None,
    ) -> tuple[Any, ...]:
        """Predict the next token at every place.

        Args:
            input_ids: ``(batch, seq)``.
            attention_mask: ``(batch, seq)``, or ``(batch, capacity)`` with a cache; 0 for padding.
            token_type_ids: ``(batch, seq)``, token ids whose embeddings are added.
            position_ids: ``(batch or 1, seq)``; counted from the cache position if absent.
            past_key_values: A cache from :meth:`init_cache` or from the call before.
            cache_position: ``()``, the row of the cache that the first token goes to.
            labels: ``(batch, seq)``, usually ``input_ids`` with -100 where nothing is to be
                learnt; shifted here, so that each place is compared with the token after it.
            output_hidden_states: Whether to return the input and output of every block.
            output_taps: Whether to return the taps.
            logits_to_keep: Return logits for this many last tokens only; 0 for all.
            logits_at: ``(batch, k)``, the places in ``seq`` to return logits for, and no others;
                not with labels or ``logits_to_keep``.
            inputs_embeds: ``(batch, seq, width)`` in place of ``input_ids``, see
                :class:`GPT2Model`.
            prefix: Keys and values for every block, see :class:`GPT2Model`.

        Returns:
            ``loss`` () with labels; ``logits`` (batch, seq or k, vocab); then ``past_key_values``
            if given, ``hidden_states`` and ``taps`` if asked for.
        """
        outputs = self.transformer(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            past_key_values,
            cache_position,
            output_hidden_states,
            output_taps,
            inputs_embeds,
            prefix,
        )
        hidden = take_tokens(outputs[0], logits_at)  # (batch, seq or k, width)
        if logits_to_keep:
            hidden = hidden[:, -logits_to_keep:]
        if self.tied:
            logits = project(hidden, self.transformer.wte.embedding_table)  # (batch, seq, vocab)
        else:
            logits = self.lm_head(hidden)
        if labels is None:
            return (logits, *outputs[1:])
        loss = cross_entropy(logits[:, :-1], labels[:, 1:])
        return (loss, logits, *outputs[1:])


class GPT2ForSequenceClassification(PretrainedModel):
    """GPT-2 that classifies a sequence by the last token that is not padding.

    That token is found by ``pad_token_id``, not by the mask, as ``transformers`` does it; a config
    without one allows only batches of one, whose last token counts.
    """

    architecture = "gpt2"
    head = "sequence-classification"
    label_limits: ClassVar = {"labels": "num_labels"}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        self.num_labels = config.num_labels
        self.problem_type = config.problem_type
        self.pad_token_id = config.pad_token_id
        self.transformer = GPT2Model(config)
        self.score = dense(config.n_embd, config.num_labels, config.initializer_range, bias=False)

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

        Args:
            input_ids: ``(batch, seq)``.
            attention_mask: ``(batch, seq)``, 0 for padding.
            token_type_ids: ``(batch, seq)``, token ids whose embeddings are added.
            position_ids: ``(batch or 1, seq)``; 0, 1, 2 … if absent.
            labels: See :func:`mindport.migrate.cells.layers.classification_loss`.
            output_hidden_states: Whether to return the input and output of every block.
            output_taps: Whether to return the taps.

        Returns:
            ``loss`` () with labels; ``logits`` (batch, num_labels); then ``hidden_states`` and
            ``taps`` if asked for.
        """
        outputs = self.transformer(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            None,
            None,
            output_hidden_states,
            output_taps,
        )
        scores = self.score(outputs[0])  # (batch, seq, num_labels)
        if self.pad_token_id is None:
            logits = scores[:, -1]  # (batch, num_labels)
        else:
            real = ops.cast(ops.not_equal(input_ids, self.pad_token_id), mindspore.int32)
            last = (self.transformer.rows[: input_ids.shape[1]] * real).max(axis=-1)  # (batch,)
            logits = ops.gather(scores, last[:, None], 1, 1)[:, 0]  # (batch, num_labels)
        if labels is None:
            return (logits, *outputs[1:])
        loss = classification_loss(logits, labels, self.num_labels, self.problem_type)
        return (loss, logits, *outputs[1:])

    def check_inputs(self, inputs: Any) -> None:
        """Check shapes and ids, and that the end of each sequence can be found.

        Raises:
            MindportError: If not.
        """
        super().check_inputs(inputs)
        if self.pad_token_id is None and inputs["input_ids"].shape[0] != 1:
            raise MindportError(
                "Without a pad_token_id the last token of each sequence of a batch is unknown.",
                "Give the config a pad_token_id, or pass one sequence at a time.",
            )
