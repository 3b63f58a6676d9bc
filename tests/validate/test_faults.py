"""Candidates with a fault: each fails, at the tap where the fault is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mindport.migrate import port, prepare
from mindport.validate import embedded_checkpoint
from mindport.validate.diagnose.causes import CAUSES

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


def cut_short(name):
    def change(tensors):
        tensors[name] = tensors[name][:-1].copy()

    return change


# Architecture, fault, the first faulty tap, its cause. The catalogue of faults is put to the
# validator by its self-test; here it is the command line that is tested.
FAULTS = [
    ("gpt2", transpose("transformer.h.2.attn.c_proj.weight"), "block.2.attention",
     "transposed-weight"),
    ("gpt2", swap_query_and_key_gpt2, "block.3.query", "swapped-projections"),
    ("gpt2", cut_short("transformer.h.1.mlp.c_fc.weight"), "block.1.up", "random-weight"),
    ("bert", zero("cls.predictions.bias"), "logits", "missing-bias"),
    ("bert", leave_body_random, "embeddings.sum", "random-weight"),
    ("bert", lose_body, "block.0.query", "random-weight"),
]  # fmt: skip
NAMES = [f"{name}-{tap}-{cause}" for name, _, tap, cause in FAULTS]


def first_cause(verdict):
    """Return the diagnosis of the first faulty tap."""
    (found,) = [d for d in verdict["diagnosis"] if d["tap"] == verdict["first_faulty_tap"]]
    return found["cause"], found["confirmed"]


@pytest.mark.parametrize(("name", "change", "tap", "cause"), FAULTS, ids=NAMES)
def test_faulty_candidate_fails_at_the_right_tap(validate, tmp_path, name, change, tap, cause):
    ported = port(prepare(embedded_checkpoint(name), name), tmp_path / "ms")
    tensors = load_file(ported / "model.safetensors")
    change(tensors)
    (ported / "model.safetensors").unlink()
    save_file(tensors, ported / "model.safetensors")
    code, verdict, output = validate(name, "--candidate-checkpoint", ported, "--batch", "6")
    assert (code, verdict["verdict"], verdict["first_faulty_tap"]) == (1, "fail", tap), output
    # Of three tables that are random at once no single one explains the sum.
    confirmed = change is not leave_body_random
    assert first_cause(verdict) == (cause, confirmed), verdict["diagnosis"]
    assert any("no longer matches its manifest's hash" in n for n in verdict["notices"])
    assert "FAIL" in output
    if change is lose_body:
        lost = sum(1 for n in verdict["load"]["candidate"]["missing"])
        assert lost == len([n for n in load_file(embedded_checkpoint(name) / "model.safetensors")
                            if ".h." in n or ".encoder." in n])  # fmt: skip
        assert f"{lost} parameters missing from the checkpoint" in verdict["headline"]
    elif cause == "random-weight" and name == "gpt2":
        assert "1 parameter of another shape" in verdict["headline"]
    else:
        assert verdict["headline"].startswith(f"{tap} is the first of ")
        how = "confirmed" if confirmed else "suspected"
        assert f"{how} cause: {CAUSES[cause]}" in verdict["headline"]


def test_other_weights_are_noticed_and_fail(validate, tmp_path, checkpoint):
    ported = port(prepare(checkpoint("gpt2", "lm", seed=1), "gpt2"), tmp_path / "ms")
    code, verdict, _ = validate("gpt2", "--checkpoint", checkpoint("gpt2", "lm"),
                                "--candidate-checkpoint", ported)  # fmt: skip
    assert (code, verdict["first_faulty_tap"]) == (1, "embeddings")
    assert first_cause(verdict)[0] == "random-weight"
    assert any("ported from other weights" in notice for notice in verdict["notices"])


def test_a_changed_config_is_noticed_and_fails(validate, tmp_path):
    ported = port(prepare(embedded_checkpoint("gpt2"), "gpt2"), tmp_path / "ms")
    config = json.loads((ported / "config.json").read_text())
    (ported / "config.json").write_text(json.dumps({**config, "layer_norm_epsilon": 1e-3}))
    code, verdict, _ = validate("gpt2", "--candidate-checkpoint", ported)
    assert (code, verdict["first_faulty_tap"]) == (1, "block.0.norm_1")
    assert first_cause(verdict) == ("norm-eps", True)
    assert {d["cause"] for d in verdict["diagnosis"]} == {"norm-eps"}
    at_fault = {tap["name"] for tap in verdict["taps"] if tap["own_fault"]}
    assert at_fault == {tap["name"] for tap in verdict["taps"] if "norm" in tap["name"]}
    assert len(at_fault) == 9
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
    assert verdict["first_nonfinite"]["candidate"]["nan"] == ["block.1.mlp", [0, 0, 0]]
    assert verdict["first_nonfinite"]["reference"] == {"nan": None, "infinite": None}
