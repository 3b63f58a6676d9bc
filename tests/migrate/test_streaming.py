"""Ports in chunks and parts: the same bits, bounded memory, kills, full disks."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindport.migrate.architectures import load_architecture
from mindport.migrate.checkpoints.formats import FORMATS
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.safetensors import safetensors_layout
from mindport.migrate.checkpoints.tensors import FLOATS, TensorInfo
from mindport.migrate.config import resolve_config
from mindport.migrate.dialect import TORCH
from mindport.migrate.errors import CheckpointError, DestinationError, MindportError
from mindport.migrate.expected import expected_parameters
from mindport.migrate.manifest import changed_files, sha256_of
from mindport.migrate.options import Options
from mindport.migrate.porting import Prepared, carry_out, prepare
from mindport.migrate.progress import Listener
from mindport.migrate.streaming import feed, parts, read_back, sink, verify, weights
from mindport.migrate.streaming.folder import WorkFolder, work_folder_of
from mindport.migrate.streaming.transpose import Transposer
from tests.migrate.kills import hashes_of, kill_many
from tests.migrate.test_layouts import OTHER, plan_of
from tests.migrate.weights import arrays_of, assert_same

SHARDS = Options(max_shard_bytes=150_000)


class Heard(Listener):
    def __init__(self):
        self.parts, self.notices, self.stages = [], [], {}

    def progress(self, stage, done, total):
        assert self.stages.get(stage, 0) <= done <= total
        self.stages[stage] = done

    def part(self, name, size, sha256, kept):
        self.parts.append((name, kept))

    def notice(self, text):
        self.notices.append(text)


def repack(source, architecture, destination, to, *, dtype=None, **options):
    chosen = Options(**options)
    prepared = prepare(source, architecture, to=to, dtype=dtype, options=chosen)
    return carry_out(prepared, destination, chosen).folder


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("there", "back"), [("safetensors", "torch"), ("ckpt", "npz"), ("npz", "safetensors")]
)
def test_every_head_format_and_dtype_comes_back_bit_for_bit(
    every_head, checkpoint, tmp_path, dtype, there, back
):
    architecture, head = every_head
    source = repack(
        checkpoint(architecture, head), architecture, tmp_path / "source", "torch",
        dtype=dtype, max_shard_bytes=200_000,
    )  # fmt: skip
    ported = repack(source, architecture, tmp_path / "ms", "mindspore", file_format=there)
    returned = repack(ported, architecture, tmp_path / "back", "torch", file_format=back)
    assert_same(arrays_of(source), arrays_of(returned))
    assert {i.dtype for i in open_checkpoint(returned).reader.infos.values()} == {dtype}
    stated = json.loads((source / "config.json").read_text()).get("dtype", "float32")
    assert stated == dtype  # said only where something was cast


@given(
    rows=st.integers(1, 70), columns=st.integers(1, 70), dtype=st.sampled_from(["f2", "f4", "f8"]),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_tiles_of_any_size_make_the_transpose(rows, columns, dtype, sizes):
    from mindport.migrate.streaming import transpose

    before = transpose.ROWS, transpose._COLUMNS
    transpose.ROWS, transpose._COLUMNS = sizes
    try:
        array = np.random.default_rng(rows).integers(0, 255, (rows, columns)).astype(dtype)
        made = np.zeros((columns, rows), dtype)
        Transposer(np.dtype(dtype)).put(array, made, 0)
        assert np.array_equal(made, array.T)
    finally:
        transpose.ROWS, transpose._COLUMNS = before


@pytest.mark.parametrize("chunk", [8, 56, 4096])
@pytest.mark.parametrize(("panel", "stripe"), [(1 << 12, 1 << 10), (1 << 9, 8), (1 << 20, 1 << 14)])
@pytest.mark.parametrize("dtype", [None, "float16", "float64"])
def test_sizes_of_chunks_change_nothing(
    checkpoint, tmp_path, monkeypatch, chunk, panel, stripe, dtype
):
    source = checkpoint("gpt2", "none", n_embd=12, n_head=2, n_layer=1, vocab_size=30)
    expected = repack(source, "gpt2", tmp_path / "a", "mindspore", dtype=dtype)
    for module in (weights, feed, verify):
        monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(read_back, "BLOCK", 4096)
    monkeypatch.setattr(sink, "FLUSH_BYTES", 5000)
    monkeypatch.setattr(weights, "PANEL", panel)
    monkeypatch.setattr(feed, "STRIPE", stripe)
    found = repack(source, "gpt2", tmp_path / "b", "mindspore", dtype=dtype)
    assert hashes_of(expected) == hashes_of(found)
    back = repack(found, "gpt2", tmp_path / "c", "torch")
    if dtype is None:
        assert_same(arrays_of(source), arrays_of(back))


@pytest.mark.parametrize("dtype", [None, "float16"])
def test_fused_and_split_tensors_are_made_and_verified(checkpoint, tmp_path, dtype):
    source = checkpoint("gpt2", "lm")
    prepared = prepare(source, "gpt2")
    arrays, config = arrays_of(source), prepared.plan.config
    plan = plan_of(arrays, "gpt2", config, TORCH, OTHER, dtype=dtype)
    other = carry_out(replace(prepared, plan=plan), tmp_path / "other", Options())
    made = arrays_of(other.folder)
    assert len(made) > len(arrays)
    assert {name: (a.dtype.name, a.shape) for name, a in made.items()} == {
        name: (info.dtype, info.shape) for name, info in plan.written.items()
    }
    back = plan_of(made, "gpt2", config, OTHER, TORCH)
    reader = open_checkpoint(other.folder)
    returned = carry_out(Prepared(back, reader, prepared.config), tmp_path / "back", Options())
    wanted = {n: a.astype(dtype or a.dtype) for n, a in arrays.items()}
    assert_same(wanted, arrays_of(returned.folder))


class TestShards:
    @pytest.mark.parametrize(
        ("text", "size"), [("2GB", 2 * 10**9), ("512MiB", 512 << 20), ("70", 70), ("1kb", 1000)]
    )
    def test_sizes(self, text, size):
        assert parts.parse_size(text) == size

    @pytest.mark.parametrize("text", ["", "0GB", "-1GB", "2 gigs", "1.5GB"])
    def test_no_sizes(self, text):
        with pytest.raises(MindportError, match="is not a size"):
            parts.parse_size(text)

    @pytest.mark.parametrize("file_format", FORMATS)
    def test_no_tensor_is_split_and_the_index_finds_all(self, checkpoint, tmp_path, file_format):
        source = checkpoint("gpt2", "lm")
        to = "mindspore" if file_format == "ckpt" else "torch"
        folder = repack(source, "gpt2", tmp_path / "x", to, file_format=file_format,
                        max_shard_bytes=150_000)  # fmt: skip
        form = FORMATS[file_format]
        index = json.loads((folder / form.index_name).read_text())
        files = sorted(set(index["weight_map"].values()))
        assert files == form.shard_names(len(files))
        assert len(files) > 3
        largest = 0
        for file in files:
            infos = open_checkpoint(folder / file).reader.infos
            size = sum(info.nbytes for info in infos.values())
            assert size <= 150_000 or len(infos) == 1
            largest = max(largest, size)
            assert {n for n, f in index["weight_map"].items() if f == file} == set(infos)
        assert largest > 100_000
        assert changed_files(folder) == []
        if to == "torch":
            assert_same(arrays_of(source), arrays_of(folder))

    @pytest.mark.torch
    @pytest.mark.parametrize("file_format", ["safetensors", "torch"])
    @pytest.mark.parametrize("limit", [None, 150_000])
    def test_transformers_loads_what_comes_back(self, checkpoint, tmp_path, file_format, limit):
        import transformers

        source = checkpoint("gpt2", "lm")
        there = repack(source, "gpt2", tmp_path / "ms", "mindspore")
        back = repack(there, "gpt2", tmp_path / "back", "torch", dtype="bfloat16",
                      file_format=file_format, max_shard_bytes=limit)  # fmt: skip
        model, loading = transformers.GPT2LMHeadModel.from_pretrained(
            back, output_loading_info=True
        )
        assert not loading["missing_keys"]
        assert not loading["unexpected_keys"]
        assert str(model.dtype) == "torch.bfloat16"
        for name, array in arrays_of(back).items():
            assert model.state_dict()[name].float().numpy().tobytes() == array.astype(
                np.float32).tobytes()  # fmt: skip


class TestSameLayout:
    def test_nothing_to_change_is_refused(self, checkpoint):
        with pytest.raises(MindportError, match="in torch's layout already"):
            prepare(checkpoint("gpt2", "lm"), "gpt2", to="torch", options=Options())

    @pytest.mark.parametrize(("file_format", "layout"), [("ckpt", "torch"), ("torch", "mindspore")])
    def test_formats_of_the_other_framework_are_refused(
        self, checkpoint, tmp_path, file_format, layout
    ):
        with pytest.raises(MindportError, match="cannot read it"):
            repack(checkpoint("gpt2", "lm"), "gpt2", tmp_path / "x", layout,
                   file_format=file_format)  # fmt: skip


@pytest.mark.parametrize("file_format", ["torch", "npz", "ckpt"])
def test_a_source_that_rotted_is_noticed_by_its_own_checksums(checkpoint, tmp_path, file_format):
    to = "mindspore" if file_format == "ckpt" else "torch"
    folder = repack(
        checkpoint("gpt2", "lm"), "gpt2", tmp_path / "source", to, file_format=file_format
    )
    path = folder / FORMATS[file_format].file_name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # inside a tensor: a number like any other
    path.write_bytes(data)
    back = {"torch": "mindspore", "mindspore": "torch"}[to]
    with pytest.raises(CheckpointError, match=r"checksum|changed|CRC"):
        repack(folder, "gpt2", tmp_path / "back", back)
    assert not (tmp_path / "back").exists()
    assert not work_folder_of(tmp_path / "back").exists()


class TestOverflow:
    def test_allowed_values_become_infinite_and_are_counted(self, edited, tmp_path):
        def grow(tensors):
            tensors["transformer.ln_f.bias"][:2] = 1e6
            tensors["transformer.h.0.attn.c_attn.weight"][3, 4] = -1e6

        prepared = prepare(edited("gpt2", "lm", grow), "gpt2", dtype="float16")
        written = carry_out(prepared, tmp_path / "half", Options(allow_overflow=True))
        assert written.overflows == {
            "transformer.ln_f.beta": 2, "transformer.h.0.attn.c_attn.weight": 1,
        }  # fmt: skip
        ported = arrays_of(written.folder)
        assert np.isposinf(ported["transformer.ln_f.beta"][:2]).all()
        assert np.isneginf(ported["transformer.h.0.attn.c_attn.weight"][4, 3])
        manifest = json.loads((written.folder / "manifest.json").read_text())
        assert manifest["overflowed"] == written.overflows


class TestResume:
    def interrupted(self, checkpoint, tmp_path, monkeypatch, after=2):
        """Leave a folder with some parts finished, as a killed process does."""
        from mindport.migrate import writing

        source, count = checkpoint("gpt2", "lm"), 0

        def dying(*arguments, **named):
            nonlocal count
            count += 1
            if count > after:
                raise KeyboardInterrupt
            return fill(*arguments, **named)

        fill = writing.fill
        with monkeypatch.context() as patch:
            patch.setattr(writing, "fill", dying)
            with pytest.raises(KeyboardInterrupt):
                carry_out(prepare(source, "gpt2"), tmp_path / "ms", SHARDS)
        assert not (tmp_path / "ms").exists()
        return source

    def test_a_part_that_was_cut_is_written_again(self, checkpoint, tmp_path, monkeypatch):
        source = self.interrupted(checkpoint, tmp_path, monkeypatch)
        part = next(iter(sorted((tmp_path / ".ms.partial" / "files").glob("model*"))))
        os.truncate(part, part.stat().st_size - 1)
        heard = Heard()
        carry_out(prepare(source, "gpt2"), tmp_path / "ms", SHARDS, heard)
        assert [kept for _, kept in heard.parts][:3] == [False, True, False]

    def test_finished_parts_are_kept(self, checkpoint, tmp_path, monkeypatch):
        source = self.interrupted(checkpoint, tmp_path, monkeypatch)
        heard = Heard()
        written = carry_out(prepare(source, "gpt2"), tmp_path / "ms", SHARDS, heard)
        assert [kept for _, kept in heard.parts][:3] == [True, True, False]
        assert len(written.kept) == 2
        assert "finished before and is kept" in heard.notices[0]
        assert heard.stages["write"] == heard.stages["verify"]
        whole = carry_out(prepare(source, "gpt2"), tmp_path / "whole", SHARDS)
        assert hashes_of(tmp_path / "ms") == hashes_of(tmp_path / "whole")
        assert whole.sources == {"model.safetensors": sha256_of(source / "model.safetensors")}
        assert sorted(p.name for p in tmp_path.iterdir()) == ["ms", "whole"]

    @pytest.mark.parametrize("verified", [True, False])
    def test_a_changed_part_is_written_again(self, checkpoint, tmp_path, monkeypatch, verified):
        source = self.interrupted(checkpoint, tmp_path, monkeypatch)
        part = next(iter(sorted((tmp_path / ".ms.partial" / "files").glob("model*"))))
        data = bytearray(part.read_bytes())
        data[-1] ^= 1
        part.write_bytes(data)
        heard = Heard()
        options = Options(max_shard_bytes=SHARDS.max_shard_bytes, verify=verified)
        carry_out(prepare(source, "gpt2"), tmp_path / "ms", options, heard)
        assert [kept for _, kept in heard.parts][:3] == [False, True, False]
        assert "was changed since it was written" in heard.notices[0]
        carry_out(prepare(source, "gpt2"), tmp_path / "whole", options)
        assert hashes_of(tmp_path / "ms") == hashes_of(tmp_path / "whole")

    def test_another_plan_starts_over(self, checkpoint, tmp_path, monkeypatch):
        source = self.interrupted(checkpoint, tmp_path, monkeypatch)
        prepared = prepare(source, "gpt2", dtype="float16")
        assert carry_out(prepared, tmp_path / "ms", SHARDS).kept == ()
        assert not (tmp_path / ".ms.partial").exists()

    def test_a_touched_source_starts_over(self, checkpoint, tmp_path, monkeypatch, edited):
        source = edited("gpt2", "lm", lambda _: None)
        self.interrupted(lambda *_: source, tmp_path, monkeypatch)
        os.utime(source / "model.safetensors", (1, 1))
        assert carry_out(prepare(source, "gpt2"), tmp_path / "ms", SHARDS).kept == ()

    def test_two_do_not_work_on_one_destination(self, checkpoint, tmp_path):
        with (
            WorkFolder(tmp_path / "ms", "another"),
            pytest.raises(DestinationError, match="Another process is writing"),
        ):
            carry_out(prepare(checkpoint("gpt2", "lm"), "gpt2"), tmp_path / "ms", Options())

    def test_killed_while_it_tidied_it_is_there(self, checkpoint, tmp_path):
        source, destination = checkpoint("gpt2", "lm"), tmp_path / "ms"
        repack(source, "gpt2", destination, "mindspore")
        wanted, work = hashes_of(destination), work_folder_of(destination)
        work.mkdir()  # the journal goes before the folder
        assert repack(source, "gpt2", destination, "mindspore") == destination
        assert hashes_of(destination) == wanted
        assert not work.exists()
        work.mkdir()  # what another source gave is not this port
        other = repack(source, "gpt2", tmp_path / "half", "mindspore", dtype="float16")
        destination.joinpath("manifest.json").write_text((other / "manifest.json").read_text())
        with pytest.raises(DestinationError, match="exists already"):
            repack(source, "gpt2", destination, "mindspore")

    def test_a_fault_of_the_source_leaves_nothing(self, edited, tmp_path):
        def poison(tensors):
            tensors["transformer.wte.weight"][-1, -1] = np.nan

        with pytest.raises(CheckpointError, match="NaN or infinite"):
            carry_out(prepare(edited("gpt2", "lm", poison), "gpt2"), tmp_path / "ms", SHARDS)
        assert [p.name for p in tmp_path.iterdir()] == ["edited"]

    @pytest.mark.slow
    def test_killed_anywhere_it_is_whole_or_not_there(self, checkpoint, tmp_path):
        states = kill_many(25, checkpoint("gpt2", "lm"), tmp_path, seed=1)
        assert sum(states.values()) == 25
        assert len(states) > 2, states


class TestFullDisk:
    def test_space_is_checked_before_writing(self, checkpoint, tmp_path, monkeypatch):
        full = os.statvfs_result((4096, 4096, 1000, 100, 100, 0, 0, 0, 0, 255))
        monkeypatch.setattr(os, "statvfs", lambda _: full)
        with pytest.raises(DestinationError, match=r"needs 2 MB, and 0 MB are free"):
            carry_out(prepare(checkpoint("gpt2", "lm"), "gpt2"), tmp_path / "ms", Options())
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("limit", [0, 4096, 100_000])
    def test_a_disk_that_fills_leaves_nothing(self, checkpoint, tmp_path, limit):
        source = checkpoint("gpt2", "lm")
        done = subprocess.run(
            [sys.executable, "-m", "mindport.migrate", "gpt2", source, tmp_path / "ms"],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert "could not be written: File too large" in done.stderr
        assert "nothing was left behind" in done.stderr
        assert list(tmp_path.iterdir()) == []

    def test_finished_parts_outlive_it(self, checkpoint, tmp_path, monkeypatch):
        source, reserve, count = checkpoint("gpt2", "lm"), os.posix_fallocate, 0

        def fills(*arguments):
            nonlocal count
            count += 1
            if count == 3:
                raise OSError(28, "No space left on device")
            reserve(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", fills)
            with pytest.raises(DestinationError, match=r"goes on with what is finished \(2 of"):
                carry_out(prepare(source, "gpt2"), tmp_path / "ms", SHARDS)
        assert len(carry_out(prepare(source, "gpt2"), tmp_path / "ms", SHARDS).kept) == 2


WITHIN = """
import resource, sys
from mindport.migrate.config import resolve_config
from mindport.migrate.options import Options
from mindport.migrate.porting import carry_out, prepare
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
options = Options(file_format=sys.argv[4])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
carry_out(prepare(sys.argv[1], "gpt2", options=options, to="mindspore"), sys.argv[2], options)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["safetensors", "ckpt", "npz"])
def test_memory_does_not_grow_with_the_model(tmp_path, file_format):
    """Port 1.0 GB, of which one matrix has 0.4 GB, in 1 GB of addresses with the interpreter.

    The source is a sparse file of zeros, so it takes no room on the disk. Addresses are more than
    memory: threads reserve some that they do not use.
    """
    gpt2 = load_architecture("gpt2")
    config = {**gpt2.sizes["tiny"], "n_embd": 2048, "n_layer": 3, "vocab_size": 50_000}
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config))
    resolved = resolve_config(gpt2, config)
    described = expected_parameters(gpt2, gpt2.heads["none"], resolved, TORCH)
    infos = {p.names[0]: TensorInfo("float32", p.shape(TORCH)) for p in described}
    layout = safetensors_layout(infos, {"format": "pt"})
    assert layout.size > 900e6
    with (tmp_path / "hf" / "model.safetensors").open("wb") as file:
        file.write(layout.segments[0].data)
        file.truncate(layout.size)
    code = WITHIN.replace("sys.argv[2]", "__import__('pathlib').Path(sys.argv[2])")
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "hf", tmp_path / "ms", str(10**9), file_format],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ms" / FORMATS[file_format].file_name).stat().st_size > 900e6
    assert int(done.stdout) < 200_000  # KiB beyond the interpreter, and none of the large matrix


