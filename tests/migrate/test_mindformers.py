"""MindFormers' names and layouts: both ways bit for bit, and against values made by hand."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from mindport.migrate.architectures import load_architecture
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.cli import main
from mindport.migrate.detect import detect_dialect, holds_embeddings
from mindport.migrate.dialect import MINDSPORE, TORCH
from mindport.migrate.dialects import DIALECTS
from mindport.migrate.errors import MindportError, PlanError
from mindport.migrate.porting import port, prepare
from tests.migrate.weights import arrays_of, assert_same

MINDFORMERS = DIALECTS["mindformers"]
HEADS = [(name, head) for name, layout in MINDFORMERS.layouts.items() for head in layout.heads]


def carry(source, name, destination, **choices):
    return port(prepare(source, name, **choices), destination)


@pytest.mark.parametrize(("name", "head"), HEADS)
def test_there_and_back(checkpoint, tmp_path, name, head):
    original = checkpoint(name, head)
    there = carry(original, name, tmp_path / "there", to="mindformers", head=head)
    names = open_checkpoint(there).reader.infos
    assert detect_dialect(names) is MINDFORMERS
    assert not [n for n in names if "c_attn" in n or n.startswith(("transformer.", "cls."))]
    back = carry(there, name, tmp_path / "back")
    wanted = arrays_of(carry(original, name, tmp_path / "ours", head=head))
    assert_same(arrays_of(carry(back, name, tmp_path / "mine")), wanted)
    assert_same(arrays_of(carry(there, name, tmp_path / "direct", to="mindspore")), wanted)
    again = carry(tmp_path / "ours", name, tmp_path / "again", to="mindformers")
    assert_same(arrays_of(again), arrays_of(there))


def test_gpt2_stands_as_its_networks_have_it(checkpoint, tmp_path):
    original = checkpoint("gpt2", "lm")
    theirs = arrays_of(carry(original, "gpt2", tmp_path / "x", to="mindformers"))
    ours, block = arrays_of(original), "backbone.blocks.1"
    h = "transformer.h.1"
    fused = ours[f"{h}.attn.c_attn.weight"]  # (in, 3 * out)
    width = fused.shape[0]
    for number in range(3):
        third = fused[:, number * width : (number + 1) * width]
        assert np.array_equal(theirs[f"{block}.attention.dense{number + 1}.weight"], third.T)
        bias = ours[f"{h}.attn.c_attn.bias"][number * width : (number + 1) * width]
        assert np.array_equal(theirs[f"{block}.attention.dense{number + 1}.bias"], bias)
    for stored, module in {
        "attention.projection": "attn.c_proj",
        "output.mapping": "mlp.c_fc",
        "output.projection": "mlp.c_proj",
    }.items():  # Conv1D is (in, out) as well
        for last in ("weight", "bias"):
            assert np.array_equal(theirs[f"{block}.{stored}.{last}"], ours[f"{h}.{module}.{last}"])
    assert np.array_equal(theirs[f"{block}.layernorm2.beta"], ours[f"{h}.ln_2.bias"])
    assert np.array_equal(theirs["backbone.layernorm.gamma"], ours["transformer.ln_f.weight"])
    table = ours["transformer.wte.weight"]
    assert np.array_equal(theirs["backbone.embedding.word_embedding.embedding_table"], table)
    assert "head.head_weight" not in theirs


def test_bert_stands_as_its_networks_have_it(checkpoint, tmp_path):
    original = checkpoint("bert", "pretraining")
    theirs = arrays_of(carry(original, "bert", tmp_path / "x", to="mindformers"))
    ours, block = arrays_of(original), "bert.bert_encoder.encoder.blocks.0"
    layer = "bert.encoder.layer.0"
    for number, part in enumerate(("query", "key", "value"), 1):
        wanted = ours[f"{layer}.attention.self.{part}.weight"]
        assert np.array_equal(theirs[f"{block}.attention.dense{number}.weight"], wanted)
    for stored, module in {
        "attention.projection": "attention.output.dense",
        "output.mapping": "intermediate.dense",
        "output.projection": "output.dense",
    }.items():
        wanted = ours[f"{layer}.{module}.weight"].T
        assert np.array_equal(theirs[f"{block}.{stored}.weight"], wanted)
    norms = {"layernorm2": "attention.output.LayerNorm", "layernorm1": "output.LayerNorm"}
    for stored, module in norms.items():
        assert np.array_equal(theirs[f"{block}.{stored}.gamma"], ours[f"{layer}.{module}.weight"])
    assert np.array_equal(theirs["mlmloss.output_bias"], ours["cls.predictions.bias"])
    relation = ours["cls.seq_relationship.weight"]
    assert np.array_equal(theirs["nsploss.dense.weight"], relation)
    assert not [name for name in theirs if "vocab_dense" in name]


def test_what_its_converter_writes_is_read(checkpoint, tmp_path):
    original = checkpoint("bert", "pretraining")
    folder = carry(original, "bert", tmp_path / "x", to="mindformers")
    tensors = load_file(folder / "model.safetensors")
    moved = {
        f"bert.{name}" if name.startswith(("mlmloss.dense", "mlmloss.layernorm")) else name: array
        for name, array in tensors.items()
    }
    moved["bert.mlmloss.vocab_dense.weight"] = tensors["bert.word_embedding.embedding_table"].copy()
    converted = tmp_path / "converted"
    converted.mkdir()
    shutil.copy(folder / "config.json", converted)
    save_file(moved, converted / "model.safetensors")
    back = arrays_of(carry(converted, "bert", tmp_path / "back"))
    assert_same(back, arrays_of(carry(folder, "bert", tmp_path / "back2")))
    # It writes neither the decoder's bias nor the other head.
    left = {n: a for n, a in moved.items() if not n.startswith(("mlmloss.output", "nsploss"))}
    save_file(left, converted / "model.safetensors")
    with pytest.raises(PlanError, match=r"missing: mlmloss\.output_bias"):
        prepare(converted, "bert", head="mlm")
    words = carry(converted, "bert", tmp_path / "words", head="mlm", allow_missing=True)
    made = arrays_of(words)
    assert not made["cls.predictions.bias"].any()
    wanted = arrays_of(original)["cls.predictions.transform.dense.weight"]
    assert np.array_equal(made["cls.predictions.transform.dense.weight"], wanted)
    # A decoder that differs from the table it is tied to is noticed.
    moved["bert.mlmloss.vocab_dense.weight"][0, 0] += 1
    save_file(moved, converted / "model.safetensors")
    with pytest.raises(MindportError, match="values differ"):
        carry(converted, "bert", tmp_path / "back3")


def test_what_has_no_place_is_not_lost_unasked(checkpoint, tmp_path):
    source = checkpoint("gpt2", "lm", tie_word_embeddings=False)
    with pytest.raises(PlanError) as raised:
        prepare(source, "gpt2", to="mindformers")
    (problem,) = raised.value.problems
    assert problem.startswith("lost: lm_head.weight")
    assert "--allow-loss" in raised.value.hint
    plan = prepare(source, "gpt2", to="mindformers", allow_loss=True).plan
    (entry,) = [e for e in plan.entries if e.action == "ignored"]
    assert entry.source == "lm_head.weight"
    assert "allowed to be lost" in entry.reason
    assert "head.head_weight" not in plan.written
    done = CliRunner().invoke(
        main, ["gpt2", str(source), "--to", "mindformers", "--allow-loss", "--dry-run"]
    )
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", ["roberta", "distilbert"])
def test_other_architectures_are_refused(checkpoint, name):
    with pytest.raises(MindportError, match="MindFormers has no"):
        prepare(checkpoint(name, "mlm"), name, to="mindformers")


def test_a_dialect_holds_only_what_it_has(checkpoint, tmp_path):
    ours = carry(checkpoint("roberta", "mlm"), "roberta", tmp_path / "x")
    names, architecture = open_checkpoint(ours).reader.infos, load_architecture("roberta")
    assert holds_embeddings(architecture, names, MINDSPORE)
    assert not holds_embeddings(architecture, names, MINDFORMERS)


@pytest.mark.parametrize("head", ["mlm", "nsp"])
def test_heads_without_a_network_are_refused(checkpoint, head):
    with pytest.raises(MindportError, match="has no network") as raised:
        prepare(checkpoint("bert", head), "bert", to="mindformers")
    assert "pretraining" in raised.value.hint


def test_the_three_dialects_are_told_apart():
    for name in MINDFORMERS.layouts:
        architecture = load_architecture(name)
        for dialect in (TORCH, MINDSPORE, MINDFORMERS):
            names = [
                stored
                for p in architecture.heads["none"].body
                for stored in dialect.stored_names(name, p.module, p.kind, architecture.prefix)
            ]
            assert detect_dialect(names) is dialect


def test_inspect_and_explain_know_it(checkpoint, tmp_path):
    folder = carry(checkpoint("bert", "pretraining"), "bert", tmp_path / "x", to="mindformers")
    done = CliRunner().invoke(main, ["inspect", str(folder), "--json"])
    content = json.loads(done.output)
    assert (content["layout"], content["head"]) == ("mindformers", "pretraining")
    done = CliRunner().invoke(
        main,
        [
            "explain",
            "bert",
            "*intermediate*",
            "--head",
            "pretraining",
            "--to",
            "mindformers",
            "--json",
        ],
    )
    weight, _ = json.loads(done.output)["parameters"][:2]
    assert weight["target"] == "bert.bert_encoder.encoder.blocks.0.output.mapping.weight"
    assert (weight["layout"], weight["back"]) == ("transpose", "transpose")
