"""Trained weights for architectures that have none of their own: the embedded BERT, renamed.

A DistilBERT is a BERT without segments, and a RoBERTa one whose positions are counted behind
padding's id; so a BERT that reads one segment can be written as either, and answers the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from mindport.migrate.config import read_config_file
from mindport.validate import embedded_checkpoint

Tensors = dict[str, np.ndarray]
_EMBEDDINGS = "bert.embeddings"
_TO_DISTILBERT = (
    ("bert.encoder.", "distilbert.transformer."),
    ("bert.embeddings.", "distilbert.embeddings."),
    ("attention.self.query", "attention.q_lin"),
    ("attention.self.key", "attention.k_lin"),
    ("attention.self.value", "attention.v_lin"),
    ("attention.output.dense", "attention.out_lin"),
    ("attention.output.LayerNorm", "sa_layer_norm"),
    ("intermediate.dense", "ffn.lin1"),
    ("output.dense", "ffn.lin2"),
    ("output.LayerNorm", "output_layer_norm"),
    ("cls.predictions.transform.dense", "vocab_transform"),
    ("cls.predictions.transform.LayerNorm", "vocab_layer_norm"),
    ("cls.predictions.bias", "vocab_projector.bias"),
)
_TO_ROBERTA = (
    ("bert.", "roberta."),
    ("cls.predictions.transform.dense", "lm_head.dense"),
    ("cls.predictions.transform.LayerNorm", "lm_head.layer_norm"),
    ("cls.predictions.bias", "lm_head.bias"),
)


def as_distilbert(folder: Path) -> Path:
    """Write the embedded BERT as a DistilBERT and return the folder."""

    def change(tensors: Tensors) -> None:
        types = tensors.pop(f"{_EMBEDDINGS}.token_type_embeddings.weight")
        tensors[f"{_EMBEDDINGS}.position_embeddings.weight"] += types[0]

    bert = read_config_file(embedded_checkpoint("bert") / "config.json")
    config = {
        "model_type": "distilbert",
        "architectures": ["DistilBertForMaskedLM"],
        "vocab_size": bert["vocab_size"],
        "max_position_embeddings": bert["max_position_embeddings"],
        "dim": bert["hidden_size"],
        "n_layers": bert["num_hidden_layers"],
        "n_heads": bert["num_attention_heads"],
        "hidden_dim": bert["intermediate_size"],
        "pad_token_id": bert["pad_token_id"],
    }
    return _write(folder, config, _TO_DISTILBERT, change)


def as_roberta(folder: Path) -> Path:
    """Write the embedded BERT as a RoBERTa and return the folder."""
    bert = read_config_file(embedded_checkpoint("bert") / "config.json")
    shift = bert["pad_token_id"] + 1

    def change(tensors: Tensors) -> None:
        table = tensors[f"{_EMBEDDINGS}.position_embeddings.weight"]
        behind = np.concatenate([np.zeros_like(table[:shift]), table])
        tensors[f"{_EMBEDDINGS}.position_embeddings.weight"] = behind

    config = {
        **bert,
        "model_type": "roberta",
        "architectures": ["RobertaForMaskedLM"],
        "max_position_embeddings": bert["max_position_embeddings"] + shift,
    }
    return _write(folder, config, _TO_ROBERTA, change)


def _write(
    folder: Path,
    config: dict[str, object],
    names: tuple[tuple[str, str], ...],
    change: Callable[[Tensors], None],
) -> Path:
    source = embedded_checkpoint("bert")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.md"))
    tensors = {
        name: array
        for name, array in load_file(source / "model.safetensors").items()
        if not name.startswith(("bert.pooler", "cls.seq_relationship", "cls.predictions.decoder"))
    }
    change(tensors)
    for before, after in names:
        tensors = {name.replace(before, after): array for name, array in tensors.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return folder
