"""The example's GPT-2 with three faults at once, one in each of three blocks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "own_port"))

from my_port import build as build_right


def build(config, checkpoint):
    network = build_right(config, checkpoint)
    network.blocks[1].mlp.gelu = nn.GELU(approximate=False)
    width = config["n_embd"]
    block = network.blocks[2]
    norm = nn.LayerNorm((width,), epsilon=1e-2)  # not the config's eps
    norm.gamma.set_data(block.pre_mlp.gamma.value())
    norm.beta.set_data(block.pre_mlp.beta.value())
    block.pre_mlp = norm
    for parameter in (network.blocks[3].attn.qkv.weight, network.blocks[3].attn.qkv.bias):
        query, key, value = np.split(parameter.asnumpy(), 3)
        parameter.set_data(Tensor(np.concatenate([query, value, key])))  # key and value swapped
    return network
