"""Read and lay out safetensors: 8 bytes of header length, a JSON header, the data.

The header is read here rather than by the safetensors library, which maps the whole file and does
not tell where a tensor's bytes lie. https://github.com/huggingface/safetensors has the format.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.checkpoints.json_text import parse_json
from mindport.migrate.checkpoints.layout import Data, Fixed, Layout
from mindport.migrate.checkpoints.limits import MAX_HEADER_BYTES, check_infos, show
from mindport.migrate.checkpoints.source import SourceFile
from mindport.migrate.checkpoints.tensors import BY_SAFETENSORS, DTYPES, Span, TensorInfo
from mindport.migrate.errors import CheckpointError

_LENGTH = 8  # bytes of the header's length
_METADATA = "__metadata__"
_INTEGERS = {"int64", "int32", "int16", "int8", "uint8"}
_MOST_ZEROS = 16 << 20  # beyond it, we cannot tell
_ENTRY = {"dtype", "shape", "data_offsets"}


class SafetensorsReader:
    """A single ``.safetensors`` file.

    Args:
        path: The file.

    Raises:
        CheckpointError: If the file is truncated, corrupt, or has a dtype that we do not know.
    """

    format = "safetensors"

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        self._source = SourceFile(path)
        header, self._start = self._header()
        metadata = header.pop(_METADATA, {})
        if not isinstance(metadata, dict) or not all(
            map(_is_text, (*metadata, *metadata.values()))
        ):
            raise self._damaged("its metadata are not text")
        self.metadata: Mapping[str, str] = metadata
        entries = {name: self._entry(name, content) for name, content in header.items()}
        in_order = sorted(entries, key=lambda name: entries[name][1])
        self.infos: Mapping[str, TensorInfo] = {name: entries[name][0] for name in in_order}
        check_infos(self.infos, path)
        self._offsets: dict[str, int] = {}
        end = 0
        for name in in_order:
            info, (start, stop) = entries[name]
            if start != end or stop - start != info.nbytes:
                raise self._damaged(
                    f"the data of {show(name)} do not fit its shape or follow those before it"
                )
            self._offsets[name], end = start, stop
        if self._start + end != self._source.size:
            raise self._damaged(
                f"its header speaks of {self._start + end} bytes, and it has {self._source.size}"
            )

    def _damaged(self, reason: str) -> CheckpointError:
        return CheckpointError(
            f"{self.files[0]} is not a whole safetensors file: {reason}.",
            "Fetch or write the file again; it may have been cut off on the way.",
        )

    def _header(self) -> tuple[dict[str, Any], int]:
        if self._source.size < _LENGTH:
            raise self._damaged("it is too short")
        length = int.from_bytes(self._source.read(0, _LENGTH), "little")
        if length > min(self._source.size - _LENGTH, MAX_HEADER_BYTES):
            raise self._damaged(f"its header cannot have {length} bytes")
        try:
            header = parse_json(self._source.read(_LENGTH, length))
        except ValueError as error:
            raise self._damaged(f"its header is not JSON ({error})") from None
        if not isinstance(header, dict):
            raise self._damaged("its header is not a table")
        return header, _LENGTH + length

    def _entry(self, name: str, content: Any) -> tuple[TensorInfo, tuple[int, int]]:
        if not isinstance(content, dict) or set(content) != _ENTRY:
            raise self._damaged(f"the entry of {show(name)} is not a tensor's")
        code, shape, offsets = content["dtype"], content["shape"], content["data_offsets"]
        if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
            raise self._damaged(f"the shape or place of {show(name)} is nonsense")
        if not isinstance(code, str) or code not in BY_SAFETENSORS:
            raise CheckpointError(
                f"{self.files[0]}: the tensor {show(name)} has dtype {show(code)}, which cannot "
                "be ported."
            )
        return TensorInfo(BY_SAFETENSORS[code].name, tuple(shape)), (offsets[0], offsets[1])

    def spans(self, name: str) -> tuple[Span, ...]:
        """Return where a tensor's bytes lie."""
        offset = self._start + self._offsets[name]
        return (Span(self.files[0], offset, self.infos[name].nbytes),)

    def read(self, name: str) -> np.ndarray:
        """Return one tensor, a copy of its bytes in the file."""
        return self._source.read_tensor(self.spans(name), self.infos[name])

    def verify(self) -> None:
        """Compare the data with the checksum that MindSpore's ``crc_check`` leaves, if it did.

        Raises:
            CheckpointError: If it does not match.
        """
        wanted = self.metadata.get("crc_num")
        if wanted is None or self.metadata.get("format") != "ms":
            return
        crc = 0
        for name in sorted(self.infos):
            (span,) = self.spans(name)
            crc = zlib.crc32(name.encode(), crc)
            if self.infos[name].shape == () and self.infos[name].dtype in _INTEGERS:
                # MindSpore sums bytes(array): for a 0-d integer, as many zeros as it says.
                count = int(self.read(name))
                if not 0 <= count <= _MOST_ZEROS:
                    return
                crc = zlib.crc32(bytes(count), crc)
                continue
            crc = self._source.crc32(span.offset, span.offset + span.size, crc)
        if str(crc) != wanted:
            raise CheckpointError(
                f"{self.files[0]} does not match its checksum: bytes in it were changed.",
                "Fetch or write the file again.",
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def safetensors_layout(infos: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> Layout:
    """Lay out a safetensors file.

    The data stand in the order of the header: readers exist that refuse any other order.

    Args:
        infos: Dtype and shape of each tensor.
        metadata: Free text for the header.

    Raises:
        CheckpointError: If a tensor bears the name of the metadata, or the header is too long.
    """
    if _METADATA in infos:
        raise CheckpointError(f"A tensor in safetensors cannot be called {_METADATA}.")
    header: dict[str, object] = {_METADATA: dict(metadata)}
    offset = 0
    order = storage_order(infos)
    for name in order:
        info = infos[name]
        header[name] = {
            "dtype": DTYPES[info.dtype].safetensors,
            "shape": list(info.shape),
            "data_offsets": [offset, offset + info.nbytes],
        }
        offset += info.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data start on a multiple of eight
    if len(text) > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"The names of the tensors need a header of over {MAX_HEADER_BYTES} bytes, which "
            "safetensors does not allow.",
            "Write several files.",
        )
    head = Fixed(len(text).to_bytes(_LENGTH, "little") + text)
    data = (Data(name, 0, infos[name].nbytes) for name in order if infos[name].nbytes)
    return Layout((head, *data))


def storage_order(infos: Mapping[str, TensorInfo]) -> list[str]:
    """Return the names with the widest elements first, so that every tensor is aligned."""
    return sorted(infos, key=lambda name: -DTYPES[infos[name].dtype].numpy.itemsize)
