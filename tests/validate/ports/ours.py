"""Our own networks as if a user had written them."""

from __future__ import annotations

from mindport.migrate import cells


def build(config, checkpoint):
    (name,) = config["architectures"]
    return getattr(cells, name).from_checkpoint(checkpoint, strict=False)
