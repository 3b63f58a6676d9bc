r"""Read and write MindSpore's ``.ckpt`` without MindSpore.

The file is one protobuf message, ``Checkpoint { repeated Value value = 1 }`` with ``Value { string
tag = 1; TensorProto tensor = 2 }`` and ``TensorProto { repeated int64 dims = 1; string
tensor_type = 2; bytes tensor_content = 3 }`` (``mindspore/train/checkpoint_pb2``). A repeated
message field is simply written again and again, so a file can be written tensor by tensor.
Tensors above 512 MiB stand in slices that repeat the tag and the whole tensor's dims.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mindport.migrate.checkpoints.tensors import BY_CKPT, DTYPES, TensorInfo
from mindport.migrate.errors import CheckpointError

SLICE_BYTES = 512 * 1024 * 1024
_BYTES_FIELD = 2  # protobuf wire type: length-delimited


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, size: int) -> bytes:
    return _varint(number << 3 | _BYTES_FIELD) + _varint(size)


def write_ckpt(
    path: Path, tensors: Iterable[tuple[str, np.ndarray]], infos: Mapping[str, TensorInfo]
) -> None:
    """Write a ``.ckpt`` in one pass.

    Args:
        path: Where to; the caller renames it into place.
        tensors: Name and array.
        infos: Dtype and shape of each.
    """
    with path.open("wb") as file:
        for name, array in tensors:
            info = infos[name]
            data = np.ascontiguousarray(array).ravel().view(np.uint8).data
            for start in range(0, len(data), SLICE_BYTES):
                _write_value(file, name, info, data[start : start + SLICE_BYTES])


def _write_value(file: BinaryIO, name: str, info: TensorInfo, data: memoryview) -> None:
    tag = name.encode()
    dims = b"".join(_varint(1 << 3) + _varint(n) for n in info.shape)
    kind = DTYPES[info.dtype].ckpt.encode()
    tensor_head = dims + _field(2, len(kind)) + kind + _field(3, len(data))
    tensor_size = len(tensor_head) + len(data)
    value_head = _field(1, len(tag)) + tag + _field(2, tensor_size)
    file.write(_field(1, len(value_head) + tensor_size) + value_head + tensor_head)
    file.write(data)


@dataclass
class _Entry:
    info: TensorInfo
    pieces: list[tuple[int, int]] = field(default_factory=list)  # offset and size in the file


class CkptReader:
    """A MindSpore ``.ckpt``; the file is scanned once, tensors are read when asked for.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it is truncated, encrypted, or not a MindSpore checkpoint.
    """

    format = "ckpt"
    metadata: Mapping[str, str] = {}

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        self._entries: dict[str, _Entry] = {}
        with path.open("rb") as file:
            size = path.stat().st_size
            scanner = _Scanner(file, path)
            for number, start, end in scanner.fields(0, size):
                if number != 1:
                    raise scanner.error(start)
                self._add(scanner, start, end)
        for name, entry in self._entries.items():
            if sum(n for _, n in entry.pieces) != entry.info.nbytes:
                raise CheckpointError(f"{path}: the data of {name!r} do not fit its shape.")
        self.infos: Mapping[str, TensorInfo] = {n: e.info for n, e in self._entries.items()}

    def _add(self, scanner: _Scanner, start: int, end: int) -> None:
        parts = {number: (a, b) for number, a, b in scanner.fields(start, end)}
        if 1 not in parts or 2 not in parts:
            raise scanner.error(start)
        name = scanner.text(*parts[1])
        dims: list[int] = []
        kind, piece = "", (0, 0)
        for number, a, b in scanner.fields(*parts[2]):
            if number == 1:
                dims.extend(scanner.numbers(a, b))
            elif number == 2:
                kind = scanner.text(a, b)
            elif number == 3:
                piece = (a, b - a)
        if kind not in BY_CKPT:
            raise CheckpointError(
                f"{scanner.path}: the tensor {name!r} has type {kind!r}, which cannot be ported."
            )
        info = TensorInfo(BY_CKPT[kind].name, tuple(dims))
        entry = self._entries.setdefault(name, _Entry(info))
        if entry.info != info:
            raise CheckpointError(f"{scanner.path}: two tensors are called {name!r}.")
        entry.pieces.append(piece)

    def read(self, name: str) -> np.ndarray:
        """Return one tensor."""
        entry = self._entries[name]
        data = bytearray(entry.info.nbytes)
        view = memoryview(data)
        filled = 0
        with self.files[0].open("rb") as file:
            for offset, size in entry.pieces:
                file.seek(offset)
                if file.readinto(view[filled : filled + size]) != size:
                    raise CheckpointError(f"{self.files[0]} was cut off while {name!r} was read.")
                filled += size
        return np.ndarray(entry.info.shape, DTYPES[entry.info.dtype].numpy, buffer=data)


class _Scanner:
    """Walks protobuf fields by offsets, so that no tensor is read."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self.path = file, path

    def error(self, offset: int) -> CheckpointError:
        return CheckpointError(
            f"{self.path} is not a whole MindSpore checkpoint (nonsense at byte {offset}).",
            "It may be cut off, encrypted, or another kind of file.",
        )

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (number, start, end) of each field in a message; varints end where they end."""
        offset = start
        while offset < end:
            key, offset = self._varint_at(offset)
            number, wire = key >> 3, key & 7
            if wire == _BYTES_FIELD:
                size, offset = self._varint_at(offset)
            elif wire == 0:
                size = self._varint_at(offset)[1] - offset
            else:
                raise self.error(offset)
            if size > end - offset:
                raise self.error(offset)
            yield number, offset, offset + size
            offset += size

    def _varint_at(self, offset: int) -> tuple[int, int]:
        self._file.seek(offset)
        number = 0
        for i, byte in enumerate(self._file.read(10)):
            number |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return number, offset + i + 1
        raise self.error(offset)

    def numbers(self, start: int, end: int) -> Iterator[int]:
        """Yield varints (packed or single)."""
        while start < end:
            number, start = self._varint_at(start)
            yield number

    def text(self, start: int, end: int) -> str:
        if end - start > 65536:
            raise self.error(start)
        self._file.seek(start)
        try:
            return self._file.read(end - start).decode()
        except UnicodeDecodeError:
            raise self.error(start) from None
