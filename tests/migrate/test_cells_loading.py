"""Checkpoints in MindSpore's layout, and what is said about those that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindport.migrate.errors import CheckpointError, ConfigError
from tests.migrate.twins import TINY

pytestmark = pytest.mark.mindspore
mindspore = pytest.importorskip("mindspore")

IDS = np.arange(4)[None]


@pytest.fixture(scope="module")
def model() -> Any:
    from mindport.migrate.cells import GPT2LMHeadModel

    return GPT2LMHeadModel(TINY["gpt2"])


def save(folder: Path, arrays: dict[str, np.ndarray], kind: str = "safetensors") -> Path:
    items = [{"name": n, "data": mindspore.Tensor(np.array(a))} for n, a in arrays.items()]
    mindspore.save_checkpoint(items, str(folder / f"model.{kind}"), format=kind)
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", **TINY["gpt2"]}))
    return folder


def arrays_of(model: Any) -> dict[str, np.ndarray]:
    return {parameter.name: parameter.asnumpy() for parameter in model.get_parameters()}


@pytest.mark.parametrize("kind", ["safetensors", "ckpt"])
def test_a_checkpoint_comes_back(model: Any, tmp_path: Path, kind: str) -> None:
    folder = save(tmp_path, arrays_of(model), kind)
    for path in (folder, folder / f"model.{kind}"):
        loaded = type(model).from_checkpoint(path)
        assert all(np.array_equal(v, arrays_of(loaded)[n]) for n, v in arrays_of(model).items())
    assert np.array_equal(loaded(IDS).logits.asnumpy(), model(IDS).logits.asnumpy())
    assert not loaded.training


def test_a_file_that_changes_later_does_not_change_the_network(model: Any, tmp_path: Path) -> None:
    file = save(tmp_path, arrays_of(model)) / "model.safetensors"
    loaded = type(model).from_checkpoint(tmp_path)
    file.chmod(0o600)
    with file.open("r+b") as stream:
        stream.seek(10_000)
        stream.write(b"\x7f" * 100_000)
    assert all(np.array_equal(v, arrays_of(loaded)[n]) for n, v in arrays_of(model).items())


def test_dtypes_are_the_files_unless_asked_otherwise(model: Any, tmp_path: Path) -> None:
    from mindport.migrate.cells import load_parameters

    halves = {name: array.astype(np.float16) for name, array in arrays_of(model).items()}
    folder = save(tmp_path, halves)
    for dtype, wanted in ((None, np.float16), (mindspore.float32, np.float32)):
        loaded = arrays_of(type(model).from_checkpoint(folder, dtype=dtype))
        assert {array.dtype for array in loaded.values()} == {np.dtype(wanted)}
        assert all(np.array_equal(loaded[name], halves[name]) for name in halves)
    report = load_parameters(type(model)(TINY["gpt2"]), folder / "model.safetensors")
    assert report.clean
    assert len(report.cast) == len(report.loaded) == len(halves)
    assert report.cast[0][1:] == ("float16", "float32")


def test_all_that_does_not_fit_is_named(model: Any, tmp_path: Path) -> None:
    arrays = arrays_of(model)
    del arrays["transformer.ln_f.gamma"]
    arrays["transformer.wpe.embedding_table"] = np.zeros((31, 64), np.float32)
    arrays["more"] = np.zeros(3, np.float32)
    folder = save(tmp_path, arrays)
    with pytest.raises(CheckpointError) as caught:
        type(model).from_checkpoint(folder)
    for words in (
        "1 missing: transformer.ln_f.gamma",
        "1 unexpected: more",
        "1 of another shape: transformer.wpe.embedding_table (31, 64) for (32, 64)",
    ):
        assert words in str(caught.value)
    loaded = arrays_of(type(model).from_checkpoint(folder, strict=False))
    assert (loaded["transformer.ln_f.gamma"] == 1).all()
    assert np.array_equal(
        loaded["transformer.wte.embedding_table"], arrays["transformer.wte.embedding_table"]
    )


def test_a_name_is_never_guessed_from_its_end(model: Any, tmp_path: Path) -> None:
    arrays = {name.replace("transformer.", "x."): a for name, a in arrays_of(model).items()}
    with pytest.raises(CheckpointError, match=f"{len(arrays)} missing"):
        type(model).from_checkpoint(save(tmp_path, arrays))


def test_torch_layouts_are_recognised(model: Any, tmp_path: Path) -> None:
    respelt = {
        name.replace("embedding_table", "weight").replace("gamma", "weight"): array
        for name, array in arrays_of(model).items()
    }
    with pytest.raises(CheckpointError, match="run `migrate gpt2 SRC DST` first"):
        type(model).from_checkpoint(save(tmp_path, respelt))
    other = tmp_path / "other"
    other.mkdir()
    (other / "pytorch_model.bin").touch()
    with pytest.raises(CheckpointError, match="run `migrate gpt2 SRC DST` first"):
        type(model).from_checkpoint(other)


def test_absent_and_broken_checkpoints(model: Any, tmp_path: Path) -> None:
    load = type(model).from_checkpoint
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="neither"):
        load(tmp_path)
    (tmp_path / "model.bin").touch()
    with pytest.raises(CheckpointError, match="neither a"):
        load(tmp_path / "model.bin")
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"\x10\0\0\0\0\0\0\0 not a header")
    with pytest.raises(ConfigError, match="no config"):
        load(tmp_path)
    save(tmp_path, {"a": np.zeros(2, np.float32)}, "ckpt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(tmp_path)
    file.unlink()
    (tmp_path / "model.ckpt").chmod(0o600)
    (tmp_path / "model.ckpt").write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(tmp_path)
