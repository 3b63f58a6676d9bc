"""Carrying a plan out: where it is written, casts, and the operations themselves."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindport.migrate import MindportError, port, prepare
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.tensors import DTYPES, FLOATS
from mindport.migrate.errors import CheckpointError, DestinationError
from mindport.migrate.operations import COPY, TRANSPOSE
from mindport.migrate.streaming.values import FiniteCheck
from tests.migrate.kills import hashes_of
from tests.migrate.weights import arrays_of, assert_same


class TestDestination:
    def test_existing_is_kept_without_force(self, checkpoint, tmp_path):
        target = tmp_path / "ms"
        target.mkdir()
        (target / "precious").write_text("x")
        prepared = prepare(checkpoint("gpt2", "lm"), "gpt2")
        with pytest.raises(DestinationError, match="exists already"):
            port(prepared, target)
        assert [p.name for p in target.iterdir()] == ["precious"]
        port(prepared, target, force=True)
        assert (target / "model.safetensors").is_file()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["ms"]

    def test_the_source_is_never_replaced(self, checkpoint):
        source = checkpoint("gpt2", "lm")
        with pytest.raises(DestinationError, match="is the source itself"):
            port(prepare(source, "gpt2"), source, force=True)
        assert (source / "model.safetensors").is_file()

    def test_missing_parent(self, checkpoint, tmp_path):
        with pytest.raises(DestinationError, match="There is no folder"):
            port(prepare(checkpoint("gpt2", "lm"), "gpt2"), tmp_path / "no" / "ms")

    def test_a_full_disk_leaves_nothing(self, checkpoint, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.pwrite", full)
        with pytest.raises(DestinationError, match="No space left"):
            port(prepare(checkpoint("gpt2", "lm"), "gpt2"), tmp_path / "ms")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("file_format", ["safetensors", "ckpt", "npz"])
    def test_a_wrong_byte_is_not_published(self, checkpoint, tmp_path, monkeypatch, file_format):
        """A byte of the header, of some tensors, of what stands at the end."""
        prepared = prepare(checkpoint("gpt2", "lm"), "gpt2")
        write = os.pwrite

        def flip(file, data, offset):
            if not offset <= wrong < offset + len(data):
                return write(file, data, offset)
            changed = bytearray(data)
            changed[wrong - offset] ^= 1
            return write(file, changed, offset)

        monkeypatch.setattr(os, "pwrite", flip)
        wrong = -1
        whole = port(prepared, tmp_path / "whole", file_format=file_format)
        (file,) = whole.glob("model.*")
        size = file.stat().st_size
        shutil.rmtree(whole)
        for wrong in (9, *range(size // 7, size, size // 7), size - 20, size - 1):
            with pytest.raises(MindportError, match="read back differs"):
                port(prepared, tmp_path / "ms", file_format=file_format)
            assert list(tmp_path.iterdir()) == [], wrong

    @pytest.mark.parametrize("opens", [True, False])
    def test_file_systems_without_direct_reads(self, checkpoint, tmp_path, monkeypatch, opens):
        prepared = prepare(checkpoint("gpt2", "lm"), "gpt2")
        wanted = hashes_of(port(prepared, tmp_path / "wanted"))
        read, open_file, refused = os.preadv, os.open, 0

        def opening(path, flags, *rest):
            nonlocal refused
            if flags & os.O_DIRECT and not opens:
                refused += 1
                raise OSError(errno.EINVAL, "Invalid argument")
            return open_file(path, flags, *rest)

        def reading(file, *rest):
            nonlocal refused
            if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
                refused += 1
                raise OSError(errno.EINVAL, "Invalid argument")
            return read(file, *rest)

        monkeypatch.setattr(os, "open", opening)
        monkeypatch.setattr(os, "preadv", reading)
        assert hashes_of(port(prepared, tmp_path / "ms")) == wanted
        assert refused

    def test_an_error_of_the_disk_while_reading_back(self, checkpoint, tmp_path, monkeypatch):
        read = os.preadv

        def reading(file, *rest):
            if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
                raise OSError(errno.EIO, "Input/output error")
            return read(file, *rest)

        monkeypatch.setattr(os, "preadv", reading)
        with pytest.raises(DestinationError, match="Input/output error"):
            port(prepare(checkpoint("gpt2", "lm"), "gpt2"), tmp_path / "ms")
        assert list(tmp_path.iterdir()) == []


class TestCast:
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
    def test_every_tensor_has_the_dtype(self, checkpoint, tmp_path, dtype):
        prepared = prepare(checkpoint("gpt2", "lm"), "gpt2", dtype=dtype)
        reader = open_checkpoint(port(prepared, tmp_path / "ms")).reader
        assert {info.dtype for info in reader.infos.values()} == {dtype}

    def test_overflow_is_refused(self, edited, tmp_path):
        def grow(tensors):
            tensors["transformer.ln_f.bias"][:2] = 1e6

        source = edited("gpt2", "lm", grow)
        with pytest.raises(CheckpointError, match=r"2 values of transformer\.ln_f\.bias"):
            port(prepare(source, "gpt2", dtype="float16"), tmp_path / "half")
        port(prepare(source, "gpt2", dtype="bfloat16"), tmp_path / "brain")

    def test_half_precision_round_trip_keeps_the_bits(self, checkpoint, tmp_path):
        half = port(prepare(checkpoint("bert", "nsp"), "bert", dtype="bfloat16"), tmp_path / "half")
        back = port(prepare(half, "bert"), tmp_path / "back")
        again = port(prepare(back, "bert"), tmp_path / "again")
        assert_same(arrays_of(half), arrays_of(again))


@pytest.mark.parametrize("operation", [COPY, TRANSPOSE], ids=["copy", "transpose"])
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_operations_undo_themselves(operation, rows, columns, seed):
    array = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    changed = operation.apply(array)
    assert changed.shape == operation.shape(array.shape)
    assert np.array_equal(operation.inverse().apply(changed), array)


def test_transpose_refuses_a_vector():
    with pytest.raises(ValueError, match="only a matrix"):
        TRANSPOSE.apply(np.ones(3))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_every_dtype_is_searched_to_its_end(dtype, value):
    values = np.full(300_001, 3.0).astype(DTYPES[dtype].numpy)
    check = FiniteCheck(dtype)
    assert check.count(values) == 0
    values[[0, 131_072, -1]] = value
    assert check.count(values) == 3
