"""Whole ports: there and back, what is refused, and what is said about it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mindport.migrate.errors import (
    CheckpointError,
    ConfigError,
    MindportError,
    PlanError,
)
from mindport.migrate.manifest import changed_files
from mindport.migrate.porting import port, prepare
from tests.migrate.weights import arrays_of, assert_same


@pytest.mark.parametrize("file_format", ["safetensors", "ckpt"])
def test_there_and_back_is_bit_exact(every_head, checkpoint, tmp_path, file_format):
    architecture, head = every_head
    source = checkpoint(architecture, head)
    there = port(prepare(source, architecture), tmp_path / "ms", file_format=file_format)
    back = port(prepare(there, architecture), tmp_path / "back")
    assert_same(arrays_of(source), arrays_of(back))
    ported = arrays_of(there)
    assert any(name.endswith(".embedding_table") for name in ported)
    assert json.loads((back / "config.json").read_text())["architectures"] == [
        prepare(source, architecture).plan.head.class_name
    ]


def test_conv1d_is_transposed_and_linear_is_not(checkpoint, tmp_path):
    gpt2 = checkpoint("gpt2", "lm")
    ported = arrays_of(port(prepare(gpt2, "gpt2"), tmp_path / "gpt2"))
    name = "transformer.h.1.attn.c_proj.weight"  # square: only the values tell
    assert np.array_equal(ported[name], arrays_of(gpt2)[name].T)
    bert = checkpoint("bert", "mlm")
    ported = arrays_of(port(prepare(bert, "bert"), tmp_path / "bert"))
    name = "bert.encoder.layer.1.attention.self.query.weight"
    assert np.array_equal(ported[name], arrays_of(bert)[name])


def test_prefix_is_optional(edited, checkpoint, tmp_path):
    bare = edited("gpt2", "lm", lambda t: {n.removeprefix("transformer."): a for n, a in t.items()})
    source = checkpoint("gpt2", "lm")
    assert_same(
        arrays_of(port(prepare(bare, "gpt2"), tmp_path / "a")),
        arrays_of(port(prepare(source, "gpt2"), tmp_path / "b")),
    )


def test_prefix_is_taken_off_for_the_bare_model(checkpoint, tmp_path):
    prepared = prepare(checkpoint("bert", "mlm"), "bert", head="none", allow_missing=True)
    ported = arrays_of(port(prepared, tmp_path / "bare"))
    assert "embeddings.LayerNorm.gamma" in ported
    fates = {e.source: e.action for e in prepared.plan.entries if e.source}
    assert fates["cls.predictions.bias"] == "ignored"
    generated = {e.target for e in prepared.plan.entries if e.action == "generated"}
    assert generated == {"pooler.dense.weight", "pooler.dense.bias"}
    assert not ported["pooler.dense.bias"].any()
    assert ported["pooler.dense.weight"].std() == pytest.approx(0.02, rel=0.1)


def test_legacy_gamma_and_beta(edited, checkpoint, tmp_path):
    def rename(tensors):
        return {
            n.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): a
            for n, a in tensors.items()
        }

    legacy = edited("bert", "pretraining", rename)
    assert any(n.endswith("gamma") for n in load_file(legacy / "model.safetensors"))
    assert_same(
        arrays_of(port(prepare(legacy, "bert"), tmp_path / "a")),
        arrays_of(port(prepare(checkpoint("bert", "pretraining"), "bert"), tmp_path / "b")),
    )


@pytest.mark.parametrize(
    ("architecture", "head", "tied", "owner"),
    [
        ("gpt2", "lm", "lm_head.weight", "transformer.wte.weight"),
        ("bert", "mlm", "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("bert", "mlm", "cls.predictions.decoder.bias", "cls.predictions.bias"),
    ],
)
class TestTied:
    def test_stored_twice(self, edited, tmp_path, architecture, head, tied, owner):
        source = edited(architecture, head, lambda t: {**t, tied: t[owner].copy()})
        prepared = prepare(source, architecture)
        assert prepared.plan.totals()["tied"] == 1
        assert tied not in arrays_of(port(prepared, tmp_path / "ms"))

    def test_stored_under_the_other_name(
        self, edited, checkpoint, tmp_path, architecture, head, tied, owner
    ):
        source = edited(architecture, head, lambda t: {**t, tied: t.pop(owner)})
        assert_same(
            arrays_of(port(prepare(source, architecture), tmp_path / "a")),
            arrays_of(port(prepare(checkpoint(architecture, head), architecture), tmp_path / "b")),
        )

    def test_different_values_are_refused(self, edited, tmp_path, architecture, head, tied, owner):
        source = edited(architecture, head, lambda t: {**t, tied: t[owner] + 1})
        with pytest.raises(CheckpointError, match="their values differ"):
            port(prepare(source, architecture), tmp_path / "ms")
        assert list(tmp_path.glob("*ms*")) == []


@pytest.mark.parametrize(
    ("architecture", "head", "own"),
    [
        ("gpt2", "lm", ["lm_head.weight"]),
        ("bert", "mlm", ["cls.predictions.decoder.weight", "cls.predictions.decoder.bias"]),
    ],
)
def test_untied_head_has_parameters_of_its_own(checkpoint, tmp_path, architecture, head, own):
    source = checkpoint(architecture, head, tie_word_embeddings=False)
    there = port(prepare(source, architecture), tmp_path / "ms")
    assert set(own) <= set(arrays_of(there))
    back = port(prepare(there, architecture), tmp_path / "back")
    assert_same(arrays_of(source), arrays_of(back))


def test_buffers_are_dropped_with_a_reason(edited):
    def add(tensors):
        mask = np.tril(np.ones((1, 1, 64, 64), bool))
        return {
            **tensors,
            "transformer.h.0.attn.bias": mask,
            "h.1.attn.masked_bias": np.float32([-1e4]),
        }

    plan = prepare(edited("gpt2", "lm", add), "gpt2").plan
    dropped = {e.source: e.reason for e in plan.entries if e.action == "dropped"}
    assert set(dropped) == {"transformer.h.0.attn.bias", "h.1.attn.masked_bias"}
    assert all(dropped.values())


def test_every_problem_is_listed_at_once(edited):
    def damage(tensors):
        del tensors["transformer.ln_f.weight"]
        tensors["transformer.h.9.ln_1.weight"] = np.ones(64, np.float32)  # a layer too many
        tensors["stray"] = np.ones(3, np.float32)
        tensors["transformer.h.0.mlp.c_fc.weight"] = tensors[
            "transformer.h.0.mlp.c_fc.weight"
        ].T.copy()
        tensors["transformer.h.1.ln_1.bias"] = np.ones(63, np.float32)
        tensors["transformer.h.2.ln_1.bias"] = np.ones(64, np.int64)

    with pytest.raises(PlanError) as caught:
        prepare(edited("gpt2", "lm", damage), "gpt2")
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 6
    for expected in (
        "missing: transformer.ln_f.weight",
        "unexpected: transformer.h.9.ln_1.weight",
        "unexpected: stray",
        "it looks transposed",
        "mis-shaped: transformer.h.1.ln_1.bias has [63]",
        "not a weight: transformer.h.2.ln_1.bias",
    ):
        assert expected in problems


def test_doubled_parameter_is_refused(edited):
    source = edited("gpt2", "lm", lambda t: {**t, "wte.weight": t["transformer.wte.weight"] + 1})
    with pytest.raises(PlanError, match=r"doubled: transformer\.wte\.weight and wte\.weight"):
        prepare(source, "gpt2")


def test_vocabulary_that_does_not_fit_is_named(edited):
    source = edited(
        "bert",
        "none",
        lambda t: {**t, "embeddings.word_embeddings.weight": np.ones((500, 64), np.float32)},
    )
    with pytest.raises(PlanError, match=r"vocab_size would be 500"):
        prepare(source, "bert")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_weights_are_refused(edited, tmp_path, value):
    def poison(tensors):
        tensors["transformer.h.2.mlp.c_fc.bias"][7] = value

    with pytest.raises(CheckpointError, match=r"h\.2\.mlp\.c_fc\.bias holds 1 value that"):
        port(prepare(edited("gpt2", "lm", poison), "gpt2"), tmp_path / "ms")
    assert [p.name for p in tmp_path.iterdir()] == ["edited"]


def test_wrong_architecture(checkpoint):
    with pytest.raises(ConfigError, match="model_type 'bert'"):
        prepare(checkpoint("bert", "mlm"), "gpt2")


def test_wrong_architecture_without_model_type(checkpoint, tmp_path):
    folder = tmp_path / "x"
    shutil.copytree(checkpoint("bert", "mlm"), folder)
    config = {**json.loads((checkpoint("gpt2", "lm") / "config.json").read_text())}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(MindportError, match="named like BERT's"):
        prepare(folder, "gpt2")


def test_layout_that_is_there_already(checkpoint, tmp_path):
    source = checkpoint("gpt2", "none")
    with pytest.raises(MindportError, match="in torch's layout already"):
        prepare(source, "gpt2", to="torch")


def test_unknown_names_get_a_suggestion(checkpoint):
    source = checkpoint("gpt2", "lm")
    with pytest.raises(MindportError, match="Did you mean 'gpt2'"):
        prepare(source, "gpt")
    with pytest.raises(MindportError, match="no head 'mlm'"):
        prepare(source, "gpt2", head="mlm")


def test_manifest_notices_a_change(checkpoint, tmp_path):
    folder = port(prepare(checkpoint("gpt2", "lm"), "gpt2"), tmp_path / "ms")
    assert changed_files(folder) == []
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors, folder / "model.safetensors")
    assert changed_files(folder) == ["model.safetensors"]
