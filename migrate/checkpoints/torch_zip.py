"""Read ``torch.save`` files (the zip form of torch 1.6 and later) without torch.

The archive holds a pickle, ``data.pkl``, that describes tensors, and one member per storage,
``data/KEY``, that holds their elements.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mindport.migrate.checkpoints.limits import MAX_PICKLE_BYTES, check_infos, show
from mindport.migrate.checkpoints.source import SourceFile
from mindport.migrate.checkpoints.tensors import DTYPES, Span, TensorInfo
from mindport.migrate.checkpoints.torch_pickle import View, read_state_dict
from mindport.migrate.checkpoints.zip_archive import ZipArchive
from mindport.migrate.errors import CheckpointError

# How files start that are not zip archives: a pickle of torch's magic number, in two protocols.
_BEFORE_1_6 = (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80\x04\x95\r\0\0\0\0\0\0\0\x8a\nl")
_TAR_MAGIC, _TAR_OFFSET = b"ustar", 257


class TorchZipReader:
    """A ``.bin``, ``.pth`` or ``.pt`` state dict.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it is truncated, is not a zip, or holds anything but tensors.
    """

    format = "torch"
    metadata: Mapping[str, str] = {}

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        self._source = SourceFile(path)
        self._check_form()
        self._archive = ZipArchive(self._source, zero_is_none=True)
        members = self._archive.members
        pickled = [name for name in members if name.endswith("/data.pkl")]
        if len(pickled) != 1:
            raise CheckpointError(f"{path} is a zip file, but not one that torch.save wrote.")
        self._root = pickled[0].removesuffix("data.pkl")
        if f"{self._root}constants.pkl" in members:
            raise CheckpointError(
                f"{path} is a TorchScript program, not a state dict.",
                "torch.save(torch.jit.load(PATH).state_dict(), OTHER)",
            )
        if members[pickled[0]].deflated:
            raise CheckpointError(f"{path} is compressed, which torch.save never does.")
        if self._read_small("byteorder", 16) not in (None, b"little"):
            raise CheckpointError(f"{path} was written on a big-endian machine; save it again.")
        self._views = read_state_dict(self._read_small("data.pkl", MAX_PICKLE_BYTES) or b"", path)
        self.infos: Mapping[str, TensorInfo] = {
            name: TensorInfo(view.storage.dtype, view.shape) for name, view in self._views.items()
        }
        check_infos(self.infos, path)
        for name, view in self._views.items():
            self._check_view(name, view)

    def _check_form(self) -> None:
        path = self.files[0]
        start = self._source.read(0, min(self._source.size, _TAR_OFFSET + len(_TAR_MAGIC)))
        if start.startswith(_BEFORE_1_6) or start.endswith(_TAR_MAGIC):
            raise CheckpointError(
                f"{path} is a torch.save file in the form before torch 1.6 (not a zip archive).",
                "Load it in torch (torch.load(PATH, weights_only=True)) and save its state dict "
                "again.",
            )
        if not start.startswith(b"PK"):
            raise CheckpointError(
                f"{path} is not a whole torch.save file (a zip archive).",
                "If it is whole, it is of another kind: load it with what wrote it, and save its "
                "state dict again.",
            )

    def _read_small(self, name: str, most: int) -> bytes | None:
        member = self._archive.members.get(f"{self._root}{name}")
        if member is None:
            return None
        if member.size > most:
            raise CheckpointError(f"{self.files[0]}: {show(member.name)} is too large.")
        return self._archive.read(member)

    def _check_view(self, name: str, view: View) -> None:
        member = self._archive.members.get(f"{self._root}data/{view.storage.key}")
        itemsize = DTYPES[view.storage.dtype].numpy.itemsize
        # torch never compresses; a compressed storage could unpack to any size.
        if member is None or member.deflated or member.size < view.storage.count * itemsize:
            raise CheckpointError(f"{self.files[0]}: the data of {show(name)} are not whole.")
        negative = min(view.offset, *view.stride, 0) < 0
        if negative or len(view.stride) != len(view.shape) or _end(view) > view.storage.count:
            raise CheckpointError(f"{self.files[0]}: {show(name)} reaches beyond its storage.")
        if math.prod(view.shape) > view.storage.count:
            raise CheckpointError(
                f"{self.files[0]}: {show(name)} shows the same elements again and again "
                "(torch.Tensor.expand).",
                "Save tensor.contiguous() instead.",
            )

    def _place(self, view: View, count: int) -> Span:
        """Return where ``count`` elements lie, from the first that the view looks at."""
        member = self._archive.members[f"{self._root}data/{view.storage.key}"]
        itemsize = DTYPES[view.storage.dtype].numpy.itemsize
        start = self._archive.data_offset(member) + view.offset * itemsize
        return Span(self.files[0], start, count * itemsize)

    def spans(self, name: str) -> tuple[Span, ...] | None:
        """Return where a tensor's bytes lie; None if it is strided."""
        view, info = self._views[name], self.infos[name]
        if not info.count:
            return ()
        return (self._place(view, info.count),) if _is_contiguous(view) else None

    def read(self, name: str) -> np.ndarray:
        """Return one tensor; of its storage, only what it looks at is read.

        Raises:
            CheckpointError: If the data do not match their checksum.
        """
        info, view = self.infos[name], self._views[name]
        if not info.count:
            return np.empty(info.shape, DTYPES[info.dtype].numpy)
        count = _end(view) - view.offset
        flat = self._source.read_tensor(
            (self._place(view, count),), TensorInfo(info.dtype, (count,))
        )
        member = self._archive.members[f"{self._root}data/{view.storage.key}"]
        if flat.nbytes == member.size:
            self._archive.check(member, zlib.crc32(flat.view(np.uint8).data))
        # The stride of an axis of one element can be any number; NumPy wants one that fits.
        steps = zip(view.shape, view.stride, strict=True)
        strides = [flat.itemsize * (stride if size > 1 else 1) for size, stride in steps]
        return np.ndarray(info.shape, flat.dtype, flat.view(np.uint8).data, strides=strides)

    def verify(self) -> None:
        """Compare every member with its checksum.

        Raises:
            CheckpointError: If one does not match.
        """
        self._archive.verify()


def _end(view: View) -> int:
    """Return the offset after the last element that the view looks at; its own if it is empty."""
    if 0 in view.shape:
        return view.offset
    last = sum((size - 1) * step for size, step in zip(view.shape, view.stride, strict=True))
    return view.offset + last + 1


def _is_contiguous(view: View) -> bool:
    step = 1
    for size, stride in zip(reversed(view.shape), reversed(view.stride), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True
