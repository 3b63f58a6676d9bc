"""A BERT for masked words with query, key and value in one matrix; plain, and with two faults."""

from __future__ import annotations

from pathlib import Path

import mindspore
from mindspore import Parameter, Tensor, nn, ops


class Attention(nn.Cell):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Dense(width, 3 * width)
        self.dense = nn.Dense(width, width)

    def construct(self, x, bias):
        batch, seq, width = x.shape
        q, k, v = (
            part.reshape(batch, seq, self.heads, -1).swapaxes(1, 2)
            for part in ops.split(self.qkv(x), width, axis=-1)
        )
        scores = ops.matmul(q, k.swapaxes(2, 3)) / q.shape[-1] ** 0.5 + bias
        mixed = ops.matmul(ops.softmax(scores, -1), v)
        return self.dense(mixed.swapaxes(1, 2).reshape(batch, seq, width))


class Layer(nn.Cell):
    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.attend = Attention(width, config["num_attention_heads"])
        self.norm_a = nn.LayerNorm((width,), epsilon=1e-12)
        self.wide = nn.Dense(width, config["intermediate_size"])
        self.narrow = nn.Dense(config["intermediate_size"], width)
        self.norm_b = nn.LayerNorm((width,), epsilon=1e-12)
        self.approximate = "none"

    def construct(self, x, bias):
        x = self.norm_a(x + self.attend(x, bias))
        wide = ops.gelu(self.wide(x), approximate=self.approximate)
        return self.norm_b(x + self.narrow(wide))


class Bert(nn.Cell):
    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.word = nn.Embedding(config["vocab_size"], width)
        self.place = nn.Embedding(config["max_position_embeddings"], width)
        self.segment = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm((width,), epsilon=1e-12)
        self.layer_list = nn.CellList([Layer(config) for _ in range(config["num_hidden_layers"])])
        self.transform = nn.Dense(width, width)
        self.transform_norm = nn.LayerNorm((width,), epsilon=1e-12)
        self.bias = Parameter(ops.zeros(config["vocab_size"]), name="bias")
        self.with_segments = 1

    def construct(self, ids, mask, segment_ids: Tensor):
        x = self.word(ids) + self.place(ops.arange(ids.shape[1]))
        x = self.norm(x + self.segment(segment_ids * self.with_segments))
        bias = (mask == 0).astype(x.dtype)[:, None, None, :] * -1e9
        for layer in self.layer_list:
            x = layer(x, bias)
        x = self.transform_norm(ops.gelu(self.transform(x), approximate="none"))
        return (ops.matmul(x, self.word.embedding_table.T) + self.bias,)


def build(config, checkpoint):
    file = str(Path(checkpoint) / "model.safetensors")
    tensors = mindspore.load_checkpoint(file, format="safetensors")
    network = Bert(config)

    def copy(cell, source):
        names = ("weight", "bias", "gamma", "beta", "embedding_table")
        for name in names:
            if hasattr(cell, name) and f"{source}.{name}" in tensors:
                getattr(cell, name).set_data(tensors[f"{source}.{name}"].value())

    stem = "bert.embeddings."
    copy(network.word, stem + "word_embeddings")
    copy(network.place, stem + "position_embeddings")
    copy(network.segment, stem + "token_type_embeddings")
    copy(network.norm, stem + "LayerNorm")
    for i, layer in enumerate(network.layer_list):
        stem = f"bert.encoder.layer.{i}."
        for kind in ("weight", "bias"):
            parts = [tensors[f"{stem}attention.self.{n}.{kind}"] for n in ("query", "key", "value")]
            fused = ops.cat([part.value() for part in parts])
            getattr(layer.attend.qkv, kind).set_data(fused)
        copy(layer.attend.dense, stem + "attention.output.dense")
        copy(layer.norm_a, stem + "attention.output.LayerNorm")
        copy(layer.wide, stem + "intermediate.dense")
        copy(layer.narrow, stem + "output.dense")
        copy(layer.norm_b, stem + "output.LayerNorm")
    copy(network.transform, "cls.predictions.transform.dense")
    copy(network.transform_norm, "cls.predictions.transform.LayerNorm")
    network.bias.set_data(tensors["cls.predictions.bias"].value())
    return network


def build_faulty(config, checkpoint):
    """Return it without segments, and with another GELU in block 1."""
    network = build(config, checkpoint)
    network.with_segments = 0
    network.layer_list[1].approximate = "tanh"
    return network