class TestCommand:
    def run(self, *argv, **options):
        return subprocess.run(
            [sys.executable, "-m", "mindport.migrate", "gpt2", *map(str, argv)],
            capture_output=True, text=True, check=False, timeout=120, **options,
        )  # fmt: skip

    def test_json_events(self, checkpoint, tmp_path):
        done = self.run(checkpoint("gpt2", "lm"), tmp_path / "ms", "--json",
                        "--max-shard-size", "150KB", "--report", tmp_path / "r")  # fmt: skip
        assert done.returncode == 0, done.stderr
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert [events[0]["event"], events[-1]["event"]] == ["start", "done"]
        written = [e for e in events if e["event"] == "part"]
        assert len(written) == events[0]["files"]
        assert sum(e["bytes"] for e in written) == events[0]["bytes"]
        for event in written:
            assert sha256_of(tmp_path / "ms" / event["file"]) == event["sha256"]
            assert events[-1]["files"][event["file"]] == event["sha256"]
        last = [e for e in events if e["event"] == "progress"][-1]
        assert last == {"event": "progress", "stage": "verify", "bytes": last["total"],
                        "total": events[0]["bytes"]}  # fmt: skip
        report = json.loads((tmp_path / "r").read_text())
        assert {"event": "done", **report} == events[-1]
        assert report["verified"] is True

    def test_json_error(self, checkpoint, tmp_path):
        done = self.run(checkpoint("gpt2", "lm"), tmp_path / "no" / "ms", "--json")
        (event,) = [json.loads(line) for line in done.stdout.splitlines()]
        assert (event["event"], event["exit_code"], done.returncode) == ("error", 2, 2)
        assert "There is no folder" in event["message"]

    def test_the_report_says_whether_it_was_read_back(self, checkpoint, tmp_path):
        done = self.run(checkpoint("gpt2", "lm"), tmp_path / "ms", "--no-verify")
        assert "not read back (--no-verify)" in done.stdout
        assert json.loads((tmp_path / "ms" / "manifest.json").read_text())["verified"] is False
        assert changed_files(tmp_path / "ms") == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_leaves_what_can_go_on(self, checkpoint, tmp_path, number):
        source = checkpoint("gpt2", "lm", n_layer=40, n_embd=256)
        argv = [source, tmp_path / "ms", "--max-shard-size", "1MB"]
        child = subprocess.Popen([sys.executable, "-m", "mindport.migrate", "gpt2", *argv],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        journal = work_folder_of(tmp_path / "ms") / "journal.json"
        deadline = time.monotonic() + 60
        while not journal.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        child.send_signal(number)
        assert child.wait(60) == 128 + number
        assert not (tmp_path / "ms").exists()
        assert journal.exists()
        assert "finished before and is kept" in self.run(*argv).stderr
        assert sorted(p.name for p in tmp_path.iterdir()) == ["ms"]
