"""Files that are cut off, lie, or were made to do harm: one clear error, little memory, no code."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest

from mindport.migrate.checkpoints.formats import FORMATS
from mindport.migrate.checkpoints.limits import MAX_NAME_BYTES
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.mindspore_ckpt import CkptReader
from mindport.migrate.checkpoints.npz import NpzReader
from mindport.migrate.checkpoints.protobuf import bytes_head, varint_field
from mindport.migrate.checkpoints.torch_zip import TorchZipReader
from mindport.migrate.errors import CheckpointError
from tests.migrate.arrays import TENSORS, write

every_format = pytest.mark.parametrize("name", FORMATS)


def read_all(path):
    reader = open_checkpoint(path).reader
    for name in reader.infos:
        reader.read(name)


def refused(path, match):
    """The file is refused with a message fit for a screen, at the price of little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=match) as error:
            read_all(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.value.message.isprintable()
    assert str(path) in error.value.message
    assert len(error.value.message) < len(str(path)) + 500
    assert peak < 16 * path.stat().st_size + (4 << 20)
    return error.value


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
        for metadata in (None, [], {"a": 1}):
            lie({"__metadata__": metadata}, match="metadata are not text")

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


def archive_of(members, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def npy_of(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


class TestArchives:
    @pytest.fixture
    def lie(self, tmp_path):
        def lie(data, match="not a whole zip archive"):
            (tmp_path / "x.npz").write_bytes(data)
            return refused(tmp_path / "x.npz", match)

        return lie

    ONE = ("a.npy", npy_of(np.ones(3, np.float32)))

    def test_duplicates(self, lie):
        lie(archive_of([self.ONE, self.ONE]), "two members are called 'a.npy'")

    def test_bomb(self, lie):
        zeros = npy_of(np.zeros(300 << 20, np.int8))
        bomb = archive_of([("a.npy", zeros)], zipfile.ZIP_DEFLATED)
        del zeros
        lie(bomb, "would unpack to")

    def test_member_that_is_longer_than_it_says(self, lie):
        head = npy_of(np.zeros(1000, np.int8))[:128].replace(b"(1000,)", b"(  10,)")
        deflater = zlib.compressobj(wbits=-15)
        stream = deflater.compress(head + bytes(1000)) + deflater.flush()
        lie(self.deflated(stream, len(head) + 10), "is longer than it says")
        lie(self.deflated(stream[:-20], len(head) + 10), "is not|is shorter|cannot be unpacked")

    @staticmethod
    def deflated(stream, size):
        """An archive of one member, whatever it consists of and however long it is said to be."""
        name = b"a.npy"
        local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, 0, len(stream), size, 5, 0)
        body = local + name + stream
        entry = struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 33, 0, len(stream), size, 5, 0, 0, 0, 0, 0, 0
        )
        directory = entry + name
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(body), 0)
        return body + directory + end

    def test_overlap(self, lie):
        data = archive_of([self.ONE, ("b.npy", self.ONE[1])])
        second = data.rfind(b"PK\1\2")
        offset = struct.unpack_from("<I", data, second + 42)[0]
        moved = data[: second + 42] + struct.pack("<I", offset - 8) + data[second + 46 :]
        lie(moved, "overlaps what follows it")

    def test_something_before_or_behind(self, lie):
        data = archive_of([self.ONE])
        lie(b"x" + data)
        lie(data + b"x")
        lie(b"PK\3\4")

    def test_encrypted_or_rare(self, lie):
        data = bytearray(archive_of([self.ONE]))
        at = data.rfind(b"PK\1\2")
        for offset, value in ((8, 1), (10, 12)):
            changed = bytearray(data)
            changed[at + offset] = value
            lie(bytes(changed), "is encrypted or packed in a rare way")

    def test_names_are_no_paths(self, tmp_path):
        path = tmp_path / "folder" / "x.npz"
        path.parent.mkdir()
        path.write_bytes(archive_of([("../../evil.npy", self.ONE[1]), ("/abs.npy", self.ONE[1])]))
        reader = NpzReader(path)
        assert [reader.read(name).tolist() for name in reader.infos] == [[1, 1, 1]] * 2
        assert sorted(tmp_path.rglob("*")) == [path.parent, path]

    def test_changed_byte(self, tmp_path):
        data = bytearray(archive_of([self.ONE]))
        data[data.index(np.ones(3, np.float32).tobytes())] ^= 1
        (tmp_path / "x.npz").write_bytes(data)
        reader = NpzReader(tmp_path / "x.npz")
        for look in (lambda: reader.read("a"), reader.verify):
            with pytest.raises(CheckpointError, match="do not match their checksum"):
                look()

    def test_arrays_that_are_none(self, lie):
        lie(archive_of([("a.txt", b"hello")]), "'a.txt', which is not an array")
        for content in (b"", b"\x93NUMPY", b"\x93NUMPY\1\0", b"\x93NUMPY\1\0\xff\xff{"):
            lie(archive_of([("a.npy", content)]), "is not a")
        for array in (np.array([1j]), np.array(["x"]), np.array([1], np.uint16)):
            lie(archive_of([("a.npy", npy_of(array))]), "which cannot be ported")
        lie(archive_of([("a.npy", self.ONE[1] + b"x")]), "is not a whole array")
        lie(archive_of([("a.npy", self.ONE[1][:-1])]), "is not a whole array")

    def test_objects_are_not_unpickled(self, tmp_path):
        marker = tmp_path / "exploded"
        out = io.BytesIO()
        np.save(out, np.array([Bomb(marker)], dtype=object), allow_pickle=True)
        (tmp_path / "x.npz").write_bytes(archive_of([("a.npy", out.getvalue())]))
        refused(tmp_path / "x.npz", r"type '\|O', which cannot be ported")
        assert not marker.exists()

    def test_shapes(self, lie):
        content = self.ONE[1]
        for shape in (
            b"(%d,)" % 2**63, b"(-1,)", b"(3)", b"3", b"(3,,)", b"(1e3,)", b"((3,),)",
            b"(" + b"1," * 40 + b")", b"(" * 40, b"(0, 9223372036854775807, 2)",
        ):  # fmt: skip
            changed = content.replace(b"(3,)", shape)
            size = len(changed) - 12 - 10
            lie(
                archive_of([("a.npy", changed[:8] + struct.pack("<H", size) + changed[10:])]), "'a'"
            )


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


