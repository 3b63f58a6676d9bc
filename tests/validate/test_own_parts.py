"""The parts of a user's port that need no framework: mapping file, proposal, contents, calling."""

from __future__ import annotations

import inspect
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest

from mindport.migrate.architectures import load_architecture
from mindport.migrate.computation import network_steps
from mindport.migrate.config import resolve_config
from mindport.migrate.errors import MindportError
from mindport.validate.own.anchors import Layout, block_elements
from mindport.validate.own.blocks import find_blocks, role_by_name, signature
from mindport.validate.own.calling import find_outputs, harmful_omissions, match_inputs
from mindport.validate.own.contents import Fingerprint, fingerprint, locate
from mindport.validate.own.factory import find_factory, load_factory
from mindport.validate.own.observation import CellRecord, Seen
from mindport.validate.own.places import Place, check_cells, read_places, write_places
from mindport.validate.own.proposal import propose
from mindport.validate.own.shapes import conforms, matrix_sizes, tap_shapes

GPT2 = load_architecture("gpt2")
HEAD = GPT2.heads["lm"]
INPUTS = ("input_ids", "attention_mask", "position_ids")


# --- the mapping file ---


def read(tmp_path, text):
    path = tmp_path / "taps.yaml"
    path.write_text(text)
    return read_places(path, HEAD.taps, 2)


def test_a_mapping_is_read(tmp_path):
    places = read(
        tmp_path,
        "block.{i}.norm_1: b.{i}.ln\n"
        "block.{i}.query: {cell: 'b.{i}.qkv', part: [0, 3]}\n"
        "block.1.query: {cell: special, end: input, index: 2}\n"
        "block.{i}.scores: null\n"
        "final_norm: last\n",
    )
    assert places == {
        "block.0.norm_1": Place("b.0.ln"),
        "block.1.norm_1": Place("b.1.ln"),
        "block.0.query": Place("b.0.qkv", part=(0, 3)),
        "block.1.query": Place("special", "input", 2),
        "block.0.scores": None,
        "block.1.scores": None,
        "final_norm": Place("last"),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("block.{i}.norm1: x", "Did you mean 'block.{i}.norm_1'?"),
        ("block.7.norm_1: x", "there is no tap 'block.7.norm_1'"),
        ("a: [1", "is not YAML, line"),
        ("!!python/object/apply:os.system [ls]", "is not YAML"),
        ("- a\n- b", "holds a list"),
        ("final_norm: 3", "final_norm is 3, not a cell's path"),
        ("final_norm: {call: x}", "Did you mean 'cell'?"),
        ("final_norm: {end: input}", "names no cell"),
        ("final_norm: {cell: x, end: inptu}", "Did you mean 'input'?"),
        ("final_norm: {cell: x, index: -1}", "index is -1"),
        ("final_norm: {cell: x, part: [3, 3]}", "part is [3, 3]"),
        ("final_norm: 'b.{i}'", "has {i} in it"),
    ],
)
def test_a_bad_mapping_is_explained(tmp_path, text, words):
    with pytest.raises(MindportError) as caught:
        read(tmp_path, text)
    assert words in str(caught.value)


def test_a_cell_that_does_not_run_once_is_no_place(tmp_path):
    places = {"final_norm": Place("norm")}
    check_cells(tmp_path, places, {"norm": 1})
    with pytest.raises(MindportError, match="ran 0 times"):
        check_cells(tmp_path, places, {"norm": 0})
    with pytest.raises(MindportError, match="Did you mean 'norms'"):
        check_cells(tmp_path, places, {"norms": 1})


def test_what_is_written_is_read_again(tmp_path):
    places = {
        "block.0.key": Place("b_0.qkv", part=(1, 3)),
        "block.1.key": Place("b_1.qkv", part=(1, 3)),
        "block.0.mlp": Place("x.mlp"),
        "block.1.mlp": Place("y.mlp", "input", 1),
        "final_norm": Place("last"),
    }
    text = write_places("title", places, HEAD.taps, 2)
    assert read(tmp_path, text) == places
    assert "b_{i}.qkv" in text
    assert "# block.{i}.query: not found" in text


# --- the proposal ---


