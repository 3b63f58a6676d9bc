"""What is proposed between two checkpoints: right where it is sure, and marked where it is not."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from mindport.migrate.checkpoints.tensors import TensorInfo
from mindport.migrate.cli import main
from mindport.migrate.guess.groups import group_tensors
from mindport.migrate.guess.guess import guess_map
from mindport.migrate.guess.words import likeness
from mindport.migrate.mapping.weight_map import bindings, fill_in
from mindport.migrate.porting import port, prepare
from tests.migrate.weights import arrays_of, assert_same

WIDTH, LAYERS = 6, 3


def run(*argv):
    done = CliRunner().invoke(main, [str(word) for word in argv])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


class Held:
    """Tensors in memory, read like a file's."""

    def __init__(self, arrays):
        self._arrays = arrays
        self.infos = {n: TensorInfo(a.dtype.name, a.shape) for n, a in arrays.items()}

    def read(self, name):
        return self._arrays[name]


def wrong(guess, source, target):
    """Return the sure rules that do not make the target's numbers of the source's."""
    found = []
    for proposal in guess.proposals:
        rule = proposal.rule
        if not proposal.sure:
            continue
        numbers = bindings(rule.sources[0], source)
        assert numbers, rule
        for binding in numbers:
            mine = [source[fill_in(name, binding)] for name in rule.sources]
            theirs = [target[fill_in(name, binding)] for name in rule.targets]
            if rule.split is not None:
                mine = list(rule.split.apply(mine[0]))
            for operation in rule.operations:
                mine = [operation.apply(array) for array in mine]
            if rule.joint is not None:
                mine = [rule.joint.apply(mine)]
            if not all(np.array_equal(a, b) for a in mine for b in theirs) and not (
                rule.split is not None and all(map(np.array_equal, mine, theirs))
            ):
                found.append(rule)
    return found


@pytest.mark.parametrize(("name", "head"), [("gpt2", "lm"), ("bert", "pretraining")])
@pytest.mark.parametrize("to", ["mindspore", "mindformers"])
def test_known_dialects(checkpoint, tmp_path, name, head, to):
    original = checkpoint(name, head)
    there = port(prepare(original, name, to=to), tmp_path / "there")
    done = run("guess", original, there, "--values", "-o", tmp_path / "map.yaml", "--json")
    content = json.loads(done.output)
    assert done.exit_code == 0, content
    assert content["certain"]
    done = run("map", original, tmp_path / "mapped", "--map", tmp_path / "map.yaml",
               "--like", there)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert_same(arrays_of(tmp_path / "mapped"), arrays_of(there))
    done = run("map", there, tmp_path / "back", "--map", tmp_path / "map.yaml", "--back")
    assert done.exit_code == 0, done.output
    assert_same(arrays_of(tmp_path / "back"), arrays_of(original))
    # Without the numbers less is sure, and nothing of that is wrong.
    one, other = arrays_of(original), arrays_of(there)
    guess = guess_map(Held(one), Held(other))
    assert not guess.certain
    assert not wrong(guess, one, other)
    assert any(proposal.sure for proposal in guess.proposals)


def test_a_port_with_names_of_its_own(checkpoint, tmp_path):
    names = runpy.run_path(str(Path(__file__).parents[2] / "examples/own_port/my_port.py"))["NAMES"]
    original = checkpoint("gpt2", "lm")
    ours = arrays_of(port(prepare(original, "gpt2"), tmp_path / "ours"))
    theirs = {}
    for name, pattern in names.items():
        for binding in bindings(pattern, ours):
            theirs[fill_in(name, binding)] = np.ascontiguousarray(ours[fill_in(pattern, binding)])
    assert len(theirs) == len(ours)
    save_file(theirs, tmp_path / "own.safetensors")
    done = run(
        "guess", original, tmp_path / "own.safetensors", "--values", "-o", tmp_path / "m.yaml"
    )
    assert done.exit_code == 0, done.output
    done = run("map", original, tmp_path / "x", "--map", tmp_path / "m.yaml")
    assert done.exit_code == 0, done.output
    assert_same(arrays_of(tmp_path / "x"), theirs)
    source = arrays_of(original)
    assert not wrong(guess_map(Held(source), Held(theirs)), source, theirs)


# A block of some architecture: modules with the shapes of weight and bias.
_MODULES = {
    "embed.words": ((11, WIDTH), None),
    "embed.places": ((7, WIDTH), None),
    "stack.{i}.first": ((WIDTH,), (WIDTH,)),
    "stack.{i}.attend.query": ((WIDTH, WIDTH), (WIDTH,)),
    "stack.{i}.attend.key": ((WIDTH, WIDTH), (WIDTH,)),
    "stack.{i}.attend.value": ((WIDTH, WIDTH), (WIDTH,)),
    "stack.{i}.attend.out": ((WIDTH, WIDTH), (WIDTH,)),
    "stack.{i}.second": ((WIDTH,), (WIDTH,)),
    "stack.{i}.feed.up": ((24, WIDTH), (24,)),
    "stack.{i}.feed.down": ((WIDTH, 24), (WIDTH,)),
    "last": ((WIDTH,), (WIDTH,)),
}
_WORDS = sorted({word for module in _MODULES for word in module.split(".") if word != "{i}"})
_OTHER = st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=7)


