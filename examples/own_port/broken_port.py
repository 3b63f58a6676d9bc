"""The same port with a mistake that no shape shows: the exact GELU, where GPT-2 has another."""

from __future__ import annotations

from typing import Any

from mindspore import nn
from my_port import build as build_right


def build(config: dict[str, Any], checkpoint: str) -> nn.Cell:
    """Return the network, broken on purpose in its second block."""
    network = build_right(config, checkpoint)
    network.blocks[1].mlp.gelu = nn.GELU(approximate=False)
    return network
