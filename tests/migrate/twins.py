"""Make the same random network in torch and in MindSpore."""

from __future__ import annotations

from typing import Any

import numpy as np

from mindport.migrate.architecture import dimension
from mindport.migrate.architectures import load_architecture
from mindport.migrate.dialect import MINDSPORE, TORCH

TINY: dict[str, dict[str, Any]] = {
    "gpt2": {
        "vocab_size": 97,
        "n_positions": 32,
        "n_embd": 64,
        "n_layer": 4,
        "n_head": 4,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 3,
        "num_labels": 3,
    },
    "bert": {
        "vocab_size": 97,
        "max_position_embeddings": 32,
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "pad_token_id": 3,
        "num_labels": 3,
    },
    "roberta": {
        "vocab_size": 97,
        "max_position_embeddings": 36,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "pad_token_id": 3,
        "num_labels": 3,
    },
    "distilbert": {
        "vocab_size": 97,
        "max_position_embeddings": 32,
        "dim": 64,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 128,
        "pad_token_id": 3,
        "num_labels": 3,
    },
}
HEADS = [(name, head) for name in TINY for head in load_architecture(name).heads]


def described(name: str, head_name: str, config: dict[str, Any]) -> list[tuple[Any, str, str]]:
    """Return (parameter, torch name, MindSpore name) of all that a head stores."""
    architecture = load_architecture(name)
    head = architecture.heads[head_name]
    stored = [(head.prefix, p) for p in head.body] + [("", p) for p in head.parameters]
    stored += [("", t.parameter) for t in head.tied if t.unless and not config[t.unless]]
    names = []
    for prefix, p in stored:
        for layer in range(config[architecture.layers] if p.per_layer else 1):
            module = prefix + p.module.replace("{i}", str(layer))
            names.append((p, TORCH.spell(module, p.kind), MINDSPORE.spell(module, p.kind)))
    return names


def described_shapes(name: str, head: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter of a head by its MindSpore name."""
    return {
        target: MINDSPORE.operation(p).shape(tuple(dimension(axis, config) for axis in p.shape))
        for p, _, target in described(name, head, config)
    }


def torch_model(name: str, head: str, seed: int = 0, **config: Any) -> Any:
    """Return a random transformers network in which no parameter has its initial value."""
    import torch
    import transformers

    torch.manual_seed(seed)
    settings = {**TINY[name], **config}
    if head == "question-answering":
        settings["num_labels"] = 2  # begin and end
    class_name = load_architecture(name).heads[head].class_name
    # Layer norm scales of 1 and biases of 0 would hide that one was taken for another.
    model = getattr(transformers, class_name)._from_config(
        transformers.AutoConfig.for_model(name, **settings), attn_implementation="eager"
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.1 if parameter.ndim == 1 else 0.05))
    return model.eval()


def torch_forward(model: Any, inputs: dict[str, Any], **options: Any) -> Any:
    """Run a transformers network on arrays, without gradients."""
    import torch

    with torch.inference_mode():
        return model(**{name: torch.tensor(value) for name, value in inputs.items()}, **options)


def difference(output: Any, expected: Any) -> float:
    """Return the greatest absolute difference of a tensor or a tuple of them."""
    if isinstance(expected, tuple):
        return max(difference(a, b) for a, b in zip(output, expected, strict=True))
    found, wanted = output.asnumpy(), expected.detach().numpy()
    assert found.shape == wanted.shape
    assert np.isfinite(found).all()
    return float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max())


def mindspore_twin(model: Any, name: str, head: str) -> Any:
    """Return our network with the weights of a transformers network."""
    import mindspore

    from mindport.migrate import cells

    twin = getattr(cells, type(model).__name__)(model.config)
    state = {key: value.float() for key, value in model.state_dict().items()}
    arrays = {
        target: mindspore.Parameter(
            np.ascontiguousarray(MINDSPORE.operation(p).apply(state[source].numpy())), name=target
        )
        for p, source, target in described(name, head, vars(twin.config))
    }
    assert mindspore.load_param_into_net(twin, arrays, strict_load=True) == ([], [])
    return twin.set_train(False)


def inputs_of(name: str, seed: int = 0, batch: int = 3, seq: int = 9) -> dict[str, np.ndarray]:
    """Return ids with padding on the right, mask, and two segments where there are any."""
    random = np.random.default_rng(seed)
    ids = random.integers(5, 97, (batch, seq))
    mask = np.ones_like(ids)
    for row in range(1, batch):
        mask[row, seq - row :] = 0
    ids[mask == 0] = 3
    inputs = {"input_ids": ids, "attention_mask": mask}
    if "token_type_ids" in load_architecture(name).heads["none"].inputs:
        inputs["token_type_ids"] = (np.arange(seq) >= seq // 2).astype(int) * mask
    return inputs
