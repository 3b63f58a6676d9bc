"""Generate text: greedily, or by sampling, with or without a cache of keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, ops

from mindport.migrate.errors import MindportError

CACHE_STEP = 64  # capacities are multiples of this, so that graphs are compiled once for many


class Generator:
    """Gives a causal language model :meth:`init_cache` and :meth:`generate`."""

    config: Any

    def init_cache(
        self, batch: int, capacity: int, dtype: mindspore.dtype.Type | None = None
    ) -> tuple[tuple[Tensor, Tensor], ...]:
        """Return an empty cache: per layer keys and values, ``(batch, heads, capacity, head_dim)``.

        Its shapes never change, so that in graph mode one graph serves every step. Row ``r`` holds
        what was computed for the token at place ``r`` of the sequence.

        Args:
            batch: How many sequences.
            capacity: How many tokens each may have, prompt included.
            dtype: That of the parameters if None.
        """
        config = self.config
        dtype = dtype or next(iter(self.get_parameters())).dtype  # type: ignore[attr-defined]
        shape = (batch, config.n_head, capacity, config.n_embd // config.n_head)
        return tuple(
            (ops.zeros(shape, dtype), ops.zeros(shape, dtype)) for _ in range(config.n_layer)
        )

    def generate(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        max_new_tokens: int = 20,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
        eos_token_id: int | Sequence[int] | None = None,
        pad_token_id: int | None = None,
        use_cache: bool = True,
    ) -> np.ndarray:
        """Continue every sequence of a batch.

        Args:
            input_ids: ``(batch, seq)``; shorter prompts are padded on the left.
            attention_mask: ``(batch, seq)``, 0 for padding; all ones if None.
            max_new_tokens: How many tokens to add at most.
            do_sample: Whether to draw tokens; if not, the likeliest one is taken.
            temperature: What the logits are divided by before drawing.
            top_k: Draw from this many likeliest tokens only; 0 for all.
            top_p: Draw from the fewest tokens whose probabilities add up to this; 1 for all.
            seed: Makes the draw repeatable.
            eos_token_id: Ends a sequence; the config's if None.
            pad_token_id: Follows the end of a sequence in a batch that goes on; the config's, or
                else the first ``eos_token_id``, if None.
            use_cache: Whether to compute each token once; without, every step reads the whole
                sequence again, and in graph mode compiles for its length.

        Returns:
            ``(batch, seq + new)`` of int64: the prompts and what was added.

        Raises:
            MindportError: If the sequence would outgrow the positions, or an argument makes no
                sense.
        """
        ids = _array(input_ids)
        mask = np.ones_like(ids) if attention_mask is None else _array(attention_mask)
        _check(ids, mask, max_new_tokens, temperature, top_k, top_p)
        limit = self.config.n_positions
        if ids.shape[1] + max_new_tokens - 1 > limit:  # the last token is not read again
            raise MindportError(
                f"{ids.shape[1]} tokens and {max_new_tokens} new ones do not fit into "
                f"{limit} positions.",
                "Shorten the prompt or lower max_new_tokens.",
            )
        ends = self.config.eos_token_id if eos_token_id is None else eos_token_id
        ends = [] if ends is None else np.atleast_1d(ends).tolist()
        pad = self.config.pad_token_id if pad_token_id is None else pad_token_id
        pad = (ends[0] if ends else 0) if pad is None else pad

        random = np.random.default_rng(seed)
        state = _Sequences(self, ids, mask, max_new_tokens, use_cache)
        finished = np.zeros(len(ids), bool)
        for _ in range(max_new_tokens):
            logits = state.next_logits()  # (batch, vocab)
            if do_sample:
                tokens = sample(logits, random, temperature, top_k, top_p)
            else:
                tokens = logits.argmax(-1)
            tokens = np.where(finished, pad, tokens)  # (batch,)
            state.append(tokens)
            finished |= np.isin(tokens, ends)
            if finished.all():
                break
        return state.ids


class _Sequences:
    """A batch that grows: its ids, its mask, and the cache of what was computed.

    Args:
        model: The network.
        ids: ``(batch, seq)``.
        mask: ``(batch, seq)``, 0 for padding.
        max_new_tokens: How far it will grow.
        use_cache: Whether to keep keys and values.
    """

    def __init__(
        self, model: Any, ids: np.ndarray, mask: np.ndarray, max_new_tokens: int, use_cache: bool
    ) -> None:
        self.model = model
        self.ids = ids.astype(np.int64)
        self.mask = mask.astype(np.int64)
        self.read = 0  # how many tokens the cache holds
        self.cache = None
        if use_cache:
            room = -(-(ids.shape[1] + max_new_tokens - 1) // CACHE_STEP) * CACHE_STEP
            self.capacity = min(room, model.config.n_positions)
            self.cache = model.init_cache(len(ids), self.capacity)

    def next_logits(self) -> np.ndarray:
        """Return what the model says of the next token, ``(batch, vocab)`` in float64."""
        # Positions count real tokens only; padding gets 0, which no real token ever sees.
        positions = np.where(self.mask != 0, self.mask.cumsum(-1) - 1, 0)  # (batch, seq)
        if self.cache is None:
            output = self.model(self.ids, self.mask, position_ids=positions, logits_to_keep=1)
        else:
            # Rows that are still empty lie in the future, which the causal mask hides.
            mask = np.ones((len(self.ids), self.capacity), np.int64)
            mask[:, : self.mask.shape[1]] = self.mask
            output = self.model(
                self.ids[:, self.read :],
                mask,
                position_ids=positions[:, self.read :],
                past_key_values=self.cache,
                cache_position=self.read,
                logits_to_keep=1,
            )
            self.cache = output.past_key_values
            self.read = self.ids.shape[1]
        logits: np.ndarray = output.logits.astype(mindspore.float32).asnumpy()[:, -1]
        return logits.astype(np.float64)

    def append(self, tokens: np.ndarray) -> None:
        """Add one token ``(batch,)`` to each sequence."""
        self.ids = np.concatenate([self.ids, tokens[:, None]], axis=1)
        self.mask = np.concatenate([self.mask, np.ones_like(tokens[:, None])], axis=1)


def sample(
    logits: np.ndarray,
    random: np.random.Generator,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> np.ndarray:
    """Draw one token per row: first the temperature, then ``top_k``, then ``top_p``.

    Args:
        logits: ``(batch, vocab)``.
        random: Where the draws come from.
        temperature: What the logits are divided by.
        top_k: How many of the likeliest tokens stay; 0 for all.
        top_p: The fewest likeliest tokens whose probabilities add up to this stay; 1 for all.

    Returns:
        ``(batch,)`` of token ids.
    """
    probabilities = filtered_probabilities(logits, temperature, top_k, top_p)
    edges = probabilities.cumsum(-1)  # (batch, vocab)
    draws = random.random((len(logits), 1)) * edges[:, -1:]
    # The first token whose edge lies beyond the draw.
    tokens: np.ndarray = (edges <= draws).sum(-1)
    return tokens


def filtered_probabilities(
    logits: np.ndarray, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> np.ndarray:
    """Return the probabilities that :func:`sample` draws from, ``(batch, vocab)`` in float64."""
    scores = logits.astype(np.float64) / temperature
    if 0 < top_k < scores.shape[-1]:
        smallest = np.sort(scores, axis=-1)[:, -top_k, None]  # (batch, 1), the k-th largest
        scores = np.where(scores < smallest, -np.inf, scores)
    probabilities: np.ndarray = np.exp(scores - scores.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    if top_p < 1:
        order = np.argsort(-probabilities, axis=-1, kind="stable")  # likeliest first
        ranked = np.take_along_axis(probabilities, order, -1)
        before = ranked.cumsum(-1) - ranked  # what the likelier ones add up to
        ranked = np.where(before < top_p, ranked, 0.0)
        np.put_along_axis(probabilities, order, ranked, -1)
        probabilities /= probabilities.sum(-1, keepdims=True)
    return probabilities


def _array(values: Any) -> np.ndarray:
    return values.asnumpy() if isinstance(values, Tensor) else np.asarray(values)


def _check(
    ids: np.ndarray,
    mask: np.ndarray,
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
) -> None:
    """Check the arguments of :meth:`Generator.generate`.

    Raises:
        MindportError: If one makes no sense.
    """
    if ids.ndim != 2 or ids.size == 0:
        raise MindportError(f"input_ids has shape {ids.shape}, not (batch, seq).")
    if mask.shape != ids.shape:
        raise MindportError(f"attention_mask has shape {mask.shape}, not {ids.shape}.")
    if not (mask[:, -1] != 0).all():
        raise MindportError(
            "A prompt ends in padding, and its continuation would follow the padding.",
            "Pad prompts on the left.",
        )
    if max_new_tokens < 1:
        raise MindportError(f"max_new_tokens is {max_new_tokens}, not a positive number.")
    if temperature <= 0 or top_k < 0 or not 0 < top_p <= 1:
        raise MindportError(
            f"Sampling needs temperature > 0, top_k >= 0 and 0 < top_p <= 1, not {temperature}, "
            f"{top_k} and {top_p}."
        )
