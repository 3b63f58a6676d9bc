"""Files that are cut off, lie, or were made to do harm: one clear error, little memory, no code."""

from __future__ import annotations

import json
import os

import pytest

from mindport.migrate.checkpoints.formats import FORMATS
from mindport.migrate.checkpoints.limits import MAX_NAME_BYTES
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.mindspore_ckpt import CkptReader
from mindport.migrate.checkpoints.protobuf import bytes_head, varint_field
from mindport.migrate.errors import CheckpointError
from tests.migrate.arrays import TENSORS, write
from tests.migrate.refusing import refused

every_format = pytest.mark.parametrize("name", FORMATS)


@every_format
def test_truncated_at_any_byte(tmp_path, name):
    suffix = FORMATS[name].suffix
    data = write(tmp_path / f"whole{suffix}", TENSORS).read_bytes()
    part = tmp_path / f"part{suffix}"
    for size in range(len(data)):
        part.write_bytes(data[:size])
        try:
            reader = open_checkpoint(part).reader
        except CheckpointError:
            continue
        # A ckpt has no end mark: a cut between two tensors is found by the plan, as missing.
        assert name == "ckpt"
        whole_but_for_the_checksum = size == len(data) - 17
        assert whole_but_for_the_checksum or len(reader.infos) < len(TENSORS)


@every_format
def test_file_that_shrinks_or_changes_while_it_is_read(tmp_path, name):
    path = write(tmp_path / FORMATS[name].file_name, TENSORS)
    data = path.read_bytes()
    for change in (data[:-5], data + b"x", b""):
        path.write_bytes(data)
        reader = FORMATS[name].reader(path)
        path.write_bytes(change)
        with pytest.raises(CheckpointError, match="was changed while it was being read"):
            reader.read("a.weight")
        with pytest.raises(CheckpointError, match="was changed"):
            reader.read("a.weight")
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        reader.read("a.weight")


@every_format
def test_what_is_no_regular_file(tmp_path, name):
    path = tmp_path / f"x{FORMATS[name].suffix}"
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="is not a regular file"):
        FORMATS[name].reader(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match=r"is not a regular file|Is a directory"):
        FORMATS[name].reader(path)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        FORMATS[name].reader(tmp_path / "nowhere")


class TestSafetensors:
    @pytest.fixture
    def lie(self, tmp_path):
        def lie(header, data=b"", match="not a whole safetensors file", length=None):
            text = header if isinstance(header, bytes) else json.dumps(header).encode()
            path = tmp_path / "x.safetensors"
            size = len(text) if length is None else length
            path.write_bytes(size.to_bytes(8, "little") + text + data)
            return refused(path, match)

        return lie

    @staticmethod
    def entry(shape, start, stop, dtype="F32"):
        return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}

    def test_offsets(self, lie):
        for shape, start, stop in (
            ([10], 0, 4), ([1], 4, 8), ([1], 0, 8), ([1], 4, 0), ([2**62, 4], 0, 0),
            ([-1], 0, 4), ([1.0], 0, 4), ([True], 0, 4), ([0, 2**63], 0, 0), ([1] * 33, 0, 4),
            ([10**4000], 0, 4),
        ):  # fmt: skip
            lie({"a": self.entry(shape, start, stop)}, b"\0" * 8, "a.* (shape|place|axes)")

    def test_overlaps_and_gaps(self, lie):
        one = self.entry([1], 0, 4)
        lie({"a": one, "b": one}, b"\0" * 4, "'b' do not fit its shape or follow")
        lie({"a": one, "b": self.entry([1], 2, 6)}, b"\0" * 6, "follow those before it")
        lie({"a": one, "b": self.entry([1], 8, 12)}, b"\0" * 12, "follow those before it")
        lie({"a": one}, b"\0" * 5, "speaks of")

    def test_header(self, lie):
        for text in (
            b"",
            b"[]",
            b"null",
            b"{",
            b"\xff",
            b"[" * 100_000,
            b'{"a": NaN}',
            b"1" * 9999,
        ):
            lie(text)
        for length in (0, 1, 10**9, 2**63, 2**64 - 1):
            lie({}, length=length)
        for entry in (None, [], {"dtype": "F32"}, {**self.entry([1], 0, 4), "more": 1}):
            lie({"a": entry}, b"\0" * 4)
        for metadata in (None, [], {"a": 1}, {"a": "\ud800"}, {"\ud800": "a"}):
            lie({"__metadata__": metadata}, match="metadata are not text")

    def test_too_many_parts(self, lie, monkeypatch):
        monkeypatch.setattr("mindport.migrate.checkpoints.json_text.MAX_CONTAINERS", 100)
        lie(b"[" + b"[]," * 100 + b"1]", match="too many parts")

    def test_said_twice(self, lie):
        entry = json.dumps(self.entry([1], 0, 4))
        lie(f'{{"a": {entry}, "a": {entry}}}'.encode(), b"\0" * 4, "'a' stands twice")

    def test_dtype(self, lie):
        lie({"a": self.entry([1], 0, 1, "F8_E4M3")}, b"\0", "'F8_E4M3', which cannot be ported")
        lie({"a": self.entry([1], 0, 1, ["F32"])}, b"\0", "dtype list, which cannot be ported")

    def test_names(self, lie):
        for name in ("", "x" * (MAX_NAME_BYTES + 1), "x" * 10**6, "\ud800"):
            lie({name: self.entry([1], 0, 4)}, b"\0" * 4, "is empty, longer than")
        error = lie({"\x1b[31m\n": self.entry([1], 0, 4, "?")}, b"\0" * 4, "cannot be ported")
        assert r"'\x1b[31m\n'" in error.message


