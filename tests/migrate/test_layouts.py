"""Dialects that name, fuse and split otherwise than upstream: both ways, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mindport.migrate.architectures import load_architecture
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.tensors import TensorInfo
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.dialect import MINDSPORE, TORCH
from mindport.migrate.errors import PlanError
from mindport.migrate.layout import Layout, Rule
from mindport.migrate.plan import make_plan

_SELF = "encoder.layer.{i}.attention.self"
_BERT_QKV = (f"{_SELF}.query", f"{_SELF}.key", f"{_SELF}.value")
_GPT2_QKV = tuple(f"blocks.{{i}}.attention.dense{n}" for n in (1, 2, 3))
# As some MindSpore libraries have them: GPT-2's projections apart, under other names, and BERT's
# fused head by head.
OTHER = replace(
    MINDSPORE,
    name="other",
    layouts={
        "gpt2": Layout(
            (
                Rule(("h.{i}.attn.c_attn",), _GPT2_QKV),
                Rule(("h.{i}.attn.c_proj",), ("blocks.{i}.attention.projection",)),
                Rule(("wte",), ("embedding.word",)),
            ),
            prefix="backbone.",
        ),
        "bert": Layout((Rule(_BERT_QKV, (f"{_SELF}.qkv",), heads="num_attention_heads"),)),
    },
)
PLAIN_FUSION = replace(
    OTHER, name="plain", layouts={"bert": Layout((Rule(_BERT_QKV, (f"{_SELF}.qkv",)),))}
)
HEADS = {"gpt2": "lm", "bert": "mlm"}


def plan_of(tensors, name, config, source, target, **choices):
    architecture = load_architecture(name)
    infos = {n: TensorInfo(a.dtype.name, a.shape) for n, a in tensors.items()}
    head = architecture.heads[HEADS[name]]
    return make_plan(architecture, head, config, infos, source=source, target=target, **choices)


def carry(tensors, name, config, source, target, **choices):
    """Return what a port makes of tensors, each checked as what is read back is."""
    plan = plan_of(tensors, name, config, source, target, **choices)
    made = {}
    for entry in plan.entries:
        if entry.action == "ported":
            array = entry.assemble(tensors.__getitem__)
            array = array if entry.cast is None else entry.cast.apply(array)
            assert (array.shape, array.dtype.name) == (entry.target_shape, entry.target_dtype)
            assert entry.agrees(tensors.__getitem__, np.ascontiguousarray(array))
            spoilt = np.ascontiguousarray(array).copy()
            spoilt.flat[-1] += 1
            assert not entry.agrees(tensors.__getitem__, spoilt), entry.target
            made[entry.target] = array
    assert {n: TensorInfo(a.dtype.name, a.shape) for n, a in made.items()} == plan.written
    return made


@pytest.fixture
def original(checkpoint):
    def read(name):
        folder = checkpoint(name, HEADS[name])
        reader = open_checkpoint(folder).reader
        config = resolve_config(load_architecture(name), read_config_file(folder / "config.json"))
        return {n: reader.read(n) for n in reader.infos}, config

    return read


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.shape == other[name].shape, name
        assert array.tobytes() == other[name].tobytes(), name


@pytest.mark.parametrize("name", ["gpt2", "bert"])
@pytest.mark.parametrize("other", [OTHER, PLAIN_FUSION], ids=lambda dialect: dialect.name)
def test_there_and_back(original, name, other):
    tensors, config = original(name)
    there = carry(tensors, name, config, TORCH, other)
    assert_same(carry(there, name, config, other, TORCH), tensors)
    direct = carry(tensors, name, config, TORCH, MINDSPORE)
    assert_same(carry(there, name, config, other, MINDSPORE), direct)
    assert_same(carry(direct, name, config, MINDSPORE, other), there)


def test_split_projections_are_thirds(original):
    tensors, config = original("gpt2")
    there = carry(tensors, "gpt2", config, TORCH, OTHER)
    assert not [name for name in there if "c_attn" in name or name.startswith("transformer.")]
    fused = tensors["transformer.h.1.attn.c_attn.weight"]  # (in, 3 * out)
    for n, third in enumerate(np.split(fused, 3, axis=1), 1):
        assert np.array_equal(there[f"backbone.blocks.1.attention.dense{n}.weight"], third.T)
    assert "backbone.embedding.word.embedding_table" in there
    assert there["backbone.blocks.0.attention.dense2.bias"].shape == (64,)


def test_fused_projections_stand_head_by_head(original):
    tensors, config = original("bert")
    there = carry(tensors, "bert", config, TORCH, OTHER)
    stem = "bert.encoder.layer.2.attention.self"
    fused = there[f"{stem}.qkv.weight"]
    rows = fused.reshape(config["num_attention_heads"], 3, -1, fused.shape[-1])
    for n, part in enumerate(("query", "key", "value")):
        assert np.array_equal(rows[:, n].reshape(64, 64), tensors[f"{stem}.{part}.weight"])


def test_between_two_fusions_of_another_order(original):
    tensors, config = original("bert")
    by_head = carry(tensors, "bert", config, TORCH, OTHER)
    plain = carry(by_head, "bert", config, OTHER, PLAIN_FUSION)
    assert_same(plain, carry(tensors, "bert", config, TORCH, PLAIN_FUSION))


def test_what_stays_fused_is_copied_as_it_is(original):
    tensors, config = original("bert")
    there = carry(tensors, "bert", config, TORCH, OTHER)
    plan = plan_of(there, "bert", config, OTHER, replace(OTHER, name="another"))
    assert {entry.layout for entry in plan.entries} == {"copy"}
    assert not any(entry.pieces for entry in plan.entries)


def test_an_entry_says_what_it_is_made_of_before_a_byte_is_read(original):
    tensors, config = original("bert")
    plan = plan_of(tensors, "bert", config, TORCH, OTHER, dtype="float16")
    (entry,) = [e for e in plan.entries if e.target.endswith("layer.0.attention.self.qkv.weight")]
    stem = "bert.encoder.layer.0.attention.self"
    assert entry.sources == tuple(f"{stem}.{n}.weight" for n in ("query", "key", "value"))
    assert (entry.source, entry.target_shape, entry.target_dtype) == ("", (192, 64), "float16")
    assert entry.layout == "concatenate 3 along axis 0, 4 heads in turn"
    assert entry.to_dict()["sources"] == list(entry.sources)
    assert plan.totals()["source"] == len(tensors)


def test_a_missing_part_is_named(original):
    tensors, config = original("bert")
    del tensors["bert.encoder.layer.0.attention.self.key.bias"]
    with pytest.raises(PlanError) as raised:
        plan_of(tensors, "bert", config, TORCH, OTHER)
    assert raised.value.problems[0].startswith("missing: bert.encoder.layer.0.attention.self.key")
    with pytest.raises(PlanError) as raised:  # a third cannot be given initial values
        plan_of(tensors, "bert", config, TORCH, OTHER, allow_missing=True)
    assert "incomplete" in raised.value.problems[0]


def test_parts_of_different_dtypes_are_refused(original):
    tensors, config = original("bert")
    name = "bert.encoder.layer.0.attention.self.key.weight"
    tensors[name] = tensors[name].astype(np.float16)
    with pytest.raises(PlanError, match="of different dtypes"):
        plan_of(tensors, "bert", config, TORCH, OTHER)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rule(("a", "b"), ("c", "d")),
        lambda: Rule((), ("c",)),
        lambda: Layout((Rule(("a",), ("b",)), Rule(("a",), ("c",)))),
        lambda: Layout((Rule(("a",), ("b",)), Rule(("c",), ("b",)))),
    ],
)
def test_impossible_rules_are_refused(make):
    with pytest.raises(ValueError, match=r"rule"):
        make()


def test_a_rule_must_find_what_it_fuses(original):
    tensors, config = original("bert")
    wrong = {"bert": Layout((Rule((f"{_SELF}.query", "nowhere"), ("x",)),))}
    with pytest.raises(ValueError, match="fuses nowhere"):
        plan_of(tensors, "bert", config, TORCH, replace(OTHER, layouts=wrong))
    tables = ("embeddings.word_embeddings", "embeddings.position_embeddings")
    wrong = {"bert": Layout((Rule(tables, ("x",)),))}
    with pytest.raises(ValueError, match="cannot be fused"):
        plan_of(tensors, "bert", config, TORCH, replace(OTHER, layouts=wrong))
