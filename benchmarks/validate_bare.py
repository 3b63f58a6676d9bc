"""One bare forward for ``validate.py``: import a framework, load the weights, run them once.

The arguments are torch, eager or graph, then the class, the folder, batch and length.
"""

from __future__ import annotations

import sys

import numpy as np


def main() -> None:
    """Run it; the output is thrown away."""
    side, name, folder, batch, length = sys.argv[1:]
    ids = np.random.default_rng(0).integers(5, 90, (int(batch), int(length)))
    if side == "torch":
        import torch
        import transformers

        model = getattr(transformers, name).from_pretrained(folder).eval()
        with torch.inference_mode():
            model(torch.from_numpy(ids)).logits.numpy()
        return
    import mindspore

    from mindport.migrate import cells

    mindspore.set_context(mode=mindspore.GRAPH_MODE if side == "graph" else mindspore.PYNATIVE_MODE)
    getattr(cells, name).from_checkpoint(folder)(ids).logits.asnumpy()


if __name__ == "__main__":
    main()
