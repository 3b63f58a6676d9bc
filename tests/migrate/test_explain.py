"""What is said of a parameter, without weights."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.cli import main
from mindport.migrate.explain import Wanted, explain
from mindport.migrate.porting import prepare


def run(*argv):
    done = CliRunner().invoke(main, ["explain", *map(str, argv)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def lines(*argv):
    done = run(*argv, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.output)["parameters"]


@pytest.mark.parametrize("to", ["mindspore", "torch"])
def test_every_head_is_explained_as_it_is_ported(every_head, checkpoint, tmp_path, to):
    name, head = every_head
    source = checkpoint(name, head)
    shutil.copy(source / "config.json", tmp_path)
    plan = explain(Wanted(str(tmp_path), to=to))
    assert plan.head.name == head
    ported = {e.target: e for e in plan.entries if e.action == "ported"}
    if to == "mindspore":
        real = {e.target: e for e in prepare(source, name).plan.entries if e.action == "ported"}
        assert ported == real
    else:
        assert {e.source for e in explain(Wanted(str(tmp_path))).entries} >= set(ported)


@pytest.mark.parametrize("name", architecture_names())
def test_an_architecture_alone(name):
    found = lines(name, "--size", "tiny")
    assert {line["action"] for line in found} == {"ported", "tied", "dropped", "ignored"}
    assert all(line["back"] for line in found)
    reasons = {line["reason"] for line in found if line["action"] == "dropped"}
    assert reasons == {buffer.reason for buffer in load_architecture(name).buffers}


def test_one_parameter():
    (line, *others) = lines("gpt2", "h.{i}.attn.c_attn.weight")
    assert len(others) == 11
    assert line["source"] == "transformer.h.0.attn.c_attn.weight"
    assert (line["kind"], line["layout"], line["back"]) == ("conv1d", "transpose", "transpose")
    assert (line["shape"], line["target_shape"]) == ([768, 2304], [2304, 768])
    assert lines("gpt2", line["source"]) == [line]


def test_a_tied_one_and_a_buffer():
    (line,) = lines("gpt2", "lm_head.weight")
    assert (line["action"], line["target"]) == ("tied", "transformer.wte.embedding_table")
    assert line["back"].startswith("repeat")
    (line, *_) = lines("gpt2", "*.attn.bias", "--size", "tiny")
    assert (line["action"], line["back"][:4]) == ("dropped", "none")


def test_another_vocabulary():
    (line,) = lines("distilbert", "vocab_projector.bias", "--vocab-size", "30528")
    assert line["layout"].startswith("pad tokens 30522 to 30528")
    assert line["back"] == "cut tokens 30528 to 30522"
    (line,) = lines("distilbert", "vocab_projector.bias", "--vocab-size", "30000")
    assert line["back"].startswith("none: the last 522 tokens")


def test_layers_are_shown_once():
    done = run("roberta", "*query*")
    assert done.output.count("x 12") == 2
    assert "roberta.encoder.layer.{i}" in "".join(done.output.split())


def test_a_checkpoint_is_explained_by_its_own_names(checkpoint):
    (line,) = lines(checkpoint("bert", "nsp"), "cls.seq_relationship.bias")
    assert line["shape"] == [2]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("bert", "kuery"), "bert.encoder.layer.{i}.attention.self.query.bias"),
        (("gpt2", "transformer.h.0.attn.c_atn.weight"), "c_attn.weight"),
        (("berd",), "Did you mean 'bert'"),
        (("gpt2", "--to", "mindspoor"), "'mindspoor' is not one of 'torch', 'mindspore'"),
        (("gpt2", "--size", "huge"), "no size 'huge'"),
        (("gpt2", "--head", "mlm"), "has no head 'mlm'"),
        (("{empty}",), "holds no weights"),
        (("{config}",), "names no model_type"),
        (("{config}", "--size", "tiny"), "--size is for an architecture"),
    ],
)
def test_what_cannot_be_explained(tmp_path, argv, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.json").write_text("{}")
    places = {name: str(tmp_path / name) for name in ("empty", "config")}
    words = [word.format(**places) if word.startswith("{") else word for word in argv]
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert said in "".join(done.output.splitlines())
