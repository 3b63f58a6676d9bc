"""Candidates with a fault: each fails, at the tap where the fault is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mindport.migrate import port, prepare
from mindport.validate import embedded_checkpoint

pytestmark = [
    pytest.mark.torch,
    pytest.mark.mindspore,
    pytest.mark.xdist_group("frameworks"),
]


def swap_query_and_key_gpt2(tensors):
    for kind in ("weight", "bias"):
        name = f"transformer.h.3.attn.c_attn.{kind}"
        query, key, value = np.split(tensors[name], 3)  # our layout: (3 * n_embd, n_embd)
        tensors[name] = np.concatenate([key, query, value])


def swap_query_and_key_bert(tensors):
    stem = "bert.encoder.layer.3.attention.self"
    for kind in ("weight", "bias"):
        a, b = f"{stem}.query.{kind}", f"{stem}.key.{kind}"
        tensors[a], tensors[b] = tensors[b], tensors[a]


def transpose(name):
    def change(tensors):
        tensors[name] = tensors[name].T.copy()

    return change


def zero(name):
    def change(tensors):
        tensors[name] = np.zeros_like(tensors[name])

    return change


def leave_body_random(tensors):
    rng = np.random.default_rng(1)
    for name, array in tensors.items():
        if name.startswith(("transformer.", "bert.")):
            tensors[name] = rng.normal(0, 0.02, array.shape).astype(array.dtype)


def lose_body(tensors):
    for name in [n for n in tensors if n.startswith(("transformer.h", "bert.encoder"))]:
        del tensors[name]


FAULTS = [
    ("gpt2", transpose("transformer.h.2.attn.c_proj.weight"), "block.2.attention"),
    ("gpt2", transpose("transformer.h.1.mlp.c_fc.weight"), "block.1.mlp"),
    ("gpt2", swap_query_and_key_gpt2, "block.3.attention"),
    ("gpt2", zero("transformer.h.1.ln_2.beta"), "block.1.mlp"),
    ("gpt2", zero("transformer.ln_f.beta"), "final_norm"),
    ("gpt2", leave_body_random, "embeddings"),
    ("gpt2", lose_body, "block.0.attention"),
    ("bert", transpose("bert.encoder.layer.2.attention.output.dense.weight"), "block.2.attention"),
    ("bert", swap_query_and_key_bert, "block.3.attention"),
    ("bert", zero("bert.encoder.layer.0.output.LayerNorm.beta"), "block.0"),
    ("bert", zero("cls.predictions.bias"), "logits"),
    ("bert", leave_body_random, "embeddings"),
    ("bert", lose_body, "block.0.attention"),
]
NAMES = [f"{name}-{tap}-{i}" for i, (name, _, tap) in enumerate(FAULTS)]


@pytest.mark.parametrize(("name", "change", "tap"), FAULTS, ids=NAMES)
def test_faulty_candidate_fails_at_the_right_tap(validate, tmp_path, name, change, tap):
    ported = port(prepare(embedded_checkpoint(name), name), tmp_path / "ms")
    tensors = load_file(ported / "model.safetensors")
    change(tensors)
    (ported / "model.safetensors").unlink()
    save_file(tensors, ported / "model.safetensors")
    code, verdict, output = validate(name, "--candidate-checkpoint", ported)
    assert (code, verdict["verdict"], verdict["first_faulty_tap"]) == (1, "fail", tap), output
    assert any("no longer matches its manifest's hash" in n for n in verdict["notices"])
    assert "FAIL" in output
    if change is lose_body:
        lost = sum(1 for n in verdict["load"]["candidate"]["missing"])
        assert lost == len([n for n in load_file(embedded_checkpoint(name) / "model.safetensors")
                            if ".h." in n or ".encoder." in n])  # fmt: skip
        assert f"{lost} parameters missing from the checkpoint" in verdict["headline"]


def test_other_weights_are_noticed_and_fail(validate, tmp_path, checkpoint):
    ported = port(prepare(checkpoint("gpt2", "lm", seed=1), "gpt2"), tmp_path / "ms")
    code, verdict, _ = validate("gpt2", "--checkpoint", checkpoint("gpt2", "lm"),
                                "--candidate-checkpoint", ported)  # fmt: skip
    assert code == 1
    assert any("ported from other weights" in notice for notice in verdict["notices"])


def test_a_changed_config_is_noticed_and_fails(validate, tmp_path):
    ported = port(prepare(embedded_checkpoint("gpt2"), "gpt2"), tmp_path / "ms")
    config = json.loads((ported / "config.json").read_text())
    (ported / "config.json").write_text(json.dumps({**config, "layer_norm_epsilon": 1e-3}))
    code, verdict, _ = validate("gpt2", "--candidate-checkpoint", ported)
    assert (code, verdict["first_faulty_tap"]) == (1, "block.0.attention")
    assert any("layer_norm_epsilon" in notice for notice in verdict["notices"])


def test_a_head_without_its_body_fails(validate, tmp_path, checkpoint):
    """The course's notebook: the head was loaded, the whole body was not, and nothing failed."""
    source = checkpoint("gpt2", "lm", tie_word_embeddings=False)
    ported = port(prepare(source, "gpt2"), tmp_path / "ms")
    tensors = load_file(ported / "model.safetensors")
    (ported / "model.safetensors").unlink()
    save_file({"lm_head.weight": tensors["lm_head.weight"]}, ported / "model.safetensors")
    code, verdict, output = validate(
        "gpt2", "--checkpoint", source, "--candidate-checkpoint", ported
    )
    assert (code, verdict["first_faulty_tap"]) == (1, "embeddings"), output
    assert len(verdict["load"]["candidate"]["missing"]) == len(tensors) - 1 == 52
    assert "52 parameters missing from the checkpoint" in verdict["headline"]


def test_nan_in_the_candidate_fails(validate, tmp_path):
    ported = port(prepare(embedded_checkpoint("bert"), "bert"), tmp_path / "ms")
    tensors = load_file(ported / "model.safetensors")
    tensors["bert.encoder.layer.1.output.dense.bias"][0] = np.nan
    (ported / "model.safetensors").unlink()
    save_file(tensors, ported / "model.safetensors")
    code, verdict, output = validate("bert", "--candidate-checkpoint", ported)
    assert (code, verdict["first_faulty_tap"]) == (1, "block.1.mlp"), output
    assert "NaN or infinite" in verdict["headline"]
