"""The command that a verdict names asks for the same thing again."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import click
import pytest

from mindport.migrate.porting import port, prepare
from mindport.validate.cli import main
from mindport.validate.provenance import command_of, read_mapping
from mindport.validate.request import Request

# Something else than the default, of every option.
OTHERS = {
    "checkpoint": "random", "candidate_checkpoint": Path("ms"), "config_file": Path("c.json"),
    "size": "base", "head": "lm", "inputs": Path("in.txt"), "batch": 2, "length": 8, "seed": 3,
    "policy": "community-1e-3", "atol": 1e-3, "rtol": 1e-4, "backend": "mindnlp",
    "device": "GPU", "reference_device": "GPU", "dtype": "float16", "mode": "graph",
    "accept": ("mindspore-cpu-tanh",),
    "reference_dtype": "bfloat16", "attention": "fused", "reference_attention": "sdpa",
    "python": "/usr/bin/python", "reference_python": "python3", "prompts": "sentiment",
    "prompt_limit": 5, "shots": 2, "timeout": 60.0, "threads": 1, "blocks_only": True,
    "emulate": "hf32", "matmul": "tf32", "candidate": "port.py:build", "taps_file": Path("t.yaml"),
    "gradients": True, "allow_missing": True, "reference_capture": Path("r"),
    "candidate_capture": Path("c d"),
}  # fmt: skip


def parse(words):
    assert words[0] == "validate"
    command = main.get_command(click.Context(main), words[1])
    context = command.make_context("validate", list(words[2:]))
    known = {field.name for field in fields(Request)}
    return Request(words[1], **{k: v for k, v in context.params.items() if k in known})


def test_the_shortest():
    assert command_of(Request("gpt2")) == ("validate", "gpt2")
    assert parse(command_of(Request("bert"))) == Request("bert")


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_each_option_comes_back(name):
    request = replace(Request("gpt2"), **{name: OTHERS[name]})
    assert parse(command_of(request)) == request


def test_each_field_of_a_request_is_an_option():
    options = {p.name for p in main.get_command(click.Context(main), "gpt2").params}
    assert {field.name for field in fields(Request)} - {"architecture"} <= options
    assert {field.name for field in fields(Request)} - {"architecture"} == set(OTHERS)


def test_the_mapping_is_the_ports(checkpoint, tmp_path):
    folder = port(prepare(checkpoint("gpt2", "lm"), "gpt2"), tmp_path / "ms")
    mapping = read_mapping(folder)
    assert (mapping["source"], mapping["target"], mapping["left_out"]) == ("torch", "mindspore", 0)
    assert sum(mapping["totals"][fate] for fate in ("ported", "tied")) <= len(mapping["parameters"])
    fates = {entry["source"]: entry for entry in mapping["parameters"]}
    assert fates["transformer.h.0.attn.c_attn.weight"]["layout"] == "transpose"
    assert read_mapping(tmp_path) is None
