"""Readers and writers: what they read, and what they say about damaged files."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from mindport.migrate.checkpoints import mindspore_ckpt
from mindport.migrate.checkpoints.hub import resolve_checkpoint
from mindport.migrate.checkpoints.layout import write_arrays
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.mindspore_ckpt import CkptReader, ckpt_layout
from mindport.migrate.checkpoints.safetensors import safetensors_layout
from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.errors import CheckpointError

TENSORS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.arange(5, dtype=np.int64),
    "scalar": np.array(2.5, dtype=np.float64),
    "half": np.array([[1.5, -2]], dtype=np.float16),
    "brain": np.array([1, 2, 3], dtype=ml_dtypes.bfloat16),
    "flag": np.array([True, False]),
}


def infos_of(tensors):
    return {n: TensorInfo(str(a.dtype), a.shape) for n, a in tensors.items()}


def write(path, tensors):
    make = ckpt_layout if path.suffix == ".ckpt" else safetensors_layout
    layout = make(infos_of(tensors), {"format": "pt"})
    write_arrays(path, layout, tensors.__getitem__)
    assert path.stat().st_size == layout.size
    return path


def assert_holds(reader, tensors):
    assert set(reader.infos) == set(tensors)
    for name, array in tensors.items():
        read = reader.read(name)
        assert reader.infos[name] == TensorInfo(str(array.dtype), array.shape)
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        assert read.tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ["x.safetensors", "x.ckpt"])
def test_written_file_is_read_back(tmp_path, name):
    assert_holds(open_checkpoint(write(tmp_path / name, TENSORS)).reader, TENSORS)


def test_safetensors_library_reads_what_is_written(tmp_path):
    loaded = load_file(write(tmp_path / "x.safetensors", TENSORS))
    assert all(loaded[n].tobytes() == a.tobytes() for n, a in TENSORS.items())


def test_ckpt_slices_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(mindspore_ckpt, "SLICE_BYTES", 16)
    path = write(tmp_path / "x.ckpt", TENSORS)
    assert path.stat().st_size > sum(a.nbytes for a in TENSORS.values())
    assert_holds(open_checkpoint(path).reader, TENSORS)


@pytest.mark.mindspore
@pytest.mark.parametrize("name", ["x.safetensors", "x.ckpt"])
def test_mindspore_reads_what_is_written(tmp_path, name):
    mindspore = pytest.importorskip("mindspore")
    path = write(tmp_path / name, TENSORS)
    loaded = mindspore.load_checkpoint(str(path), format=name.partition(".")[2])
    assert set(loaded) == set(TENSORS)
    for tensor, array in TENSORS.items():
        got = loaded[tensor].astype(mindspore.float32).asnumpy()
        assert np.array_equal(got.reshape(array.shape), array.astype(np.float32))


@pytest.mark.mindspore
def test_what_mindspore_writes_is_read(tmp_path):
    mindspore = pytest.importorskip("mindspore")
    wanted = {n: a for n, a in TENSORS.items() if n != "brain"}
    items = [{"name": n, "data": mindspore.Tensor(a)} for n, a in wanted.items()]
    mindspore.save_checkpoint(items, str(tmp_path / "x.ckpt"))
    assert_holds(open_checkpoint(tmp_path / "x.ckpt").reader, wanted)


@pytest.mark.torch
class TestTorchFiles:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    def test_state_dict(self, torch, tmp_path):
        tensors = {n: torch.from_numpy(a.copy()) for n, a in TENSORS.items() if n != "brain"}
        torch.save(tensors, tmp_path / "x.pth")
        wanted = {n: a for n, a in TENSORS.items() if n != "brain"}
        assert_holds(open_checkpoint(tmp_path / "x.pth").reader, wanted)

    def test_views_strides_parameters_and_wrappers(self, torch, tmp_path):
        base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
        brain = torch.arange(4, dtype=torch.bfloat16)
        tensors = {
            "transposed": base.T,
            "slice": base[1:3, ::2],
            "parameter": torch.nn.Parameter(base),
            "empty": torch.empty(0, 3),
        }
        torch.save({"epoch": 3, "state_dict": {**tensors, "brain": brain}}, tmp_path / "x.pt")
        reader = open_checkpoint(tmp_path / "x.pt").reader
        for name, tensor in tensors.items():
            assert np.array_equal(reader.read(name), tensor.detach().numpy())
        assert reader.infos["brain"].dtype == "bfloat16"
        assert np.array_equal(reader.read("brain").astype(np.float32), brain.float().numpy())

    def test_whole_module_is_refused_by_name(self, torch, tmp_path):
        torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
            open_checkpoint(tmp_path / "x.pth")

    def test_old_form_is_refused_with_advice(self, torch, tmp_path):
        torch.save({"a": torch.ones(2)}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
        with pytest.raises(CheckpointError, match=r"before torch 1\.6"):
            open_checkpoint(tmp_path / "x.pth")

    def test_entry_that_is_no_tensor(self, torch, tmp_path):
        torch.save({"a": torch.ones(2), "lr": 0.1}, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match="the entry 'lr' is float"):
            open_checkpoint(tmp_path / "x.pth")

    def test_truncated_at_any_byte(self, torch, tmp_path):
        torch.save({"a": torch.ones(20)}, tmp_path / "whole.bin")
        data = (tmp_path / "whole.bin").read_bytes()
        for size in range(0, len(data), 37):
            (tmp_path / "x.bin").write_bytes(data[:size])
            with pytest.raises(CheckpointError):
                open_checkpoint(tmp_path / "x.bin").reader.read("a")


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_pickle_with_code_is_not_run(tmp_path):
    marker = tmp_path / "exploded"
    with zipfile.ZipFile(tmp_path / "x.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": Bomb(marker)}))
    with pytest.raises(CheckpointError, match=r"posix\.system, which is not a tensor"):
        open_checkpoint(tmp_path / "x.bin")
    assert not marker.exists()


def test_compressed_pickle_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    with pytest.raises(CheckpointError, match="is compressed"):
        open_checkpoint(tmp_path / "x.bin")


@pytest.mark.parametrize("name", ["x.safetensors", "x.ckpt"])
def test_truncated_at_any_byte(tmp_path, name):
    data = write(tmp_path / name, TENSORS).read_bytes()
    part = tmp_path / f"part{(tmp_path / name).suffix}"
    for size in range(len(data)):
        part.write_bytes(data[:size])
        try:
            reader = open_checkpoint(part).reader
        except CheckpointError:
            continue
        # A ckpt has no end mark: a cut between two tensors is found by the plan, as missing.
        assert name.endswith("ckpt")
        whole_but_for_the_checksum = size == len(data) - 17
        assert whole_but_for_the_checksum or len(reader.infos) < len(TENSORS)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_nonsense_is_one_clear_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("nonsense")
    for suffix in (".safetensors", ".ckpt", ".bin"):
        path = folder / f"x{suffix}"
        path.write_bytes(data)
        try:
            reader = open_checkpoint(path).reader
        except CheckpointError as error:
            said = error.message
        else:
            said = str(path)
            for name in reader.infos:
                reader.read(name)
        assert str(path) in said


def test_damaged_ckpt_types(tmp_path):
    write(tmp_path / "x.ckpt", {"a": np.ones(3, np.float32)})
    data = (tmp_path / "x.ckpt").read_bytes()
    (tmp_path / "x.ckpt").write_bytes(data.replace(b"Float32", b"Floot32"))
    with pytest.raises(CheckpointError, match="type 'Floot32'"):
        CkptReader(tmp_path / "x.ckpt")


def test_header_that_lies(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [10], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        open_checkpoint(tmp_path / "x.safetensors")


class TestShards:
    @pytest.fixture
    def folder(self, tmp_path):
        save_file({"a": TENSORS["a.weight"]}, tmp_path / "model-1.safetensors")
        save_file({"b": TENSORS["b"]}, tmp_path / "model-2.safetensors")
        self.index(tmp_path, {"a": "model-1.safetensors", "b": "model-2.safetensors"})
        return tmp_path

    @staticmethod
    def index(folder, weight_map):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    def test_joined(self, folder):
        reader = open_checkpoint(folder).reader
        assert_holds(reader, {"a": TENSORS["a.weight"], "b": TENSORS["b"]})
        assert len(reader.files) == 2

    def test_missing_shard(self, folder):
        (folder / "model-2.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"1 of 2 shards.*model-2\.safetensors"):
            open_checkpoint(folder)

    def test_listed_tensor_that_is_not_there(self, folder):
        self.index(folder, {"a": "model-1.safetensors", "c": "model-2.safetensors"})
        with pytest.raises(CheckpointError, match="lists 1 tensors"):
            open_checkpoint(folder)

    def test_shard_outside_its_folder(self, folder):
        self.index(folder, {"a": "../model-1.safetensors"})
        with pytest.raises(CheckpointError, match="leaves its folder"):
            open_checkpoint(folder)

    def test_index_that_is_none(self, folder):
        for text in ("", "[]", '{"weight_map": 3}', '{"weight_map": {}}'):
            (folder / "model.safetensors.index.json").write_text(text)
            with pytest.raises(CheckpointError, match=r"index\.json|is empty"):
                open_checkpoint(folder)


def test_paths_that_hold_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        open_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no weights"):
        open_checkpoint(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is empty"):
        open_checkpoint(tmp_path)
    (tmp_path / "b.ckpt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"several weights files \(a\.bin, b\.ckpt\)"):
        open_checkpoint(tmp_path)
    (tmp_path / "c.h5").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"unknown ending '\.h5'"):
        open_checkpoint(tmp_path / "c.h5")


class TestNames:
    def test_a_path_is_itself(self, tmp_path):
        assert resolve_checkpoint(str(tmp_path)) == tmp_path

    def test_a_mistyped_path_is_not_looked_up(self):
        for text in ("./nowhere", "a/b/c", "model.safetensors"):
            with pytest.raises(CheckpointError, match="There is no checkpoint"):
                resolve_checkpoint(text)

    @pytest.fixture
    def migrate(self, tmp_path):
        pytest.importorskip("huggingface_hub")
        environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}

        def run(*argv):
            return subprocess.run(
                [sys.executable, "-m", "mindport.migrate", *argv],
                env=environment, capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip

        return run

    def test_a_name_in_the_cache(self, migrate, tmp_path, checkpoint):
        model = tmp_path / "hub" / "models--some--name"
        (model / "refs").mkdir(parents=True)
        (model / "refs" / "main").write_text("0" * 40)
        shutil.copytree(checkpoint("gpt2", "lm"), model / "snapshots" / ("0" * 40))
        done = migrate("gpt2", "some/name", "--dry-run")
        assert done.returncode == 0, done.stderr
        assert "52 ported" in done.stdout

    def test_a_name_that_is_nowhere_has_ways_out(self, migrate):
        done = migrate("gpt2", "gpt2", "--dry-run")
        assert done.returncode == 3
        assert "neither a local path nor to be had from the Hugging Face" in done.stderr
        assert "local folder" in done.stderr
        assert "Traceback" not in done.stderr


def test_dtype_names_agree():
    for name, dtype in DTYPES.items():
        assert name == dtype.name == str(dtype.numpy)