class Recorder:
    """Makes the records of a made-up forward pass: batch 2, 5 tokens, width 8, 2 heads."""

    def __init__(self):
        self.records = {}
        self.clock = 0
        self.numbers = 100

    def cell(self, path, kind, into, out, parameters=(), inside=(), calls=1):
        entered = self.tick()
        for make in inside:
            make()
        owned = {f"p{n}": shape for n, shape in enumerate(parameters)}
        self.numbers += 2
        elements = sum(int(np.prod(shape)) for shape in parameters) + sum(
            r.elements for p, r in self.records.items() if p.startswith(f"{path}.") and r.leaf
        )
        self.records[path] = CellRecord(
            path, kind, owned, elements, not inside, calls, entered, self.tick(),
            (Seen(into, self.numbers),), (Seen(out, self.numbers + 1),),
        )  # fmt: skip

    def tick(self):
        self.clock += 1
        return self.clock

    def norm(self, path):
        self.cell(path, "LayerNorm", (2, 5, 8), (2, 5, 8), [(8,), (8,)])

    def dense(self, path, into, out):
        self.cell(path, "Dense", (2, 5, into), (2, 5, out), [(out, into), (out,)])


def layout(layers=2):
    config = resolve_config(
        GPT2, {"vocab_size": 11, "n_positions": 6, "n_embd": 8, "n_layer": layers, "n_head": 2}
    )
    steps = tuple(network_steps(HEAD.steps, layers))
    sizes = matrix_sizes(GPT2, HEAD, config)
    shapes = tap_shapes(steps, sizes, config, 2, 5)
    return Layout(steps, shapes, sizes, layers, block_elements(HEAD, config))


def forward(names, layers=2, stem="net.layer_{}", functional=()):
    """Return the records of a GPT-2 whose projections have these names (one, or three)."""
    r = Recorder()

    def block(i):
        path = stem.format(i)
        size = 24 if len(names) == 1 else 8
        inside = [lambda: r.norm(f"{path}.first")]
        inside += [lambda n=n: r.dense(f"{path}.{n}", 8, size) for n in names]
        inside += [
            lambda: r.cell(f"{path}.soft", "Softmax", (4, 5, 5), (4, 5, 5)),
            lambda: r.dense(f"{path}.back", 8, 8),
            lambda: r.norm(f"{path}.second"),
            lambda: r.dense(f"{path}.up", 8, 32),
            lambda: r.cell(f"{path}.gelu", "GELU", (2, 5, 32), (2, 5, 32)),
            lambda: r.dense(f"{path}.down", 32, 8),
        ]
        kept = [make for n, make in enumerate(inside) if n not in functional]
        r.cell(path, "Layer", (2, 5, 8), (2, 5, 8), inside=kept)

    for i in range(layers):
        block(i)
    r.norm("net.end")
    return r.records


def test_a_fused_matrix_is_cut_in_parts():
    places = propose(forward(["qkv"]), layout())
    assert places["block.1.value"] == Place("net.layer_1.qkv", part=(2, 3))
    assert places["block.0.context"] == Place("net.layer_0.back", "input")
    assert places["block.0.scores"] == Place("net.layer_0.soft", "input")
    assert places["embeddings"] == Place("net.layer_0", "input")
    assert places["final_norm"] == Place("net.end")
    assert set(places) == {s.tap for s in layout().steps} - {"logits"}


def test_three_matrices_are_told_by_their_names_and_not_by_their_order():
    places = propose(forward(["v_proj", "to_q", "key"]), layout())
    assert places["block.0.query"] == Place("net.layer_0.to_q")
    assert places["block.0.key"] == Place("net.layer_0.key")
    assert places["block.0.value"] == Place("net.layer_0.v_proj")
    assert places["block.0.attention"] == Place("net.layer_0.back")


def test_three_matrices_without_telling_names_are_left_out():
    places = propose(forward(["a", "b", "c"]), layout())
    assert not {"block.0.query", "block.0.key", "block.0.value"} & set(places)
    assert places["block.0.attention"] == Place("net.layer_0.back")


