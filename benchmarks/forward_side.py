"""One side of ``forward.py``: a network of full size on one framework, timed whenever asked.

    python -I forward_side.py FRAMEWORK MODE ARCHITECTURE [THREADS]

Reads one JSON object a line from the standard input and answers each with one. MindNLP's
interpreter has no mindport, so only our own side imports it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

Work = Callable[[int, int, int], object]  # of batch, length and new tokens; 0 for a forward
SIZES: dict[str, dict[str, int]] = {
    "gpt2": {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12},
    "bert": {
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
}
CLASSES = {"gpt2": "GPT2LMHeadModel", "bert": "BertForMaskedLM"}
CONFIGS = {"gpt2": "GPT2Config", "bert": "BertConfig"}


def main() -> None:
    """Build the network, say what it is, and answer."""
    framework, mode, architecture, *rest = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # frameworks print
    threads = int(rest[0]) if rest else None
    start = {"torch": start_torch, "mindspore": start_ours, "mindnlp": start_mindnlp}[framework]
    work, about = start(architecture, mode, threads)
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        started, used = time.perf_counter(), time.process_time()
        work(asked["batch"], asked["length"], asked["new"])
        seconds, used = time.perf_counter() - started, time.process_time() - used
        print(json.dumps({"seconds": seconds, "cpu": used}), file=answers, flush=True)


def make_ids(batch: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return token ids and a mask that hides the last tokens of some rows, each (batch, length)."""
    ids = np.random.default_rng(0).integers(5, 30000, (batch, length))
    mask = np.ones_like(ids)
    mask[1::2, -(length // 8) :] = 0
    return ids, mask


def start_torch(architecture: str, mode: str, threads: int | None) -> tuple[Work, dict[str, Any]]:
    """Return what runs ``transformers`` on torch; the mode is its attention."""
    import torch
    import transformers

    if threads:
        torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    model = build(transformers, architecture, mode)
    about = {name: version(name) for name in ("torch", "transformers", "numpy")}
    return run_torch(torch, model), about | {"threads": torch.get_num_threads()}


def start_mindnlp(architecture: str, mode: str, threads: int | None) -> tuple[Work, dict[str, Any]]:
    """Return what runs the same ``transformers`` on MindNLP's clone of torch."""
    import mindspore

    if threads:
        mindspore.runtime.dispatch_threads_num(threads)
        mindspore.device_context.cpu.op_tuning.threads_num(threads)
    import mindnlp  # noqa: F401 - puts its clone under the name of torch
    import torch
    import transformers

    model = build(transformers, architecture, mode)
    if not isinstance(next(iter(model.parameters())), mindspore.Tensor):
        raise SystemExit("MindNLP is not in the place of torch; nothing was measured.")
    names = ("mindnlp", "mindspore", "transformers")
    return run_torch(torch, model), {name: version(name) for name in names}


def build(transformers: Any, architecture: str, attention: str) -> Any:
    """Return a network with random weights, ready for inference."""
    config = getattr(transformers, CONFIGS[architecture])(
        **SIZES[architecture], attn_implementation=attention
    )
    return getattr(transformers, CLASSES[architecture])(config).eval()


def run_torch(torch: Any, model: Any) -> Work:
    """Return what runs a model that is, or looks like, torch's."""

    def forward(batch: int, length: int) -> object:
        ids, mask = make_ids(batch, length)
        output = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
        return output.logits.numpy()

    def decode(batch: int, length: int, new: int) -> object:
        # A plain loop: transformers' generate() does more around each token.
        tokens, past = torch.tensor(make_ids(batch, length)[0]), None
        for _ in range(new):
            output = model(input_ids=tokens, past_key_values=past, use_cache=True, logits_to_keep=1)
            past, tokens = output.past_key_values, output.logits[:, -1].argmax(-1)[:, None]
        return tokens.numpy()

    def work(batch: int, length: int, new: int) -> object:
        with torch.inference_mode():
            return decode(batch, length, new) if new else forward(batch, length)

    return work


def start_ours(architecture: str, mode: str, threads: int | None) -> tuple[Work, dict[str, Any]]:
    """Return what runs our cells."""
    import mindspore

    from mindport.migrate import cells

    if threads:
        mindspore.runtime.dispatch_threads_num(threads)
        mindspore.device_context.cpu.op_tuning.threads_num(threads)
    modes = {"eager": mindspore.PYNATIVE_MODE, "graph": mindspore.GRAPH_MODE}
    mindspore.set_context(mode=modes[mode])
    network = getattr(cells, CLASSES[architecture])(SIZES[architecture]).set_train(False)

    def work(batch: int, length: int, new: int) -> object:
        ids, mask = make_ids(batch, length)
        if new:
            return network.generate(ids, max_new_tokens=new)
        return network(ids, mask).logits.asnumpy()

    return work, {name: version(name) for name in ("mindspore", "numpy")}


if __name__ == "__main__":
    main()
