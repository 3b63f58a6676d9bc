"""Our own networks with MindSpore's plain tanh, as whoever writes it down gets it on the CPU."""

from __future__ import annotations

import math

from mindspore import nn, ops

from mindport.migrate import cells
from mindport.migrate.cells import bert
from mindport.migrate.cells.activations import GELUTanh


class WrittenGELU(nn.Cell):
    """GPT-2's GELU as the paper has it; the one of our networks avoids what tanh is off."""

    def construct(self, x):
        return 0.5 * x * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def build(config, checkpoint):
    (name,) = config["architectures"]
    network = getattr(cells, name).from_checkpoint(checkpoint, strict=False)
    if name.startswith("GPT2"):
        write_gelu(network)
    else:
        bert.tanh = ops.tanh  # the pooler's, in the process of this candidate alone
    return network


def write_gelu(network):
    """Put the plain tanh into every block of a GPT-2, unless something else stands there."""
    for block in network.transformer.h:
        if isinstance(block.mlp.act, GELUTanh):
            block.mlp.act = WrittenGELU()
