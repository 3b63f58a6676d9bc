"""A GPT-2 whose blocks compute with functions: no cell inside the attention or the feed-forward.

The cells are an attention and a feed-forward that own bare parameters, so most taps are nowhere.
"""

from __future__ import annotations

from pathlib import Path

import mindspore
from mindspore import Parameter, Tensor, nn, ops

STORED = "transformer.h.{}."


def linear(x, weight, bias):
    return ops.matmul(x, weight.T) + bias


def norm(x, gain, shift):
    centred = x - x.mean(-1, keep_dims=True)
    variance = (centred * centred).mean(-1, keep_dims=True)
    return centred * ops.rsqrt(variance + 1e-5) * gain + shift


class Attention(nn.Cell):
    def __init__(self, heads, tensors, stem):
        super().__init__()
        self.heads = heads
        self.wqkv = Parameter(tensors[stem + "attn.c_attn.weight"].value(), name="wqkv")
        self.bqkv = Parameter(tensors[stem + "attn.c_attn.bias"].value(), name="bqkv")
        self.wo = Parameter(tensors[stem + "attn.c_proj.weight"].value(), name="wo")
        self.bo = Parameter(tensors[stem + "attn.c_proj.bias"].value(), name="bo")

    def scores(self, q, k, hidden):
        return ops.masked_fill(ops.matmul(q, k.swapaxes(2, 3)) / q.shape[-1] ** 0.5, hidden, -1e9)

    def construct(self, x, hidden):
        batch, seq, width = x.shape
        split = ops.split(linear(x, self.wqkv, self.bqkv), width, axis=-1)
        q, k, v = (part.reshape(batch, seq, self.heads, -1).transpose(0, 2, 1, 3) for part in split)
        weights = ops.softmax(self.scores(q, k, hidden), -1)
        mixed = ops.matmul(weights, v).transpose(0, 2, 1, 3).reshape(batch, seq, width)
        return linear(mixed, self.wo, self.bo)


class UnscaledAttention(Attention):
    def scores(self, q, k, hidden):
        return ops.masked_fill(ops.matmul(q, k.swapaxes(2, 3)), hidden, -1e9)


class FeedForward(nn.Cell):
    def __init__(self, tensors, stem):
        super().__init__()
        self.w1 = Parameter(tensors[stem + "mlp.c_fc.weight"].value(), name="w1")
        self.b1 = Parameter(tensors[stem + "mlp.c_fc.bias"].value(), name="b1")
        self.w2 = Parameter(tensors[stem + "mlp.c_proj.weight"].value(), name="w2")
        self.b2 = Parameter(tensors[stem + "mlp.c_proj.bias"].value(), name="b2")

    def construct(self, x):
        up = ops.gelu(linear(x, self.w1, self.b1), approximate="tanh")
        return linear(up, self.w2, self.b2)


class Layer(nn.Cell):
    def __init__(self, attention, config, tensors, i):
        super().__init__()
        stem = STORED.format(i)
        self.gain_1 = Parameter(tensors[stem + "ln_1.gamma"].value(), name="gain_1")
        self.shift_1 = Parameter(tensors[stem + "ln_1.beta"].value(), name="shift_1")
        self.gain_2 = Parameter(tensors[stem + "ln_2.gamma"].value(), name="gain_2")
        self.shift_2 = Parameter(tensors[stem + "ln_2.beta"].value(), name="shift_2")
        self.attention = attention(config["n_head"], tensors, stem)
        self.feed = FeedForward(tensors, stem)

    def construct(self, x, hidden):
        x = x + self.attention(norm(x, self.gain_1, self.shift_1), hidden)
        return x + self.feed(norm(x, self.gain_2, self.shift_2))


class Coarse(nn.Cell):
    def __init__(self, config, tensors, kinds):
        super().__init__()
        self.wte = Parameter(tensors["transformer.wte.embedding_table"].value(), name="wte")
        self.wpe = Parameter(tensors["transformer.wpe.embedding_table"].value(), name="wpe")
        self.layers = nn.CellList([Layer(k, config, tensors, i) for i, k in enumerate(kinds)])
        self.gain = Parameter(tensors["transformer.ln_f.gamma"].value(), name="gain")
        self.shift = Parameter(tensors["transformer.ln_f.beta"].value(), name="shift")

    def construct(self, ids, mask: Tensor):
        rows = ops.arange(ids.shape[1])
        x = ops.gather(self.wte, ids, 0) + self.wpe[: ids.shape[1]]
        hidden = ops.logical_or(rows[None, :] > rows[:, None], (mask == 0)[:, None, None, :])
        for layer in self.layers:
            x = layer(x, hidden)
        x = norm(x, self.gain, self.shift)
        return {"scores": ops.matmul(x, self.wte.T), "hidden": x}


def _build(config, checkpoint, kinds):
    file = str(Path(checkpoint) / "model.safetensors")
    return Coarse(config, mindspore.load_checkpoint(file, format="safetensors"), kinds)


def build(config, checkpoint):
    return _build(config, checkpoint, [Attention] * config["n_layer"])


def build_unscaled(config, checkpoint):
    """Return it with scores that block 2 does not scale."""
    kinds = [Attention] * config["n_layer"]
    kinds[2] = UnscaledAttention
    return _build(config, checkpoint, kinds)