def test_a_matrix_too_many_makes_that_kind_ambiguous_and_no_other():
    places = propose(forward(["q", "k", "v", "gate"]), layout())
    assert not {"block.0.query", "block.0.attention", "block.0.context"} & set(places)
    assert places["block.0.up"] == Place("net.layer_0.up")
    assert places["block.0.norm_2"] == Place("net.layer_0.second")


def test_a_function_instead_of_a_cell_is_found_as_the_next_ones_input():
    places = propose(forward(["qkv"], functional=(6,)), layout())  # no cell for the activation
    assert places["block.0.activation"] == Place("net.layer_0.down", "input")


def test_a_functional_norm_takes_nothing_else_with_it():
    places = propose(forward(["qkv"], functional=(0,)), layout())  # one norm where two are due
    assert places["block.0.query"] == Place("net.layer_0.qkv", part=(0, 3))
    assert places["block.0.norm_1"] == Place("net.layer_0.qkv", "input")
    assert places["block.0.norm_2"] == Place("net.layer_0.up", "input")
    assert "block.0.residual" not in places


def test_blocks_that_are_not_there_propose_nothing():
    assert propose(forward(["qkv"], layers=3), layout(2)) == {}
    assert propose({}, layout()) == {}


def test_lists_of_half_blocks_are_no_blocks():
    records = forward(["qkv"])
    assert find_blocks(records, 2, layout().elements) is not None
    assert find_blocks(records, 2, 2 * layout().elements) is None


def test_a_cell_that_runs_twice_is_not_taken():
    records = forward(["qkv"])
    path = "net.layer_1.first"
    records[path] = replace(records[path], calls=2)
    places = propose(records, layout())
    assert places["block.1.norm_1"] == Place("net.layer_1.qkv", "input")


def test_looks():
    r = Recorder()
    r.dense("a", 8, 24)
    r.norm("b")
    r.cell("shift", "Bias", (2, 5, 8), (2, 5, 8), [(8,)])
    r.cell("table", "Embedding", (2, 5), (2, 5, 8), [(11, 8)])
    looks = {path: signature(record) for path, record in r.records.items()}
    assert looks == {"a": ("dense", 8, 24, 240), "b": ("norm", 8, 8, 80),
                     "shift": None, "table": None}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "role"),
    [("q", "query"), ("w_k", "key"), ("value_proj", "value"), ("to_q", "query"), ("a", None),
     ("qk", None), ("c_attn", None)],
)  # fmt: skip
def test_roles(name, role):
    r = Recorder()
    r.dense(f"b.0.{name}", 8, 8)
    assert role_by_name(r.records[f"b.0.{name}"]) == role


def test_shapes_that_conform():
    assert conforms((10, 8), (2, 5, 8))
    assert conforms((2, 5, 2, 4), (2, 5, 8))
    assert conforms((4, 5, 5), (2, 2, 5, 5))
    assert not conforms((5, 2, 8), (2, 5, 8))
    assert not conforms((2, 8, 5), (2, 5, 8))
    assert not conforms((2, 5, 9), (2, 5, 8))


# --- the contents ---


def stored():
    rng = np.random.default_rng(0)
    names = [f"h.{i}.{n}" for i in range(2) for n in ("q", "k", "v", "o")]
    return {name: rng.normal(size=(6, 6)).astype(np.float32) for name in names}


def prints(arrays):
    return {name: fingerprint(array) for name, array in arrays.items()}


def test_layout_does_not_matter():
    tensors = stored()
    network = {
        "a.qkv": np.concatenate([tensors[f"h.0.{n}"] for n in "qkv"]),
        "a.o": tensors["h.0.o"].T.copy(),
        # fused by head of two rows
        "b.qkv": np.concatenate([tensors[f"h.1.{n}"].reshape(3, 2, 6) for n in "qkv"], 1),
        "b.o.0": tensors["h.1.o"][:3],
        "b.o.1": tensors["h.1.o"][3:],
    }
    assert locate(prints(tensors), prints(network)) == locate({}, {})


def test_what_is_not_there_is_named():
    tensors = stored()
    network = {**tensors, "h.1.k": tensors["h.1.k"] + 1e-6, "mask": np.tri(4, dtype=np.float32)}
    found = locate(prints(tensors), prints(network))
    assert found.nowhere == ("h.1.k",)
    assert set(found.foreign) == {"h.1.k", "mask"}


