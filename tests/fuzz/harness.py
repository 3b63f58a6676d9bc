"""What is asked of a reader, whatever the bytes: an answer, or one clear error.

A file is opened, everything in it is read, and what was read is held against the places in the
file that the reader tells. Anything but that and ``CheckpointError`` is a find.
"""

from __future__ import annotations

import io
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import safetensors

from mindport.migrate.checkpoints.formats import FORMATS
from mindport.migrate.checkpoints.shards import index_content, open_shards
from mindport.migrate.checkpoints.source import SourceFile
from mindport.migrate.errors import CheckpointError

INDEX = "index"
TARGETS = (*FORMATS, INDEX)
SECONDS = 5  # for one input; the largest seed takes a millisecond
LONGEST_MESSAGE = 700
MOST_READ = 64 << 20  # bytes of one input that are read


class TooSlowError(Exception):
    """An input took longer than it may."""


def path_of(target: str, folder: Path) -> Path:
    """Return a path with the ending that the target's files have."""
    if target == INDEX:
        return folder / "model.safetensors.index.json"
    return folder / f"x{FORMATS[target].suffix}"


@contextmanager
def files_in_memory(data: bytes):
    """Let every file consist of ``data``: twenty times as many inputs in a second."""
    opened, started = SourceFile._open, SourceFile.__init__

    def start(self, path):
        self.path, self.size, self._identity = path, len(data), None

    SourceFile._open, SourceFile.__init__ = lambda self: io.BytesIO(data), start
    try:
        yield
    finally:
        SourceFile._open, SourceFile.__init__ = opened, started


@contextmanager
def time_limit(seconds: float):
    """Raise :class:`TooSlowError` in the main thread after ``seconds``."""

    def ring(*_):
        raise TooSlowError(f"over {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def examine_memory(target: str, data: bytes) -> bool:
    """Examine ``data`` without a file. Returns whether it was accepted."""
    if target == INDEX:
        return _answers(target, Path("/nowhere/model.safetensors.index.json"), data)
    with files_in_memory(data):
        return _answers(target, Path(f"/nowhere/x{FORMATS[target].suffix}"), data)


def examine_file(target: str, data: bytes, folder: Path) -> bool:
    """Examine ``data`` as a file in ``folder``. Returns whether it was accepted."""
    path = path_of(target, folder)
    path.write_bytes(data)
    accepted = _answers(target, path, data)
    assert sorted(folder.iterdir()) == [path], "reading wrote something"
    return accepted


def _answers(target: str, path: Path, data: bytes) -> bool:
    try:
        with time_limit(SECONDS):
            if target == INDEX:
                _open_index(path, data)
            else:
                _read_all(FORMATS[target].reader(path), path, data)
    except CheckpointError as error:
        _check_message(error.message, path)
        return False
    return True


def _check_message(message: str, path: Path) -> None:
    assert str(path) in message, "the message does not name the file"
    assert message.isprintable(), "the message holds control characters"
    assert len(message) - len(str(path)) < LONGEST_MESSAGE, "the message is too long"


def _read_all(reader, path: Path, data: bytes) -> None:
    left = MOST_READ
    for name, info in reader.infos.items():
        left -= info.nbytes
        if left < 0:
            break
        spans = reader.spans(name)
        array = reader.read(name)
        assert isinstance(array, np.ndarray)
        assert (str(array.dtype), array.shape) == (info.dtype, info.shape)
        if spans is not None:
            assert all(span.path == path for span in spans)
            lying = b"".join(data[s.offset : s.offset + s.size] for s in spans)
            assert lying == array.tobytes(), "the spans hold something else"
    reader.verify()


def ask_owner(target: str, data: bytes) -> None:
    """Fail unless the library that owns the format accepts what we accepted, with the same values.

    torch and MindSpore are left out: they are slow to load and unpickle or trust what they read.
    """
    if target == "safetensors":
        safetensors.deserialize(data)
    if target == "npz":
        with files_in_memory(data), np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            reader = FORMATS[target].reader(Path("/nowhere/x.npz"))
            assert set(reader.infos) == set(arrays.files)
            for name in reader.infos:
                theirs = arrays[name]
                theirs = theirs.astype(theirs.dtype.newbyteorder("<"))
                assert theirs.shape == reader.infos[name].shape
                assert theirs.tobytes() == reader.read(name).tobytes()


class _Shard:
    """A shard that holds two tensors of no elements; its file need not exist."""

    def __init__(self, path: Path) -> None:
        self.files, self.format, self.metadata = (path,), "safetensors", {}
        from mindport.migrate.checkpoints.tensors import TensorInfo

        self.infos = {f"{path.name}.{n}": TensorInfo("float32", (0,)) for n in "ab"}


def _open_index(path: Path, data: bytes) -> None:
    def is_file(self):
        assert self.parent == path.parent, "a shard leaves its folder"
        assert self.name not in ("", ".", "..")
        return self.name.startswith("s")

    before = Path.is_file
    Path.is_file = is_file
    try:
        with files_in_memory(data):
            joined = open_shards(path, _Shard)
    finally:
        Path.is_file = before
    index_content({file.name: joined.infos for file in joined.files})