class TestCkpt:
    @staticmethod
    def value(tag=b"a", dims=(1,), kind=b"Float32", content=b"\0\0\0\0", more=b""):
        tensor = b"".join(varint_field(1, n) for n in dims)
        tensor += bytes_head(2, len(kind)) + kind + bytes_head(3, len(content)) + content
        value = bytes_head(1, len(tag)) + tag + bytes_head(2, len(tensor)) + tensor + more
        return bytes_head(1, len(value)) + value

    @pytest.fixture
    def lie(self, tmp_path):
        def lie(data, match="nonsense at byte"):
            (tmp_path / "x.ckpt").write_bytes(data)
            return refused(tmp_path / "x.ckpt", match)

        return lie

    def test_it_is_a_checkpoint_without_the_lie(self, tmp_path):
        (tmp_path / "x.ckpt").write_bytes(self.value())
        assert CkptReader(tmp_path / "x.ckpt").read("a").tolist() == [0]

    def test_wire_format(self, lie):
        for nonsense in (
            b"\x0b\x0c",  # a group
            b"\x0d\0\0\0\0", b"\x09" + b"\0" * 8,  # fixed numbers
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # longer than any file
            b"\x0a" + b"\x80" * 10 + b"\1", b"\x0a" + b"\xff" * 9 + b"\x7f",  # over 64 bits
            b"\x02\0", b"\x12\0", b"\x0a\0", b"\x0a",
        ):  # fmt: skip
            lie(nonsense)
            lie(self.value() + nonsense)

    def test_millions_of_empty_fields(self, lie):
        lie(b"\x0a\0" * 10**6)
        many = b"\x18\0" * 10**6
        lie(self.value(more=many))
        packed = b"\x01" * 10**6
        tensor = bytes_head(1, len(packed)) + packed + b"\x12\7Float32\x1a\0"
        value = b"\x0a\1a" + bytes_head(2, len(tensor)) + tensor
        lie(bytes_head(1, len(value)) + value, "over 32 axes")
        lie(self.value(dims=[1] * 10**5))

    def test_doubles(self, lie):
        lie(self.value() * 2, "do not fit its shape")
        lie(self.value(content=b"") * 2, "do not fit its shape")
        lie(self.value(dims=(0, 2), content=b"") * 2, "do not fit its shape")
        lie(self.value() + self.value(dims=(2,)), "two tensors are called 'a'")
        lie(self.value(dims=(2,)) + self.value(b"b") + self.value(dims=(2,)), "two tensors")
        lie(self.value(more=b"\x0a\1a"))

    def test_shapes(self, lie):
        for dims in ((2,), (0,) * 33, (2**63,), (2**62, 2**62), (2**64 - 1,)):
            lie(self.value(dims=dims), "'a'.* (shape|axes)")

    def test_names_and_types(self, lie):
        lie(self.value(tag=b"\xff"))
        lie(self.value(tag=b"x" * 10**6))
        lie(self.value(tag=b""), "is empty, longer than")
        lie(self.value(kind=b"Floot32"), "type 'Floot32'")
        lie(self.value(kind=b"\x1b[31m"), r"type '\\x1b\[31m'")
        lie(self.value(kind=b"x" * 100))

    def test_map_parameter(self, lie):
        value = b"\x0a\1a" + bytes_head(3, 0)
        lie(bytes_head(1, len(value)) + value, "'a' is a map parameter")
