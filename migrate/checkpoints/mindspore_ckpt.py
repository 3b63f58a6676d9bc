r"""Read and lay out MindSpore's ``.ckpt`` without MindSpore.

The file is one protobuf message, ``Checkpoint { repeated Value value = 1 }`` with ``Value { string
tag = 1; TensorProto tensor = 2 }`` and ``TensorProto { repeated int64 dims = 1; string
tensor_type = 2; bytes tensor_content = 3 }`` (``mindspore/train/checkpoint_pb2``). A repeated
message field is simply written again and again, so a file can be written tensor by tensor.
Tensors above 512 MiB stand in slices that repeat the tag and the whole tensor's dims.

``save_checkpoint(crc_check=True)`` adds ``crc_num`` and, in ten bytes with the highest first, the
CRC-32 of all before it. MindSpore from 2.7 on skips it unless ``load_checkpoint(crc_check=True)``
asks for it, so files are always written with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mindport.migrate.checkpoints.layout import Checksum, Data, Fixed, Layout, Segment
from mindport.migrate.checkpoints.limits import (
    MAX_AXES,
    MAX_NAME_BYTES,
    MAX_TENSORS,
    check_infos,
    show,
)
from mindport.migrate.checkpoints.protobuf import Scanner, bytes_head, varint_field
from mindport.migrate.checkpoints.source import SourceFile
from mindport.migrate.checkpoints.tensors import BY_CKPT, DTYPES, Span, TensorInfo
from mindport.migrate.errors import CheckpointError

SLICE_BYTES = 512 * 1024 * 1024
_CRC_MARK = b"crc_num"
_CRC_BYTES = 10
_TAG, _TENSOR, _MAP_TENSOR = 1, 2, 3  # fields of a Value
_DIMS, _TYPE, _CONTENT = 1, 2, 3  # fields of a TensorProto
_LONGEST_TYPE = 64


@dataclass
class _Entry:
    info: TensorInfo
    spans: list[Span] = field(default_factory=list)


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
        self._source = SourceFile(path)
        self._scanner = Scanner(self._source)
        self._crc, self._end = self._trailer()
        self._entries: dict[str, _Entry] = {}
        last = ""
        for number, start, stop in self._scanner.fields(0, self._end):
            if number != 1 or len(self._entries) > MAX_TENSORS:
                raise self._scanner.error(start)
            last = self._add(start, stop, last)
        self.infos: Mapping[str, TensorInfo] = {n: e.info for n, e in self._entries.items()}
        check_infos(self.infos, path)
        for name, entry in self._entries.items():
            self._check_pieces(name, entry)

    def _trailer(self) -> tuple[int | None, int]:
        """Return the CRC-32 of the file, if it has one, and where its message ends."""
        size = len(_CRC_MARK) + _CRC_BYTES
        end = self._source.size - size
        trailer = self._source.read(end, size) if end >= 0 else b""
        if not trailer.startswith(_CRC_MARK):
            return None, self._source.size
        return int.from_bytes(trailer[len(_CRC_MARK) :], "big"), end

    def _add(self, start: int, stop: int, last: str) -> str:
        scanner = self._scanner
        parts: dict[int, tuple[int, int]] = {}
        for number, a, b in scanner.fields(start, stop):
            if number not in (_TAG, _TENSOR, _MAP_TENSOR) or number in parts:
                raise scanner.error(a)
            parts[number] = a, b
        if _TAG not in parts or len(parts) != 2:
            raise scanner.error(start)
        name = scanner.text(*parts[_TAG], MAX_NAME_BYTES)
        if _MAP_TENSOR in parts:
            raise CheckpointError(
                f"{self.files[0]}: {show(name)} is a map parameter (a hash table), which cannot "
                "be ported."
            )
        info, piece = self._tensor(name, *parts[_TENSOR])
        entry = self._entries.setdefault(name, _Entry(info))
        if entry.info != info or (entry.spans and last != name):
            raise CheckpointError(f"{self.files[0]}: two tensors are called {show(name)}.")
        entry.spans.append(piece)
        return name

    def _tensor(self, name: str, start: int, stop: int) -> tuple[TensorInfo, Span]:
        scanner = self._scanner
        dims: list[int] = []
        parts: dict[int, tuple[int, int]] = {}
        for number, a, b in scanner.fields(start, stop):
            if number == _DIMS and len(dims) <= MAX_AXES:
                dims.extend(scanner.numbers(a, min(b, a + 10 * (MAX_AXES + 1))))
            elif number in (_TYPE, _CONTENT) and number not in parts:
                parts[number] = a, b
            else:
                raise scanner.error(a)
        if len(parts) != 2:
            raise scanner.error(start)
        kind = scanner.text(*parts[_TYPE], _LONGEST_TYPE)
        if kind == "str":
            raise CheckpointError(
                f"{self.files[0]}: {show(name)} is a text, not a tensor.",
                "Save the parameters alone, without append_dict.",
            )
        if kind not in BY_CKPT:
            raise CheckpointError(
                f"{self.files[0]}: the tensor {show(name)} has type {show(kind)}, which cannot be "
                "ported."
            )
        dtype = BY_CKPT[kind]
        a, b = parts[_CONTENT]
        if dims == [0] and b - a == dtype.numpy.itemsize:
            dims = []  # so MindSpore reads it
        return TensorInfo(dtype.name, tuple(dims)), Span(self.files[0], a, b - a)

    def _check_pieces(self, name: str, entry: _Entry) -> None:
        sizes = [span.size for span in entry.spans]
        if sum(sizes) != entry.info.nbytes or (len(sizes) > 1 and 0 in sizes):
            raise CheckpointError(
                f"{self.files[0]}: the data of {show(name)} do not fit its shape."
            )

    def spans(self, name: str) -> tuple[Span, ...]:
        """Return where a tensor's bytes lie: several pieces above 512 MiB."""
        return tuple(self._entries[name].spans)

    def read(self, name: str) -> np.ndarray:
        """Return one tensor."""
        return self._source.read_tensor(self.spans(name), self.infos[name])

    def verify(self) -> None:
        """Compare the file with its checksum, if it has one.

        Raises:
            CheckpointError: If it does not match.
        """
        if self._crc is not None and self._source.crc32(0, self._end) != self._crc:
            raise CheckpointError(
                f"{self.files[0]} does not match its checksum: bytes in it were changed.",
                "Fetch or write the file again.",
            )


