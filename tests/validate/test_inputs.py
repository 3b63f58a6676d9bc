"""Inputs: made, read, and refused when they do not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mindport.migrate.architectures import load_architecture
from mindport.migrate.config import resolve_config
from mindport.migrate.errors import MindportError
from mindport.validate.checkpoints import embedded_checkpoint
from mindport.validate.inputs import describe_inputs, make_inputs, read_inputs


def described(name, head):
    architecture = load_architecture(name)
    return (
        architecture,
        architecture.heads[head],
        resolve_config(architecture, architecture.sizes["tiny"]),
    )


GPT2 = described("gpt2", "lm")
BERT = described("bert", "mlm")


def read(path, model=GPT2):
    return read_inputs(path, *model, path.parent)


def test_random_inputs_have_padding_segments_and_positions():
    inputs = make_inputs(*BERT, batch=4, length=16, seed=0)
    assert set(inputs) == {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
    mask = inputs["attention_mask"]
    assert mask[0].all()
    assert not mask[1:].all(axis=1).any()
    assert (mask[:, 1:] <= mask[:, :-1]).all()  # padding stands on the right
    for row, real in zip(inputs["token_type_ids"], mask, strict=True):
        assert set(row[real == 1]) == {0, 1}
        assert not row[real == 0].any()
    assert (inputs["input_ids"][mask == 1] != 0).all()
    assert describe_inputs(inputs)["padded_positions"] == int((mask == 0).sum()) > 0


def test_seeds_matter():
    a, b, c = (make_inputs(*GPT2, batch=2, length=8, seed=s)["input_ids"] for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_single_token():
    assert make_inputs(*BERT, batch=1, length=1, seed=0)["input_ids"].shape == (1, 1)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_arrays_are_read_and_completed(tmp_path, suffix):
    from safetensors.numpy import save_file

    path = tmp_path / f"x{suffix}"
    arrays = {"input_ids": np.array([[5, 6, 7], [8, 0, 0]], np.int32),
              "attention_mask": np.array([[1, 1, 1], [1, 0, 0]], np.int32)}  # fmt: skip
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    inputs = read(path)
    assert np.array_equal(inputs["input_ids"], arrays["input_ids"])
    assert inputs["position_ids"].tolist() == [[0, 1, 2], [0, 1, 2]]


def test_text_is_tokenised(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("the film was good\n\nbad\n")
    for name, head in (("gpt2", "lm"), ("bert", "mlm")):
        folder = embedded_checkpoint(name)
        architecture = load_architecture(name)
        config = resolve_config(architecture, json.loads((folder / "config.json").read_text()))
        inputs = read_inputs(path, architecture, architecture.heads[head], config, folder)
        lengths = inputs["attention_mask"].sum(axis=1)
        assert len(lengths) == 2
        assert lengths[0] > lengths[1] > 0


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"ids": np.ones((1, 2), int)}, "holds no 'input_ids', but ids"),
        ({"input_ids": np.ones(3, int)}, "shape \\(batch, seq\\)"),
        ({"input_ids": np.ones((1, 2))}, "whole numbers"),
        ({"input_ids": np.ones((1, 0), int)}, "nothing to run"),
        ({"input_ids": np.ones((1, 2), int), "attention_mask": np.ones((1, 3), int)}, "the same"),
        ({"input_ids": np.array([[1, 512]])}, "input_ids holds 512, outside 0 to 511"),
        ({"input_ids": np.array([[-1, 5]])}, "input_ids holds -1"),
        ({"input_ids": np.ones((1, 65), int)}, "65 tokens, but the model has 64 positions"),
        ({"input_ids": np.ones((1, 2), int), "position_ids": np.array([[0, 64]])},
         "position_ids holds 64"),
        ({"input_ids": np.ones((1, 2), int), "attention_mask": np.array([[0, 2]])},
         "attention_mask holds 2"),
        ({"input_ids": np.ones((1, 2), int), "attention_mask": np.array([[0, 0]])}, "all zeros"),
        ({"input_ids": np.ones((1, 2), int), "token_type_ids": np.ones((1, 2), int)},
         "has no input 'token_type_ids'"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit(tmp_path, arrays, said):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(MindportError, match=said):
        read(tmp_path / "x.npz")


def test_segments_out_of_range(tmp_path):
    np.savez(tmp_path / "x.npz", input_ids=np.ones((1, 2), int),
             token_type_ids=np.array([[0, 2]]))  # fmt: skip
    with pytest.raises(MindportError, match="token_type_ids holds 2"):
        read(tmp_path / "x.npz", BERT)


def test_pickled_arrays_are_not_loaded(tmp_path):
    np.savez(tmp_path / "x.npz", input_ids=np.array([[print]], dtype=object))
    with pytest.raises(MindportError, match="cannot be read"):
        read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.npz", b"", "is empty"),
        ("x.npz", b"junk", "cannot be read"),
        ("x.safetensors", b"junk", "cannot be read"),
        ("x.csv", b"a,b", "unknown ending '.csv'"),
        ("x.txt", b"\n \n", "holds no text"),
        ("x.txt", b"\xff\xfe\xff", "not UTF-8"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MindportError, match=said):
        read(tmp_path / name)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(MindportError, match="There is no inputs file"):
        read(tmp_path / "x.npz")