def test_a_fused_matrix_split_in_three_is_found():
    fused = np.random.default_rng(1).normal(size=(4, 12)).astype(np.float16)
    parts = {n: part.T for n, part in zip("qkv", np.split(fused, 3, axis=1), strict=True)}
    assert locate(prints({"c_attn": fused}), prints(parts)).nowhere == ()


def test_a_fingerprint_survives_json():
    one = fingerprint(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert Fingerprint.from_dict(one.to_dict()) == one
    assert fingerprint(np.array([0.0, -0.0], np.float32)) == fingerprint(np.zeros(2, np.float32))


# --- the factory and the call ---


def test_a_factory_by_path(tmp_path):
    file = tmp_path / "port.py"
    file.write_text("import beside\ndef build(config, checkpoint):\n    return beside.NAME\n")
    (tmp_path / "beside.py").write_text("NAME = 'found'\n")
    assert load_factory(find_factory(f"{file}:build"))({}, "") == "found"
    assert find_factory(str(file)).function == "build"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def build(:\n", "is not Python"),
        ("import nothing_of_this_name\ndef build(c, p): ...\n", "port.py, line 1"),
        ("from os import *\n", "has no function 'build'"),
        ("build = 3\n", "has no function 'build'"),
        ("raise SystemExit(3)\ndef build(c, p): ...\n", "SystemExit: 3"),
    ],
)
def test_a_file_that_does_not_serve(tmp_path, code, words):
    file = tmp_path / "port.py"
    file.write_text(code)
    with pytest.raises(MindportError) as caught:
        load_factory(find_factory(f"{file}:build"))
    assert words in str(caught.value)


def call(function):
    return match_inputs(inspect.signature(function), INPUTS, "construct")


def test_inputs_go_by_name_alias_and_place():
    done = call(lambda attention_mask, ids: 0)
    assert (done.positional, done.left_out) == (("attention_mask", "input_ids"), ("position_ids",))
    done = call(lambda input_ids, cache=None, mask=None: 0)
    assert (done.positional, done.named) == (("input_ids",), {"mask": "attention_mask"})
    done = call(lambda a, b: 0)
    assert (done.positional, done.left_out) == (("input_ids", "attention_mask"), ("position_ids",))
    assert call(lambda *args: 0).positional == INPUTS
    with pytest.raises(MindportError, match="needs 'extra'"):
        call(lambda input_ids, extra: 0)
    with pytest.raises(MindportError, match="takes no input_ids"):
        call(lambda mask=None: 0)


def test_only_omissions_that_matter_are_said():
    plain = {"attention_mask": np.ones((1, 3)), "position_ids": np.arange(3)[None],
             "token_type_ids": np.zeros((1, 3))}  # fmt: skip
    assert harmful_omissions(tuple(plain), plain) == []
    telling = {"attention_mask": np.array([[1, 0]]), "position_ids": np.array([[1, 2]]),
               "token_type_ids": np.array([[0, 1]])}  # fmt: skip
    assert len(harmful_omissions(tuple(telling), telling)) == 3
    assert harmful_omissions((), telling) == []


def test_outputs_are_found_by_name_then_by_shape():
    logits, other = np.zeros((2, 3, 7)), np.zeros((2, 3, 4))
    shapes = {"logits": (2, 3, 7), "start_logits": (2, 3), "end_logits": (2, 3)}

    def find(value, *taps):
        return find_outputs(value, dict(zip(taps, taps, strict=True)), shapes, np.ndarray)

    named = namedtuple("Output", "hidden logits")(logits.copy(), logits)
    assert find(named, "logits")["logits"] is logits
    assert find({"x": other, "y": [logits]}, "logits")["logits"] is logits
    assert find((other, (logits, logits.copy())), "logits") == {}
    start, end = np.zeros((2, 3)), np.ones((2, 3))
    found = find((start, end), "start_logits", "end_logits")
    assert found["start_logits"] is start
    assert found["end_logits"] is end
    assert find(other, "logits")["logits"] is other  # of another shape, as the verdict will say