def make(random):
    tensors = {}
    for module, shapes in _MODULES.items():
        for layer in range(LAYERS if "{i}" in module else 1):
            for suffix, shape in zip(("weight", "bias"), shapes, strict=True):
                if shape is not None:
                    name = f"{module.replace('{i}', str(layer))}.{suffix}"
                    tensors[name] = random.normal(size=shape).astype(np.float32)
    return tensors


@st.composite
def renamings(draw):
    """Two checkpoints: one of other words, order and layout; perhaps one lacks a module."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    source = make(random)
    words = draw(st.lists(_OTHER, min_size=len(_WORDS), max_size=len(_WORDS), unique=True))
    kept = draw(st.sets(st.sampled_from(_WORDS)))
    names = {w: w if w in kept else new for w, new in zip(_WORDS, words, strict=True)}
    turned = draw(st.sets(st.sampled_from(sorted(_MODULES))))
    missing = draw(st.sampled_from([None, None, *sorted(_MODULES)]))
    fused = draw(st.booleans())
    if fused:  # parts of one matrix stand all the same way round
        parts = {f"stack.{{i}}.attend.{part}" for part in ("query", "key", "value")}
        turned = turned | parts if turned & parts else turned
    target = {}
    for name, array in source.items():
        path = name.split(".")[:-1]
        module = ".".join("{i}" if part.isdigit() else part for part in path)
        stem = ".".join(names.get(part, part) for part in path)
        is_norm = array.ndim == 1 and len(source[name.rpartition(".")[0] + ".weight"].shape) == 1
        suffix = name.rpartition(".")[2]
        if is_norm:
            suffix = {"weight": "gamma", "bias": "beta"}[suffix]
        if module != missing:
            target[f"{stem}.{suffix}"] = (
                np.ascontiguousarray(array.T) if module in turned else array
            )
    if fused and "attend" not in (missing or ""):
        fuse(source, random)
    if draw(st.booleans()):
        items = list(target.items())
        random.shuffle(items)
        target = dict(items)
    if missing and draw(st.booleans()):
        source, target = target, source
    return source, target


def fuse(tensors, random):
    """Put query, key and value together, as the source's."""
    for layer in range(LAYERS):
        stem = f"stack.{layer}.attend"
        for suffix in ("weight", "bias"):
            parts = [tensors.pop(f"{stem}.{part}.{suffix}") for part in ("query", "key", "value")]
            tensors[f"{stem}.qkv.{suffix}"] = np.concatenate(parts)


_MANY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_MANY
@given(renamings(), st.booleans())
def test_a_renaming_never_gives_a_wrong_pair_that_is_not_marked(pair, by_values):
    source, target = pair
    guess = guess_map(Held(source), Held(target), by_values=by_values)
    assert not wrong(guess, source, target)
    named = [n for p in guess.proposals for n in p.rule.targets]
    assert len(named) == len(set(named))
    left = {group.pattern for group in guess.targets}
    assert {g.pattern for g in group_tensors(Held(target).infos)} == {*named, *left}
    assert left.isdisjoint(named)


@_MANY
@given(st.data(), st.booleans())
def test_numbers_that_many_share_mislead_nobody(data, by_values):
    """Initial values and copies hold the same numbers in many places, so names are the truth."""
    source = make(np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))))
    patterns = group_tensors(Held(source).infos)
    for group in patterns:
        same = [other for other in patterns if other.shape == group.shape]
        twin = data.draw(st.sampled_from([None, None, 0, 1, *same]))
        for name in group.names.values():
            if twin is not None:
                source[name] = np.full_like(source[name], twin if twin in (0, 1) else 0)
        if twin in same and twin.indices == group.indices:
            for index, name in group.names.items():
                source[name] = source[twin.names[index]].copy()
    words = data.draw(st.lists(_OTHER, min_size=len(_WORDS), max_size=len(_WORDS), unique=True))
    kept = data.draw(st.sets(st.sampled_from(_WORDS)))
    names = {w: w if w in kept else new for w, new in zip(_WORDS, words, strict=True)}
    truth = {".".join(names.get(part, part) for part in name.split(".")): name for name in source}
    target = {new: source[name] for new, name in truth.items()}
    guess = guess_map(Held(source), Held(target), by_values=by_values)
    for proposal in guess.proposals:
        rule = proposal.rule
        if proposal.sure and not rule.tied:
            for binding in bindings(rule.targets[0], target):
                assert truth[fill_in(rule.targets[0], binding)] == fill_in(rule.sources[0], binding)


@_MANY
@given(renamings())
def test_with_the_numbers_all_that_has_a_counterpart_is_found(pair):
    source, target = pair
    guess = guess_map(Held(source), Held(target), by_values=True)
    assert all(proposal.sure for proposal in guess.proposals)
    assert not (guess.sources and guess.targets)


