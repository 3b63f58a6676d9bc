"""Configs: what is required, what has a default, what is refused."""

from __future__ import annotations

import pytest

from mindport.migrate.architecture import dimension, network_order
from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.errors import ConfigError

GPT2 = load_architecture("gpt2")


def test_defaults_are_upstreams():
    config = resolve_config(GPT2, GPT2.sizes["base"])
    assert config["n_inner"] == 3072
    assert config["layer_norm_epsilon"] == 1e-5
    assert config["num_labels"] == 2


def test_all_missing_fields_are_named_with_a_guess():
    config = dict(GPT2.sizes["tiny"])
    config["n_layers"] = config.pop("n_layer")
    del config["vocab_size"]
    with pytest.raises(ConfigError) as caught:
        resolve_config(GPT2, config)
    assert "lacks 'n_layer'. Did you mean 'n_layers'?" in caught.value.message
    assert "lacks 'vocab_size'" in caught.value.message


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("n_layer", 0, "not a positive whole number"),
        ("n_layer", "12", "not a positive whole number"),
        ("n_layer", True, "not a positive whole number"),
        ("n_head", 5, "not a multiple"),
        ("activation_function", "swish", "only 'gelu_new' or 'gelu' or 'relu' is implemented"),
        ("add_cross_attention", True, "only False is implemented"),
        ("layer_norm_epsilon", "small", "not a number"),
        ("num_labels", 0, "'num_labels' is 0"),
    ],
)
def test_impossible_values(field, value, said):
    with pytest.raises(ConfigError, match=said):
        resolve_config(GPT2, {**GPT2.sizes["tiny"], field: value})


def test_labels_come_from_their_names():
    config = resolve_config(GPT2, {**GPT2.sizes["tiny"], "id2label": {0: "a", 1: "b", 2: "c"}})
    assert config["num_labels"] == 3


def test_files_that_are_no_config(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(ConfigError, match="There is no config"):
        read_config_file(path)
    for text, said in (("{", "cannot be read as JSON"), ("[]", "not a JSON object")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=said):
            read_config_file(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        read_config_file(path)


def test_taps_stand_in_network_order():
    taps = network_order(GPT2.heads["lm"].taps, 2)
    names = [tap.name for tap in taps if not tap.detail]
    assert names == [
        "embeddings",
        "block.0.attention", "block.0.mlp", "block.0",
        "block.1.attention", "block.1.mlp", "block.1",
        "final_norm", "logits",
    ]  # fmt: skip
    assert [tap.name for tap in taps if tap.name.startswith("block.1")] == [
        "block.1.norm_1", "block.1.query", "block.1.key", "block.1.value", "block.1.scores",
        "block.1.weights", "block.1.context", "block.1.attention", "block.1.residual",
        "block.1.norm_2", "block.1.up", "block.1.activation", "block.1.mlp", "block.1",
    ]  # fmt: skip


def test_dimension_refuses_what_is_no_number():
    assert dimension("3*n_embd", {"n_embd": 4}) == 12
    with pytest.raises(TypeError, match="not a whole number"):
        dimension("n_embd", {"n_embd": "4"})


@pytest.mark.parametrize("name", architecture_names())
def test_descriptions_are_whole(name):
    architecture = load_architecture(name)
    assert architecture.name == name
    assert architecture.default_head in architecture.heads
    for size in architecture.sizes.values():
        resolve_config(architecture, size)
    for key, head in architecture.heads.items():
        assert key == head.name
        assert len({t.name for t in head.taps}) == len(head.taps)
        assert all(bool(t.module) != bool(t.output) for t in head.taps)
