"""GPT-2: the decoder, and the heads that stand on it.

Parameter and module names are those of ``transformers`` (``models/gpt2/modeling_gpt2.py``), in
MindSpore's spelling: ``transformer.h.0.ln_1.gamma``, ``transformer.wte.embedding_table``. The
matrices are stored ``(out, in)``; torch's GPT-2 stores ``(in, out)``.
"""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, nn, ops

from mindport.migrate.cells.activations import ACTIVATIONS
from mindport.migrate.cells.layers import (
    Attention,
    Prefix,
    Taps,
    causal_bias,
    dense,
    embedding,
    layer_norm,
    merge_heads,
    prepend_prefix,
    show_prefix,
    split_heads,
    write_rows,
)
from mindport.migrate.cells.pretrained import PretrainedModel

Cache = tuple[tuple[Tensor, Tensor], ...]  # per layer, keys and values


class GPT2Attention(nn.Cell):
    """Causal self-attention.

    Args:
        config: The resolved config.
        layer: Number of the block, from 0.
    """

    def __init__(self, config: Any, layer: int) -> None:
        super().__init__()
        width, std = config.n_embd, config.initializer_range
        scaling = (width // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            scaling /= layer + 1
        self.width = width
        self.heads = config.n_head
        self.c_attn = dense(width, 3 * width, std)
        self.c_proj = dense(width, width, std / (2 * config.n_layer) ** 0.5)
        self.attention = Attention(scaling, config.attn_pdrop)
        self.resid_dropout = nn.Dropout(p=config.resid_pdrop)

    def construct(
        self,
        hidden: Tensor,
        bias: Tensor,
        past: tuple[Tensor, Tensor] | None = None,
        source: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Taps]:
        """Attend to what the bias allows.

        Args:
            hidden: ``(batch, seq, width)``.
            bias: ``(batch or 1, 1, seq, key)``, added to the scores.
            past: Cached keys and values, each ``(batch, heads, capacity, head_dim)``; without
                ``source`` a prefix, each ``(batch or 1, heads, n, head_dim)``.
            source: ``(capacity,)``, see :func:`mindport.migrate.cells.layers.write_rows`.

        Returns:
            The output ``(batch, seq, width)``; the keys and the values ``(batch, heads, key,
            head_dim)``, where ``key`` is ``capacity`` with a cache, ``n + seq`` with a prefix and
            ``seq`` without; the taps from ``query`` to ``context``.
        """
        fused = self.c_attn(hidden)  # (batch, seq, 3 * width)
        queries = split_heads(fused, self.heads, 0, 3)  # (batch, heads, seq, head_dim)
        keys = split_heads(fused, self.heads, 1, 3)
        values = split_heads(fused, self.heads, 2, 3)
        if past is not None and source is not None:
            keys = write_rows(past[0], keys, source)  # (batch, heads, capacity, head_dim)
            values = write_rows(past[1], values, source)
        elif past is not None:
            keys = prepend_prefix(past[0], keys)  # (batch, heads, n + seq, head_dim)
            values = prepend_prefix(past[1], values)
        mixed, scores, weights = self.attention(queries, keys, values, bias)
        context = merge_heads(mixed)  # (batch, seq, width)
        # Each (batch, seq, width); views, which cost nothing where nobody reads them.
        query, key, value = ops.split(fused, self.width, -1)
        taps = (query, key, value, scores, weights, context)
        return self.resid_dropout(self.c_proj(context)), (keys, values), taps


class GPT2MLP(nn.Cell):
    """The feed-forward half of a block.

    Args:
        config: The resolved config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        std = config.initializer_range
        self.c_fc = dense(config.n_embd, config.n_inner, std)
        self.act = ACTIVATIONS[config.activation_function]()
        self.c_proj = dense(config.n_inner, config.n_embd, std / (2 * config.n_layer) ** 0.5)
        self.dropout = nn.Dropout(p=config.resid_pdrop)

    def construct(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``(batch, seq, width)`` to the same shape.

        Args:
            hidden: ``(batch, seq, width)``.

        Returns:
            The output ``(batch, seq, width)``; before and after the activation, each ``(batch,
            seq, n_inner)``.
        """
        up = self.c_fc(hidden)  # (batch, seq, n_inner)
        activation = self.act(up)
        return self.dropout(self.c_proj(activation)), up, activation


class GPT2Block(nn.Cell):
    """Norm, attention, residual; norm, feed-forward, residual.

    Args:
        config: The resolved config.
        layer: Number of the block, from 0.
    """

    def __init__(self, config: Any, layer: int) -> None:
        super().__init__()
        self.ln_1 = layer_norm(config.n_embd, config.layer_norm_epsilon)
        self.attn = GPT2Attention(config, layer)
        self.ln_2 = layer_norm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config)

    def construct(
        self,
        hidden: Tensor,
        bias: Tensor,
        past: tuple[Tensor, Tensor] | None = None,
        source: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Taps]:
        """Run the block; the arguments are those of :class:`GPT2Attention`.

        Returns:
            The output ``(batch, seq, width)``; the keys and values; the block's taps.
        """
        norm_1 = self.ln_1(hidden)  # (batch, seq, width)
        attention, present, inner = self.attn(norm_1, bias, past, source)
        residual = hidden + attention  # (batch, seq, width)
        norm_2 = self.ln_2(residual)
        mlp, up, activation = self.mlp(norm_2)
        hidden = residual + mlp
        taps = (norm_1, *inner, attention, residual, norm_2, up, activation, mlp, hidden)
        return hidden, present, taps