def test_initial_values_show_nothing_by_themselves():
    random = np.random.default_rng(0)
    source = make(random)
    for name, array in source.items():
        if name.endswith("bias"):
            array[...] = 0
    target = {
        name.replace("stack", "tower").replace("query", "one"): a for name, a in source.items()
    }
    guess = guess_map(Held(source), Held(target), by_values=True)
    assert guess.certain
    (bias,) = [p for p in guess.proposals if p.rule.targets == ("tower.{i}.attend.one.bias",)]
    assert bias.rule.sources == ("stack.{i}.attend.query.bias",)
    assert "beside" in bias.why
    # Scales of 1 and shifts of 0 in strange modules: nothing tells which is which.
    for stem in ("first", "second"):
        for layer in range(LAYERS):
            source[f"stack.{layer}.{stem}.weight"][...] = 1
    swap = {"first": "ab", "second": "cd"}
    target = {
        ".".join(swap.get(word, word) for word in name.split(".")): array
        for name, array in source.items()
    }
    guess = guess_map(Held(source), Held(target), by_values=True)
    doubtful = {t for p in guess.proposals if not p.sure for t in p.rule.targets}
    assert doubtful == {f"stack.{{i}}.{m}.{s}" for m in ("ab", "cd") for s in ("weight", "bias")}


def test_a_symmetric_matrix_shows_not_which_way_round_it_stands():
    matrix = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    matrix += matrix.T
    guess = guess_map(Held({"a.weight": matrix}), Held({"b.weight": matrix}), by_values=True)
    (proposal,) = guess.proposals
    assert not proposal.sure
    assert "symmetric" in proposal.why


def test_head_by_head_and_half_precision():
    random = np.random.default_rng(0)
    parts = {f"a.{n}.weight": random.normal(size=(12, 8)).astype(np.float32) for n in "qkv"}
    rows = np.stack([array.reshape(3, 4, 8) for array in parts.values()], 1)
    fused = rows.reshape(36, 8).astype(np.float16)
    guess = guess_map(Held(parts), Held({"b.weight": fused}), by_values=True)
    (proposal,) = guess.proposals
    assert proposal.sure
    assert (proposal.rule.axis, proposal.rule.heads) == (0, 3)
    assert proposal.rule.sources == tuple(parts)


def test_what_is_tied_is_one():
    table = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    guess = guess_map(
        Held({"wte.weight": table, "lm_head.weight": table.copy()}),
        Held({"table.embedding_table": table}),
        by_values=True,
    )
    (proposal,) = guess.proposals
    assert guess.certain
    assert (proposal.rule.tied, len(proposal.rule.sources)) == (True, 2)


def test_numbers_that_are_no_layers_are_words():
    one, other = np.zeros((3, 4)), np.zeros((4, 3))
    infos = Held({"net.0.w": one, "net.1.w": other, "x.0.a": one, "x.1.a": one, "x.2.a": one}).infos
    assert [group.pattern for group in group_tensors(infos)] == ["net.0.w", "net.1.w", "x.{i}.a"]


def test_words():
    assert likeness("h.{i}.ln_1", "blocks.{i}.layernorm1") == 1
    assert likeness("wte", "word_embeddings") == 1
    assert likeness("attn.q_proj", "selfAttention.query") > likeness("attn.q_proj", "attn.k")
    assert likeness("foo", "bar") == 0


def test_exit_codes_and_the_map_that_is_written(checkpoint, tmp_path):
    original = checkpoint("gpt2", "lm")
    there = port(prepare(original, "gpt2", to="mindformers"), tmp_path / "there")
    file = tmp_path / "map.yaml"
    done = run("guess", original, there, "-o", file)
    assert done.exit_code == 1
    assert "ambiguous" in done.output
    entries = yaml.safe_load(file.read_text())["tensors"]
    marked = [entry for entry in entries if entry.get("ambiguous")]
    assert marked
    assert all(entry["candidates"] for entry in marked)
    done = run("map", original, tmp_path / "x", "--map", file)
    assert done.exit_code == 2
    assert done.output.count("undecided:") == len(marked)
    assert "--accept-ambiguous" in done.output
    assert not (tmp_path / "x").exists()
    assert run("guess", original, there, "-o", file).exit_code == 2  # it exists
    assert run("guess", original, tmp_path / "nowhere").exit_code == 2


def test_parts_that_are_the_same_are_not_told_apart():
    random = np.random.default_rng(0)
    q, k = (random.normal(size=(4, 8)).astype(np.float32) for _ in "qk")
    parts = {"a.q.weight": q, "a.k.weight": k, "a.v.weight": q.copy()}
    target = {"b.weight": np.concatenate([q, k, q])}
    guess = guess_map(Held(parts), Held(target), by_values=True)
    assert not guess.proposals
    assert (len(guess.sources), len(guess.targets)) == (3, 1)
