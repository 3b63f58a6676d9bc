"""Archives of torch and NumPy that are cut off, lie, or were made to do harm."""

from __future__ import annotations

import io
import os
import pickle
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest

from mindport.migrate.checkpoints.npz import NpzReader
from mindport.migrate.checkpoints.torch_zip import TorchZipReader
from mindport.migrate.errors import CheckpointError
from tests.migrate.refusing import refused


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

    def test_a_checksum_of_zero_is_a_checksum(self, tmp_path):
        data = bytearray(archive_of([self.ONE]))
        at = data.rfind(b"PK\1\2") + 16
        data[at : at + 4] = bytes(4)
        (tmp_path / "x.npz").write_bytes(data)
        with pytest.raises(CheckpointError, match="do not match their checksum"):
            NpzReader(tmp_path / "x.npz").read("a")

    def test_name_in_no_known_encoding(self, lie):
        data = archive_of([("é.npy", self.ONE[1])])
        at = data.rfind(b"PK\1\2") + 9
        lie(data[:at] + b"\0" + data[at + 1 :], "the name of a member is not text")

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