def ckpt_layout(infos: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> Layout:
    """Lay out a ``.ckpt``.

    Args:
        infos: Dtype and shape of each tensor.
        metadata: Not held by this format.

    Raises:
        CheckpointError: If a tensor has the shape (0,), which MindSpore takes for a scalar.
    """
    segments: list[Segment] = []
    for name, info in infos.items():
        if info.shape == (0,):
            raise CheckpointError(
                f"{show(name)} has the shape (0,), and MindSpore would read it as a scalar.",
                "Write safetensors.",
            )
        segments.extend(_values(name, info))
    size = sum(segment.size for segment in segments)
    segments.append(Fixed(_CRC_MARK))
    segments.append(Checksum(_CRC_BYTES, 0, size, lambda crc: crc.to_bytes(_CRC_BYTES, "big")))
    return Layout(tuple(segments))


def _values(name: str, info: TensorInfo) -> Iterator[Segment]:
    tag = name.encode()
    dims = b"".join(varint_field(_DIMS, size) for size in info.shape)
    kind = DTYPES[info.dtype].ckpt.encode()
    for start in range(0, max(info.nbytes, 1), SLICE_BYTES):
        data = Data(name, start, min(start + SLICE_BYTES, info.nbytes))
        tensor = dims + bytes_head(_TYPE, len(kind)) + kind + bytes_head(_CONTENT, data.size)
        tensor_head = bytes_head(_TENSOR, len(tensor) + data.size)
        value = bytes_head(_TAG, len(tag)) + tag + tensor_head + tensor
        yield Fixed(bytes_head(1, len(value) + data.size) + value)
        if data.size:
            yield data
