"""Where weights are found: names, folders, shards and their index."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from safetensors.numpy import save_file

from mindport.migrate.checkpoints.hub import resolve_checkpoint
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.tensors import DTYPES
from mindport.migrate.errors import CheckpointError
from tests.migrate.arrays import TENSORS, assert_holds, write


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

    @pytest.mark.parametrize(
        "shard", ["../model-1.safetensors", "/etc/passwd", "..", ".", "", "a\\b", "a\0b", "x" * 256,
                  "\x1b[31m", "\ud800", 3, None, ["a"]],
    )  # fmt: skip
    def test_shard_outside_its_folder(self, folder, shard):
        self.index(folder, {"a": shard})
        with pytest.raises(CheckpointError, match=r"leaves its folder|not a shard index") as error:
            open_checkpoint(folder)
        assert error.value.message.isprintable()

    def test_links_into_a_cache_are_followed(self, folder):
        blobs = folder / "blobs"
        blobs.mkdir()
        snapshot = folder / "snapshot"
        snapshot.mkdir()
        for number, file in enumerate(sorted(folder.glob("model*"))):
            file.rename(blobs / str(number))
            (snapshot / file.name).symlink_to(f"../blobs/{number}")
        reader = open_checkpoint(snapshot).reader
        assert_holds(reader, {"a": TENSORS["a.weight"], "b": TENSORS["b"]})

    def test_tensor_in_another_shard_than_the_index_says(self, folder):
        self.index(folder, {"a": "model-2.safetensors", "b": "model-1.safetensors"})
        with pytest.raises(CheckpointError, match=r"'a' stands in model-2\.safetensors; it"):
            open_checkpoint(folder)

    def test_tensor_in_two_shards(self, folder):
        write(folder / "model-2.safetensors", {"a": TENSORS["b"], "b": TENSORS["b"]})
        with pytest.raises(CheckpointError, match="'a' stands in two shards"):
            open_checkpoint(folder)

    def test_index_that_says_a_thing_twice(self, folder):
        text = '{"weight_map": {"a": "model-1.safetensors", "a": "model-2.safetensors"}}'
        (folder / "model.safetensors.index.json").write_text(text)
        with pytest.raises(CheckpointError, match="the key 'a' stands twice"):
            open_checkpoint(folder)

    def test_index_that_is_none(self, folder):
        for text in ("", "[]", '{"weight_map": 3}', '{"weight_map": {}}', "[" * 100_000, "{"):
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


def test_paths_that_cannot_be_opened(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read: File name too long"):
        open_checkpoint(tmp_path / ("x" * 300 + ".npz"))
    (tmp_path / "loop.npz").symlink_to("loop.npz")
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        open_checkpoint(tmp_path / "loop.npz")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "folder.npz" / "model.npz").mkdir()
    with pytest.raises(CheckpointError, match="holds no weights"):
        open_checkpoint(tmp_path / "folder.npz")


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