STORAGE = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\4tQ"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def tensor_pickle(offset=b"K\0", shape=b"K\4\x85", stride=b"K\1\x85", storage=STORAGE):
    ordered = b"ccollections\nOrderedDict\n)R"
    return REBUILD + b"(" + storage + offset + shape + stride + b"\x89" + ordered + b"tR"


class TestTorchPickle:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "x.pt"

    @staticmethod
    def fill(path, content, more=(), method=zipfile.ZIP_STORED):
        members = [("x/data.pkl", content), ("x/data/0", bytes(16)), *more]
        path.write_bytes(archive_of(members, method))
        return path

    def dictionary(self, tensor=None):
        return b"\x80\2}X\1\0\0\0a" + (tensor or tensor_pickle()) + b"s."

    def test_it_is_read_without_the_lie(self, path):
        reader = TorchZipReader(self.fill(path, self.dictionary()))
        assert reader.read("a").tolist() == [0, 0, 0, 0]

    def test_code_is_not_run(self, path, tmp_path):
        marker = tmp_path / "exploded"
        self.fill(path, pickle.dumps({"a": Bomb(marker)}))
        refused(path, r"holds posix\.system, which is not a tensor; it was not loaded")
        assert not marker.exists()

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"r\xff\xff\xff\x7f", "damaged"),  # memo of 2^31 entries
            (b"}r\xff\xff\xff\x7f.", "holds no tensors"),
            (b"\x8b\xff\xff\xff\x7f", "LONG4|damaged"),  # a number of 2 GiB
            (b"\x8e" + b"\xff" * 7 + b"\x7f", "BINBYTES8|damaged"),
            (b"\x96" + b"\xff" * 7 + b"\x7f", "BYTEARRAY8|damaged"),
            (b"I" + b"9" * 10**6 + b"\n.", "damaged|INT"),
            (b"(" * 10**5 + b".", "damaged"),
            (b"]" + b"\x85" * 10**5 + b".", "holds tuple, not a state dict"),
            (b"}]" + b"\x85" * 10**5 + b"K\1s.", "a dict's key is tuple"),  # hashing recurses
            (b"}" + b"X\1\0\0\0aK\1s" * 2 + b".", "'a' stands twice"),
            (b"ctorch\nFloatStorage\n}X\5\0\0\0dtypeX\1\0\0\0xsb.", "attributes for something"),
            (b"ccollections\nOrderedDict\n(tR" + b"X\1\0\0\0as.", "damaged"),
            (b"cbuiltins\nexec\n.", r"builtins\.exec, which is not a tensor"),
            (b"c\x1b[31m\n\x1b\n.", r"x1b.*, which is not a tensor"),
            (b"\x82\1.", "EXT1"),
            (b"ios\nsystem\n.", "INST"),
            (b"ctorch\nComplexFloatStorage\n.", "ComplexFloatStorage', which cannot be ported"),
            (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "damaged"),
            (b"ctorch._utils\n_rebuild_parameter\n)R.", "damaged"),
            (b"K\1Q.", "storage record that torch does not write"),
            (b"", "damaged"),
            (b".", "damaged"),
            (b"\xff", "damaged"),
            (b"X\3\0\0\0\xff\xff\xff.", "damaged"),
            (b"]X\1\0\0\0aa.", "holds list, not a state dict"),
            (b"}K\1K\1s.", "the entry 1 is int, not a tensor"),
        ],
    )
    def test_nonsense(self, path, content, match):
        refused(self.fill(path, content), match)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"shape": b"K\5\x85"}, "reaches beyond its storage"),
            ({"offset": b"K\1"}, "reaches beyond its storage"),
            ({"offset": b"J\xff\xff\xff\xff"}, "reaches beyond"),
            ({"stride": b"J\xff\xff\xff\xff\x85"}, "reaches beyond"),
            ({"shape": b"J\xff\xff\xff\xff\x85"}, "a shape that no tensor can have"),
            ({"stride": b"K\0\x85", "shape": b"K\x09\x85"}, "the same elements again and again"),
            ({"stride": b"\x8a\x09" + b"\xff" * 8 + b"\0\x85"}, "reaches beyond"),
            ({"shape": b"\x8a\xff" + b"\x7f" * 255 + b"\x85"}, "a shape that no tensor can have"),
            ({"shape": b"K\4\x85", "stride": b"K\1K\1\x86"}, "damaged|reaches beyond"),
            ({"shape": b"G\0\0\0\0\0\0\0\0\x85"}, "nonsense"),
            ({"shape": b"\x88\x85"}, "nonsense"),
            ({"storage": STORAGE.replace(b"K\4", b"K\5")}, "the data of 'a' are not whole"),
            ({"storage": STORAGE.replace(b"\x000X", b"\x001X")}, "the data of 'a' are not whole"),
            ({"storage": b"N"}, "nonsense"),
        ],
    )
    def test_tensors_that_lie(self, path, change, match):
        refused(self.fill(path, self.dictionary(tensor_pickle(**change))), match)

    def test_a_file_cannot_change_how_others_are_read(self, path, tmp_path):
        content = b"ctorch\nFloatStorage\nN}X\5\0\0\0dtypeX\4\0\0\0int8s\x86b."
        refused(self.fill(path, content), "attributes for something")
        reader = TorchZipReader(self.fill(tmp_path / "y.pt", self.dictionary()))
        assert reader.infos["a"].dtype == "float32"

    def test_too_long(self, path, monkeypatch):
        monkeypatch.setattr("mindport.migrate.checkpoints.torch_pickle.MAX_INSTRUCTIONS", 1000)
        refused(self.fill(path, b"]" * 1001 + b"."), "too long")
        monkeypatch.setattr("mindport.migrate.checkpoints.torch_zip.MAX_PICKLE_BYTES", 100)
        refused(self.fill(path, b"]" * 101), "too large")

    def test_compressed(self, path):
        self.fill(path, self.dictionary(), method=zipfile.ZIP_DEFLATED)
        refused(path, "is compressed, which torch.save never does")

    def test_other_kinds_of_file(self, path, tmp_path):
        self.fill(path, self.dictionary(), [("x/byteorder", b"big")])
        refused(path, "big-endian")
        self.fill(path, self.dictionary(), [("x/constants.pkl", b"")])
        refused(path, "TorchScript")
        self.fill(path, self.dictionary(), [("y/data.pkl", b"")])
        refused(path, "not one that torch.save wrote")
        path.write_bytes(b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(100))
        refused(path, r"before torch 1\.6")
        path.write_bytes(bytes(257) + b"ustar" + bytes(500))
        refused(path, r"before torch 1\.6")
        path.write_bytes(pickle.dumps({"a": 1}))
        refused(path, "not a whole torch.save file")

    @pytest.mark.torch
    def test_old_form_is_refused_with_advice(self, path):
        torch = pytest.importorskip("torch")
        torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
        refused(path, r"before torch 1\.6")

    @pytest.mark.torch
    def test_whole_module_is_refused_by_name(self, path):
        torch = pytest.importorskip("torch")
        torch.save(torch.nn.Linear(2, 2), path)
        refused(path, r"torch\.nn\.modules\.linear\.Linear, which is not a tensor")

    @pytest.mark.torch
    def test_entry_that_is_no_tensor(self, path):
        torch = pytest.importorskip("torch")
        torch.save({"a": torch.ones(2), "lr": 0.1}, path)
        refused(path, "the entry 'lr' is float")
        torch.save({"a": torch.ones(2, dtype=torch.complex64)}, path)
        refused(path, "ComplexFloatStorage', which cannot be ported")
