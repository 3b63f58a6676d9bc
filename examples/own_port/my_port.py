"""A GPT-2 that somebody wrote by hand in MindSpore, with names of its own.

``validate gpt2 --candidate my_port.py:build`` compares it, tap by tap, with ``transformers``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore
from mindspore import Tensor, nn, ops

# Where each of our parameters is in what `migrate gpt2` writes. {i} is the block.
NAMES = {
    "tokens.embedding_table": "transformer.wte.embedding_table",
    "positions.embedding_table": "transformer.wpe.embedding_table",
    "blocks.{i}.pre_attn.gamma": "transformer.h.{i}.ln_1.gamma",
    "blocks.{i}.pre_attn.beta": "transformer.h.{i}.ln_1.beta",
    "blocks.{i}.attn.qkv.weight": "transformer.h.{i}.attn.c_attn.weight",
    "blocks.{i}.attn.qkv.bias": "transformer.h.{i}.attn.c_attn.bias",
    "blocks.{i}.attn.out.weight": "transformer.h.{i}.attn.c_proj.weight",
    "blocks.{i}.attn.out.bias": "transformer.h.{i}.attn.c_proj.bias",
    "blocks.{i}.pre_mlp.gamma": "transformer.h.{i}.ln_2.gamma",
    "blocks.{i}.pre_mlp.beta": "transformer.h.{i}.ln_2.beta",
    "blocks.{i}.mlp.fc1.weight": "transformer.h.{i}.mlp.c_fc.weight",
    "blocks.{i}.mlp.fc1.bias": "transformer.h.{i}.mlp.c_fc.bias",
    "blocks.{i}.mlp.fc2.weight": "transformer.h.{i}.mlp.c_proj.weight",
    "blocks.{i}.mlp.fc2.bias": "transformer.h.{i}.mlp.c_proj.bias",
    "last_norm.gamma": "transformer.ln_f.gamma",
    "last_norm.beta": "transformer.ln_f.beta",
}


class SelfAttention(nn.Cell):
    """Causal attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.size = width // heads
        self.qkv = nn.Dense(width, 3 * width)
        self.out = nn.Dense(width, width)
        self.softmax = nn.Softmax(axis=-1)

    def construct(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Attend; ``x`` is (batch, seq, width), ``hidden`` says which keys are not to be seen."""
        batch, seq, width = x.shape
        q, k, v = ops.split(self.qkv(x), width, axis=-1)
        q = q.reshape(batch, seq, self.heads, self.size).transpose(0, 2, 1, 3)
        k = k.reshape(batch, seq, self.heads, self.size).transpose(0, 2, 3, 1)
        v = v.reshape(batch, seq, self.heads, self.size).transpose(0, 2, 1, 3)
        scores = ops.matmul(q, k) / self.size**0.5
        weights = self.softmax(ops.masked_fill(scores, hidden, -1e9))
        mixed = ops.matmul(weights, v).transpose(0, 2, 1, 3)
        return self.out(mixed.reshape(batch, seq, width))


class FeedForward(nn.Cell):
    """Two layers with GELU between them."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Dense(width, inner)
        self.gelu = nn.GELU(approximate=True)  # GPT-2's is the tanh approximation
        self.fc2 = nn.Dense(inner, width)

    def construct(self, x: Tensor) -> Tensor:
        """Map (batch, seq, width) to the same shape."""
        return self.fc2(self.gelu(self.fc1(x)))


class Block(nn.Cell):
    """Attention and feed-forward, each after a norm and beside a residual."""

    def __init__(self, width: int, heads: int, inner: int, eps: float) -> None:
        super().__init__()
        self.pre_attn = nn.LayerNorm((width,), epsilon=eps)
        self.attn = SelfAttention(width, heads)
        self.pre_mlp = nn.LayerNorm((width,), epsilon=eps)
        self.mlp = FeedForward(width, inner)

    def construct(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Run the block on (batch, seq, width)."""
        x = x + self.attn(self.pre_attn(x), hidden)
        return x + self.mlp(self.pre_mlp(x))


class MyGPT2(nn.Cell):
    """GPT-2 with its language model head, which is the token table again."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["n_embd"]
        inner = config.get("n_inner") or 4 * width
        eps = config.get("layer_norm_epsilon", 1e-5)
        self.tokens = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["n_positions"], width)
        self.blocks = nn.CellList(
            [Block(width, config["n_head"], inner, eps) for _ in range(config["n_layer"])]
        )
        self.last_norm = nn.LayerNorm((width,), epsilon=eps)

    def construct(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits (batch, seq, vocab)."""
        seq = input_ids.shape[1]
        rows = ops.arange(seq)
        x = self.tokens(input_ids) + self.positions(rows)
        future = (rows[None, :] > rows[:, None])[None, None]
        hidden = ops.logical_or(future, (attention_mask == 0)[:, None, None, :])
        for block in self.blocks:
            x = block(x, hidden)
        return ops.matmul(self.last_norm(x), self.tokens.embedding_table.T)


def load_weights(network: nn.Cell, folder: Path, layers: int) -> None:
    """Set every parameter from the ported checkpoint, under the checkpoint's own names."""
    stored = mindspore.load_checkpoint(str(folder / "model.safetensors"), format="safetensors")
    parameters = dict(network.parameters_and_names())
    for ours, theirs in NAMES.items():
        for i in range(layers) if "{i}" in ours else (0,):
            name = ours.replace("{i}", str(i))
            parameters[name].set_data(stored[theirs.replace("{i}", str(i))].value())


def build(config: dict[str, Any], checkpoint: str) -> nn.Cell:
    """Return the network with its weights: what ``--candidate`` calls."""
    network = MyGPT2(config)
    load_weights(network, Path(checkpoint), config["n_layer"])
    return network
