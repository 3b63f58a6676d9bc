"""The example's GPT-2, changed in one way each: right in another manner, or not loaded."""

from __future__ import annotations

import sys
from pathlib import Path

from mindspore import Tensor, nn, ops

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "own_port"))

import my_port


def value_first(config, checkpoint):
    """Return a right port whose fused matrix makes value, query, key, in this order."""
    network = my_port.build(config, checkpoint)
    width = config["n_embd"]
    for block in network.blocks:
        for parameter in (block.attn.qkv.weight, block.attn.qkv.bias):
            query, key, value = ops.split(parameter.value(), width, axis=0)
            parameter.set_data(ops.cat([value, query, key]))
        block.attn.qkv = Rolled(block.attn.qkv)
    return network


class Rolled(nn.Cell):
    """A projection whose parts are put in order after it; the hooks of ``inner`` see them before.

    The look of it (one matrix, three widths) is what a proposal goes by.
    """

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def construct(self, x):
        value, query, key = ops.split(self.inner(x), x.shape[-1], axis=-1)
        return ops.cat([query, key, value], axis=-1)


def forgot_a_part(config, checkpoint):
    """Return a port that does not load the feed-forward part of block 2."""
    names = my_port.NAMES
    network = my_port.MyGPT2(config)
    kept = {name.replace("{i}", str(i)): source.replace("{i}", str(i))
            for name, source in names.items() for i in range(config["n_layer"])
            if not ("mlp.fc" in name and i == 2)}  # fmt: skip
    try:
        my_port.NAMES = kept
        my_port.load_weights(network, Path(checkpoint), 1)
    finally:
        my_port.NAMES = names
    return network


class WithoutMask(nn.Cell):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def construct(self, x):
        return self.inner(x, Tensor(1).broadcast_to(x.shape))


def without_mask(config, checkpoint):
    """Return a port that takes no attention mask, which a causal one does not need at its ends."""
    return WithoutMask(my_port.build(config, checkpoint))


def raises(config, checkpoint):
    """Fail as a port under development does."""
    return my_port.build({**config, "n_head": config["heads"]}, checkpoint)


def not_a_cell(config, checkpoint):
    """Return what is no network."""
    return my_port.build(config, checkpoint).blocks.trainable_params()


class Picky(WithoutMask):
    def construct(self, input_ids, temperature):
        return self.inner(input_ids, temperature)


def needs_more(config, checkpoint):
    """Return a network that wants what a model does not get."""
    return Picky(my_port.build(config, checkpoint))
