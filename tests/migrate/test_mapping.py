"""Map files: read, checked against both sides, and carried out both ways."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from mindport.migrate.cli import main
from tests.migrate.weights import arrays_of, assert_same


def run(*argv):
    done = CliRunner().invoke(main, ["map", *map(str, argv)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


MAP = """
schema: 1
tensors:
  - {source: "a.{i}.norm.scale", target: "b.{i}.n.gamma"}
  - {source: "a.{i}.up.weight", target: "b.{i}.mapping.weight", transpose: true}
  - source: "a.{i}.qkv.weight"
    target: ["b.{i}.q.weight", "b.{i}.k.weight", "b.{i}.v.weight"]
    split: {axis: 1}
    transpose: true
  - source: ["a.{i}.k.bias", "a.{i}.v.bias"]
    target: "b.{i}.kv.bias"
    fuse: {axis: 0, heads: 2}
  - {source: [words, decoder], target: table, tie: true}
drop:
  - {source: "a.{i}.mask", reason: a mask}
"""


@pytest.fixture
def source(tmp_path):
    random = np.random.default_rng(0)
    tensors = {"words": random.normal(size=(7, 4)).astype(np.float32)}
    tensors["decoder"] = tensors["words"].copy()
    for layer in range(2):
        for name, shape in {
            "norm.scale": (4,),
            "up.weight": (8, 4),
            "qkv.weight": (4, 12),
            "k.bias": (4,),
            "v.bias": (4,),
        }.items():
            tensors[f"a.{layer}.{name}"] = random.normal(size=shape).astype(np.float32)
        tensors[f"a.{layer}.mask"] = np.ones((4, 4), np.uint8)
    path = tmp_path / "source.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture
def given(tmp_path):
    """Write a map file and return its path."""

    def write(text, name="map.yaml"):
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    return write


def test_all_that_a_rule_may_do_and_the_way_back(source, given, tmp_path):
    file = given(MAP)
    done = run(source, tmp_path / "out", "--map", file, "--report", tmp_path / "report.json")
    assert done.exit_code == 0, done.output
    ours, theirs = load_file(source), arrays_of(tmp_path / "out")
    assert set(theirs) == {"table"} | {
        f"b.{layer}.{name}"
        for layer in range(2)
        for name in ("n.gamma", "mapping.weight", "q.weight", "k.weight", "v.weight", "kv.bias")
    }
    assert np.array_equal(theirs["b.1.mapping.weight"], ours["a.1.up.weight"].T)
    assert np.array_equal(theirs["b.1.k.weight"], ours["a.1.qkv.weight"][:, 4:8].T)
    k, v = ours["a.0.k.bias"], ours["a.0.v.bias"]
    assert np.array_equal(theirs["b.0.kv.bias"], np.concatenate([k[:2], v[:2], k[2:], v[2:]]))
    assert np.array_equal(theirs["table"], ours["words"])
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["totals"]["tied"], report["totals"]["dropped"]) == (1, 2)
    assert (report["verified"], report["architecture"]) == (True, None)
    assert not (tmp_path / "out" / "config.json").exists()  # the source has none
    done = run(tmp_path / "out", tmp_path / "back", "--map", file, "--back")
    assert done.exit_code == 0, done.output
    for layer in range(2):
        del ours[f"a.{layer}.mask"]
    assert_same(arrays_of(tmp_path / "back"), ours)


def test_tied_tensors_that_differ_are_noticed(source, given, tmp_path):
    tensors = load_file(source)
    tensors["decoder"][0, 0] += 1
    save_file(tensors, source)
    done = run(source, tmp_path / "out", "--map", given(MAP))
    assert done.exit_code == 2
    assert "values differ" in done.output
    assert not (tmp_path / "out").exists()


def test_everything_that_does_not_fit_is_told_at_once(source, given, tmp_path):
    text = MAP.replace("a.{i}.norm.scale", "a.{i}.nrm.scale").replace("axis: 1", "axis: 0")
    text = text.replace('target: "b.{i}.kv.bias"', 'target: "b.{i}.mapping.weight"')
    text = text.replace('  - {source: "a.{i}.mask", reason: a mask}', "")
    like = tmp_path / "like.safetensors"
    save_file({"table": np.zeros((3, 4)), "more": np.zeros(2)}, like)
    done = run(source, tmp_path / "out", "--map", given(text), "--like", like)
    assert done.exit_code == 2
    for said in (
        "missing: entry 1, a.{i}.nrm.scale (near it: a.",
        "mis-shaped: entry 3",
        "set twice: b.0.mapping.weight, by entry 2 and entry 4",
        "unused: a.0.norm.scale [4]",
        "unused: a.1.mask [4, 4]",
        "not set: more [2]",
        "mis-shaped: table would have [7, 4], the target wants [3, 4]",
        "unknown: the target has no b.0.q.weight",
        "--allow-unexpected",
    ):
        assert said in " ".join(done.output.split()), said
    assert not (tmp_path / "out").exists()


def test_what_is_marked_is_not_taken_unasked(source, given, tmp_path):
    text = MAP.replace(
        'target: "b.{i}.n.gamma"',
        'target: "b.{i}.n.gamma", ambiguous: true, candidates: ["a.{i}.k.bias"]',
    )
    done = run(source, tmp_path / "out", "--map", given(text))
    assert done.exit_code == 2
    assert "undecided: entry 1, b.{i}.n.gamma from a.{i}.norm.scale or a.{i}.k.bias" in " ".join(
        done.output.split()
    )
    done = run(source, tmp_path / "out", "--map", given(text), "--accept-ambiguous")
    assert done.exit_code == 0, done.output
    assert "accepted" in done.output
    assert "b.{i}.n.gamma" in done.output


def test_a_cast_and_other_forms(source, given, tmp_path):
    done = run(source, tmp_path / "out", "--map", given(MAP), "--dtype", "float16",
               "--format", "ckpt", "--max-shard-size", "100")  # fmt: skip
    assert done.exit_code == 0, done.output
    made = arrays_of(tmp_path / "out")
    assert {array.dtype for array in made.values()} == {np.dtype(np.float16)}


def test_troubleshooters_maps(given, tmp_path):
    convert = "troubleshooter.migrator.mapping_relation.weight_adapter.trans_conv1d_weight_value"
    tensors = {"ln.weight": np.arange(3.0), "conv.weight": np.arange(12.0).reshape(2, 3, 2)}
    source = tmp_path / "source.safetensors"
    save_file(tensors, source)
    content = [{"ln.weight": "ln.gamma", "conv.weight": "conv.weight"}, {"conv.weight": convert}]
    file = given(content, "net_map.json")
    done = run(source, tmp_path / "out", "--map", file)
    assert done.exit_code == 0, done.output
    made = arrays_of(tmp_path / "out")
    assert np.array_equal(made["ln.gamma"], tensors["ln.weight"])
    assert made["conv.weight"].shape == (2, 3, 1, 2)
    assert np.array_equal(made["conv.weight"][:, :, 0], tensors["conv.weight"])
    assert run(tmp_path / "out", tmp_path / "back", "--map", file, "--back").exit_code == 0
    assert_same(arrays_of(tmp_path / "back"), tensors)
    content[1]["ln.weight"] = "os.system"  # nothing is imported or called
    done = run(source, tmp_path / "x", "--map", given(content, "net_map.json"))
    assert done.exit_code == 2
    assert "there is no conversion 'os.system' here" in done.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2", "cannot be read as a map"),
        ("a: 1\na: 2", "stands in it twice"),
        ("? [a]\n: b", "cannot be read as a map"),
        ("!!python/object/apply:os.system [ls]", "cannot be read as a map"),
        ("just words", "`tensors:` is needed"),
        ("[{}, {}, {}]", "TroubleShooter's form"),
        ("tensor: []", "Did you mean 'tensors'"),
        ("tensors: 3", "tensors is not a list"),
        ("schema: 2", "schema 2"),
        ("tensors: [{source: a}]", "target is None"),
        ("tensors: [{source: a, target: b, transposed: true}]", "Did you mean 'transpose'"),
        ("tensors: [{source: a, target: b, transpose: 1}]", "not true or false"),
        ("tensors: [{source: a, target: [b, c]}]", "split is needed for 1 to 2"),
        ("tensors: [{source: [a, b], target: c, split: {axis: 0}}]", "fuse is needed"),
        ("tensors: [{source: [a, b], target: [c, d], tie: true}]", "several sources"),
        ("tensors: [{source: [a, b], target: c, fuse: 0.5}]", "like {axis: 0}"),
        ("tensors: [{source: [a, b], target: c, fuse: {axis: -1}}]", "like {axis: 0}"),
        ('tensors: [{source: "a.{i}", target: b}]', "same numbers"),
        ("drop: [{source: a}]", "`reason` are needed"),
    ],
)
def test_what_is_no_map(source, given, tmp_path, text, said):
    done = run(source, tmp_path / "out", "--map", given(text))
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split())


@pytest.mark.parametrize("cut", ["{axis: 5}", "{axis: 1, heads: 5}"])
def test_cuts_that_do_not_go(source, given, tmp_path, cut):
    done = run(source, tmp_path / "out", "--map", given(MAP.replace("{axis: 1}", cut)))
    assert done.exit_code == 2
    assert "mis-shaped: entry 3" in done.output
    assert "index out of range" not in done.output


def test_a_map_of_nothing(source, given, tmp_path):
    done = run(source, tmp_path / "out", "--map", given("tensors: []"), "--allow-unexpected")
    assert done.exit_code == 2
    assert "sets no tensor" in done.output


def test_no_such_map(source, tmp_path):
    done = run(source, tmp_path / "out", "--map", tmp_path / "none.yaml")
    assert done.exit_code == 2
    assert "No such file" in done.output
