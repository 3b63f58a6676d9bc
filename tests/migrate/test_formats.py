"""Every format, both directions: what is laid out is read by us and by who owns the format."""

from __future__ import annotations

import json
import math
import zlib

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from mindport.migrate.checkpoints import mindspore_ckpt
from mindport.migrate.checkpoints.formats import BY_SUFFIX, FORMATS
from mindport.migrate.checkpoints.layout import Checksum, Data, Fixed, Layout, LayoutFormat
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.shards import index_content
from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.errors import CheckpointError
from tests.migrate.arrays import TENSORS, assert_holds, infos_of, write

every_format = pytest.mark.parametrize("name", FORMATS)
FEW = {n: a for n, a in TENSORS.items() if a.dtype != ml_dtypes.bfloat16}


@every_format
def test_written_file_is_read_back(tmp_path, name):
    reader = open_checkpoint(write(tmp_path / FORMATS[name].file_name, TENSORS)).reader
    assert reader.format == name
    assert_holds(reader, TENSORS)
    reader.verify()


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
shapes = st.lists(st.integers(0, 3), max_size=4).map(tuple)
tensors = st.dictionaries(names, st.tuples(st.sampled_from(sorted(DTYPES)), shapes), max_size=6)


@every_format
@given(tensors, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_any_tensors_survive(tmp_path_factory, name, kinds, rng):
    def array(kind):
        dtype, shape = DTYPES[kind[0]].numpy, kind[1]
        data = bytearray(rng.randbytes(math.prod(shape) * dtype.itemsize))
        if kind[0] == "bool":
            data = bytearray(byte & 1 for byte in data)
        return np.ndarray(shape, dtype, buffer=data)

    arrays = {n: array(kind) for n, kind in kinds.items() if not _unfit(name, n, kind[1])}
    path = tmp_path_factory.mktemp("any") / FORMATS[name].file_name
    reader = FORMATS[name].reader(write(path, arrays))
    assert_holds(reader, arrays)
    reader.verify()


def _unfit(name, tensor, shape):
    unfit = {
        "ckpt": shape == (0,),
        "npz": tensor.endswith(".npy") or "\0" in tensor,
        "safetensors": tensor == "__metadata__",
    }
    return unfit.get(name, False)


@pytest.mark.parametrize(
    ("name", "tensor", "shape"),
    [("ckpt", "a", (0,)), ("npz", "a.npy", (1,)), ("npz", "a\0b", (1,)),
     ("safetensors", "__metadata__", (1,))],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_said_first(name, tensor, shape):
    with pytest.raises(CheckpointError, match=r"scalar|cannot"):
        FORMATS[name]({tensor: TensorInfo("float32", shape)}, {})


@every_format
def test_layout_holds_every_byte_once_and_in_order(name, monkeypatch):
    monkeypatch.setattr(mindspore_ckpt, "SLICE_BYTES", 16)
    file_format: LayoutFormat = FORMATS[name]
    assert file_format.suffix == FORMATS[name].suffixes[0]
    seen: dict[str, int] = {}
    offset = 0
    for segment in file_format(infos_of(TENSORS), {}).segments:
        if isinstance(segment, Data):
            assert segment.start == seen.get(segment.name, 0)
            assert segment.size > 0
            seen[segment.name] = segment.stop
        elif isinstance(segment, Checksum):
            assert segment.start <= segment.stop <= offset
            assert len(segment.encode(0xFFFFFFFF)) == segment.size
        offset += segment.size
    assert seen == {n: a.nbytes for n, a in TENSORS.items() if a.nbytes}


def test_ckpt_slices_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(mindspore_ckpt, "SLICE_BYTES", 16)
    path = write(tmp_path / "x.ckpt", TENSORS)
    assert path.stat().st_size > sum(a.nbytes for a in TENSORS.values())
    assert_holds(open_checkpoint(path).reader, TENSORS)


def write_sparse(path, layout: Layout, small):
    """Write a file whose large tensors are holes; their checksums say: not computed."""
    offset = 0
    with path.open("wb+") as file:
        for segment in layout.segments:
            file.seek(offset)
            if isinstance(segment, Fixed):
                file.write(segment.data)
            elif isinstance(segment, Data) and segment.name in small:
                file.write(small[segment.name].tobytes()[segment.start : segment.stop])
            elif isinstance(segment, Checksum):
                file.seek(segment.start)
                summed = segment.stop - segment.start
                crc = zlib.crc32(file.read(summed)) if summed < 1 << 20 else 0
                file.seek(offset)
                file.write(segment.encode(crc))
            offset += segment.size
        file.truncate(offset)
    return path


LARGE = 5 * 2**28  # float32 elements: 5 GiB


def write_large(folder, name):
    infos = {"large": TensorInfo("float32", (LARGE,)), "small": TensorInfo("float32", (3,))}
    small = {"small": np.array([1, 2, 3], np.float32)}
    path = folder / FORMATS[name].file_name
    return write_sparse(path, FORMATS[name](infos, {}), small)


class TestAboveFourGigabytes:
    @every_format
    def test_read(self, tmp_path, name):
        reader = open_checkpoint(write_large(tmp_path, name)).reader
        assert reader.infos["large"].shape == (LARGE,)
        assert sum(span.size for span in reader.spans("large")) == 4 * LARGE
        assert len(reader.spans("large")) == (10 if name == "ckpt" else 1)
        assert reader.read("small").tolist() == [1, 2, 3]

    def test_numpy_agrees(self, tmp_path):
        with np.load(write_large(tmp_path, "npz"), allow_pickle=False) as arrays:
            assert arrays["small"].tolist() == [1, 2, 3]

    @pytest.mark.torch
    def test_torch_agrees(self, tmp_path):
        torch = pytest.importorskip("torch")
        path = write_large(tmp_path, "torch")
        loaded = torch.load(path, weights_only=True, mmap=True)
        assert loaded["large"].shape == (LARGE,)
        assert loaded["small"].tolist() == [1, 2, 3]


def test_more_members_than_sixteen_bits_count(tmp_path):
    arrays = {f"t{i}": np.array([i], np.int32) for i in range(70_000)}
    reader = open_checkpoint(write(tmp_path / "x.npz", arrays)).reader
    assert len(reader.infos) == 70_000
    assert reader.read("t69999").tolist() == [69999]
    with np.load(tmp_path / "x.npz") as loaded:
        assert loaded["t69999"].tolist() == [69999]


class TestSafetensorsLibrary:
    def test_it_reads_what_is_written(self, tmp_path):
        loaded = load_file(write(tmp_path / "x.safetensors", TENSORS))
        assert all(loaded[n].tobytes() == a.tobytes() for n, a in TENSORS.items())

    def test_what_it_writes_is_read(self, tmp_path):
        save_file(TENSORS, tmp_path / "x.safetensors", {"k": "v"})
        reader = open_checkpoint(tmp_path / "x.safetensors").reader
        assert reader.metadata == {"k": "v"}
        assert_holds(reader, TENSORS)


class TestNumPy:
    def test_it_reads_what_is_written(self, tmp_path):
        with np.load(write(tmp_path / "x.npz", TENSORS), allow_pickle=False) as loaded:
            assert set(loaded.files) == set(TENSORS)
            for name, array in TENSORS.items():
                got = loaded[name].view(array.dtype) if name == "brain" else loaded[name]
                assert (got.dtype, got.shape) == (array.dtype, array.shape)
                assert got.tobytes() == array.tobytes()

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_what_it_writes_is_read(self, tmp_path, save):
        save(tmp_path / "x.npz", **TENSORS)
        reader = open_checkpoint(tmp_path / "x.npz").reader
        assert_holds(reader, TENSORS)
        assert (reader.spans("b") is None) == (save is np.savez_compressed)
        reader.verify()

    def test_big_endian_and_fortran_order_are_decoded(self, tmp_path):
        table = np.arange(6, dtype=np.float32).reshape(2, 3)
        np.savez(tmp_path / "x.npz", big=table.astype(">f4"), fortran=np.asfortranarray(table))
        reader = open_checkpoint(tmp_path / "x.npz").reader
        for name in ("big", "fortran"):
            assert reader.spans(name) is None
            assert reader.infos[name] == TensorInfo("float32", (2, 3))
            assert np.array_equal(reader.read(name), table)


@pytest.mark.mindspore
class TestMindSpore:
    @pytest.fixture
    def mindspore(self):
        return pytest.importorskip("mindspore")

    @pytest.mark.parametrize("kind", ["safetensors", "ckpt"])
    def test_it_reads_what_is_written(self, mindspore, tmp_path, kind):
        path = write(tmp_path / f"x.{kind}", TENSORS)
        loaded = mindspore.load_checkpoint(str(path), format=kind)
        assert set(loaded) == set(TENSORS)
        for tensor, array in TENSORS.items():
            assert str(loaded[tensor].dtype).lower() == str(array.dtype)
            assert loaded[tensor].shape == array.shape
            if array.nbytes:
                got = loaded[tensor].astype(mindspore.float32).asnumpy()
                assert np.array_equal(got, array.astype(np.float32))

    @pytest.mark.parametrize("kind", ["safetensors", "ckpt"])
    def test_a_network_takes_all_of_it(self, mindspore, tmp_path, kind):
        net = mindspore.nn.Dense(3, 2)
        arrays = {"weight": np.full((2, 3), 7, np.float32), "bias": np.ones(2, np.float32)}
        path = write(tmp_path / f"x.{kind}", arrays)
        loaded = mindspore.load_checkpoint(str(path), format=kind)
        assert mindspore.load_param_into_net(net, loaded, strict_load=True) == ([], [])
        assert np.array_equal(net.weight.asnumpy(), arrays["weight"])

    def test_it_finds_a_changed_byte_by_our_checksum(self, mindspore, tmp_path):
        path = write(tmp_path / "x.ckpt", FEW)
        assert set(mindspore.load_checkpoint(str(path), crc_check=True)) == set(FEW)
        _flip(path, path.read_bytes().index(FEW["b"].tobytes()))
        with pytest.raises(ValueError, match=r"permission|crc"):
            mindspore.load_checkpoint(str(path), crc_check=True)

    @pytest.mark.parametrize("kind", ["safetensors", "ckpt"])
    @pytest.mark.parametrize("crc", [False, True])
    def test_what_it_writes_is_read(self, mindspore, tmp_path, kind, crc):
        wanted = {n: a for n, a in FEW.items() if a.nbytes}
        items = [{"name": n, "data": mindspore.Tensor(a)} for n, a in wanted.items()]
        path = tmp_path / f"x.{kind}"
        mindspore.save_checkpoint(items, str(path), format=kind, crc_check=crc)
        reader = open_checkpoint(path).reader
        assert_holds(reader, wanted)
        reader.verify()
        path.chmod(0o600)
        _flip(path, path.read_bytes().index(wanted["b"].tobytes()))
        damaged = open_checkpoint(path).reader
        if crc:
            with pytest.raises(CheckpointError, match="does not match its checksum"):
                damaged.verify()
        else:
            damaged.verify()  # nothing to compare with

    def test_a_text_beside_the_parameters_is_named(self, mindspore, tmp_path):
        items = [{"name": "a", "data": mindspore.Tensor(np.ones(2, np.float32))}]
        mindspore.save_checkpoint(items, str(tmp_path / "x.ckpt"), append_dict={"note": "hello"})
        with pytest.raises(CheckpointError, match="'note' is a text"):
            open_checkpoint(tmp_path / "x.ckpt")


def _flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.torch
class TestTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    @pytest.mark.parametrize("mmap", [False, True])
    def test_it_reads_what_is_written(self, torch, tmp_path, mmap):
        path = write(tmp_path / "x.bin", TENSORS)
        loaded = torch.load(path, weights_only=True, mmap=mmap)
        assert list(loaded) == list(TENSORS)
        for name, array in TENSORS.items():
            tensor = loaded[name]
            assert (str(tensor.dtype), tuple(tensor.shape)) == (f"torch.{array.dtype}", array.shape)
            assert tensor.is_contiguous()
            if array.nbytes:
                assert tensor.reshape(-1).view(torch.uint8).numpy().tobytes() == array.tobytes()

    def test_what_it_writes_is_read(self, torch, tmp_path):
        torch.save({n: torch.from_numpy(a.copy()) for n, a in FEW.items()}, tmp_path / "x.pth")
        reader = open_checkpoint(tmp_path / "x.pth").reader
        assert_holds(reader, FEW)
        reader.verify()

    def test_a_changed_byte_is_found(self, torch, tmp_path):
        torch.save({"a": torch.arange(5)}, tmp_path / "x.pt")
        _flip(tmp_path / "x.pt", (tmp_path / "x.pt").read_bytes().index(b"\4\0\0\0\0\0\0\0"))
        reader = open_checkpoint(tmp_path / "x.pt").reader
        for look in (lambda: reader.read("a"), reader.verify):
            with pytest.raises(CheckpointError, match="do not match their checksum"):
                look()

    def test_without_checksums_it_is_read_all_the_same(self, torch, tmp_path):
        torch.serialization.set_crc32_options(False)
        try:
            torch.save({"a": torch.arange(5)}, tmp_path / "x.pt")
        finally:
            torch.serialization.set_crc32_options(True)
        reader = open_checkpoint(tmp_path / "x.pt").reader
        reader.verify()
        assert reader.read("a").tolist() == [0, 1, 2, 3, 4]

    def test_views_strides_parameters_and_wrappers(self, torch, tmp_path):
        base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
        brain = torch.arange(4, dtype=torch.bfloat16)
        tensors = {
            "transposed": base.T,
            "slice": base[1:3, ::2],
            "rows": base[1:3],
            "parameter": torch.nn.Parameter(base),
            "empty": torch.empty(0, 3),
        }
        torch.save({"epoch": 3, "state_dict": {**tensors, "brain": brain}}, tmp_path / "x.pt")
        reader = open_checkpoint(tmp_path / "x.pt").reader
        wanted = {n: np.ascontiguousarray(t.detach().numpy()) for n, t in tensors.items()}
        wanted["brain"] = np.arange(4).astype(ml_dtypes.bfloat16)
        assert_holds(reader, wanted)
        strided = {n for n in wanted if reader.spans(n) is None}
        assert strided == {"transposed", "slice"}

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_a_module_in_any_protocol(self, torch, tmp_path, protocol):
        module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
        torch.save(module.state_dict(), tmp_path / "x.pt", pickle_protocol=protocol)
        wanted = {n: t.numpy() for n, t in module.state_dict().items()}
        assert_holds(open_checkpoint(tmp_path / "x.pt").reader, wanted)

    def test_expanded_tensor_is_refused(self, torch, tmp_path):
        torch.save({"a": torch.zeros(1).expand(1000, 1000)}, tmp_path / "x.pt")
        with pytest.raises(CheckpointError, match="shows the same elements again"):
            open_checkpoint(tmp_path / "x.pt")

    @pytest.mark.parametrize("name", ["safetensors", "torch"])
    @pytest.mark.parametrize("count", [1, 2])
    def test_transformers_loads_what_is_written(self, torch, tmp_path, checkpoint, name, count):
        transformers = pytest.importorskip("transformers")
        source = checkpoint("gpt2", "lm")
        reader = open_checkpoint(source).reader
        arrays = {n: reader.read(n) for n in reader.infos}
        (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
        write_shards(tmp_path, FORMATS[name], arrays, count)
        model, said = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path, output_loading_info=True
        )
        assert not said["missing_keys"]
        assert not said["unexpected_keys"]
        for key, tensor in model.state_dict().items():
            if key in arrays:
                assert np.array_equal(tensor.numpy(), arrays[key]), key


def write_shards(folder, entry, arrays, count):
    if count == 1:
        write(folder / entry.file_name, arrays)
        return
    parts = [dict(list(arrays.items())[i::count]) for i in range(count)]
    files = dict(zip(entry.shard_names(count), parts, strict=True))
    for file, part in files.items():
        write(folder / file, part)
    content = index_content({file: infos_of(part) for file, part in files.items()})
    (folder / entry.index_name).write_text(json.dumps(content))


@every_format
def test_shards_of_every_format(tmp_path, name):
    write_shards(tmp_path, FORMATS[name], TENSORS, 3)
    checkpoint = open_checkpoint(tmp_path)
    assert_holds(checkpoint.reader, TENSORS)
    assert [file.name for file in checkpoint.reader.files] == FORMATS[name].shard_names(3)
    checkpoint.reader.verify()


def test_shard_names():
    wanted = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert FORMATS["safetensors"].shard_names(2) == wanted
    assert FORMATS["torch"].index_name == "pytorch_model.bin.index.json"


def test_every_ending_has_one_format():
    assert sorted(BY_SUFFIX) == sorted(s for f in FORMATS.values() for s in f.suffixes)
    assert all(FORMATS[name].name == name for name in FORMATS)