class GPT2Model(PretrainedModel):
    """The decoder without a head."""

    architecture = "gpt2"
    head = "none"
    outputs = ("last_hidden_state",)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = self.config
        std = config.initializer_range
        self.wte = embedding(config.vocab_size, config.n_embd, std)
        self.wpe = embedding(config.n_positions, config.n_embd, std)
        self.drop = nn.Dropout(p=config.embd_pdrop)
        self.h = nn.CellList([GPT2Block(config, layer) for layer in range(config.n_layer)])
        self.ln_f = layer_norm(config.n_embd, config.layer_norm_epsilon)
        self.rows = Tensor(np.arange(config.n_positions), mindspore.int32)  # 0, 1, 2 …

    def construct(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        cache_position: Tensor | None = None,
        output_hidden_states: bool = False,
        output_taps: bool = False,
        inputs_embeds: Tensor | None = None,
        prefix: tuple[Prefix, ...] | None = None,
    ) -> tuple[Any, ...]:
        """Run the decoder.

        Args:
            input_ids: ``(batch, seq)``.
            attention_mask: ``(batch, seq)``, or ``(batch, capacity)`` with a cache; 0 for padding.
            token_type_ids: ``(batch, seq)``, token ids whose embeddings are added.
            position_ids: ``(batch or 1, seq)``; counted from the cache position if absent.
            past_key_values: A cache as :meth:`GPT2LMHeadModel.init_cache` makes it.
            cache_position: ``()``, the row of the cache that the first token goes to.
            output_hidden_states: Whether to return the input and output of every block.
            output_taps: Whether to return the taps.
            inputs_embeds: ``(batch, seq, width)``, in place of the embeddings of ``input_ids``;
                those of positions and types are added to it.
            prefix: For each block keys and values, each ``(batch or 1, heads, n, head_dim)``, that
                every token sees before those of the sequence; not with a cache. They are never
                masked, and positions count as if they were not there.

        Returns:
            ``last_hidden_state`` (batch, seq, width); then ``past_key_values`` if given,
            ``hidden_states`` and ``taps`` if asked for.
        """
        if inputs_embeds is None:
            words = self.wte(input_ids)  # (batch, seq, width)
        else:
            words = ops.cast(inputs_embeds, self.wte.embedding_table.dtype)
        query_rows = key_rows = self.rows[: words.shape[1]]  # (seq,)
        source = None
        if past_key_values is not None:
            key_rows = self.rows[: past_key_values[0][0].shape[2]]  # (capacity,)
            query_rows = query_rows + cache_position
            source = key_rows - cache_position
        if position_ids is None:
            position_ids = query_rows[None]  # (1, seq)

        hidden = words + self.wpe(position_ids)  # (batch, seq, width)
        if token_type_ids is not None:
            hidden = hidden + self.wte(token_type_ids)
        hidden = self.drop(hidden)
        bias = causal_bias(query_rows, key_rows, attention_mask, hidden.dtype)
        before = past_key_values
        if prefix is not None:
            before = prefix
            bias = show_prefix(bias, prefix[0][0])

        hidden_states: tuple[Tensor, ...] = (hidden,)
        taps: Taps = (hidden,)
        cache: Cache = ()
        for layer, block in enumerate(self.h):
            past = None if before is None else before[layer]
            hidden, present, inner = block(hidden, bias, past, source)
            hidden_states = (*hidden_states, hidden)
            if output_taps:  # if not, a block's inner values are let go with it
                taps = (*taps, *inner)
            cache = (*cache, present)
        hidden = self.ln_f(hidden)

        outputs: tuple[Any, ...] = (hidden,)
        if past_key_values is not None:
            outputs = (*outputs, cache)
        if output_hidden_states:
            outputs = (*outputs, (*hidden_states[:-1], hidden))  # the last one after the norm
        if output_taps:
            outputs = (*outputs, (*taps, hidden))
        return outputs
