"""Read and lay out NumPy's ``.npz``: a zip archive of ``.npy`` files, one per tensor.

A ``.npy`` file is a magic number, the length of a header, the header, which looks like a Python
dict, and the elements (``numpy.lib.format``). The header is matched, never evaluated, and of the
types only numbers are known: no object is ever unpickled. NumPy writes the bfloat16 of
``ml_dtypes`` as ``V2``, two bytes of no known kind, and so that is read as bfloat16.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mindport.migrate.checkpoints.layout import Data, Fixed, Layout
from mindport.migrate.checkpoints.limits import check_infos, check_name, show
from mindport.migrate.checkpoints.source import SourceFile
from mindport.migrate.checkpoints.tensors import DTYPES, DType, Span, TensorInfo
from mindport.migrate.checkpoints.zip_archive import Member, ZipArchive
from mindport.migrate.checkpoints.zip_layout import ALIGNMENT, ZipLayout
from mindport.migrate.errors import CheckpointError

_SUFFIX = ".npy"
_MAGIC = b"\x93NUMPY"
_LENGTHS = {
    b"\1\0": struct.Struct("<H"),
    b"\2\0": struct.Struct("<I"),
    b"\3\0": struct.Struct("<I"),
}
_MAX_HEADER = 10_000  # as numpy.load has it
# No part of it can match what the next one can: a pattern that has to guess takes for ever.
_HEADER = re.compile(
    rb"\{ *'descr': *'([^']*)', *'fortran_order': *(False|True), *'shape': *\(([^)]*)\),? *\}\s*"
)
_SHAPE = re.compile(rb"|(\d{1,19},){1,64}(\d{1,19})?")
_BY_CODE: Mapping[str, DType] = {dtype.numpy.str[1:]: dtype for dtype in DTYPES.values()}


@dataclass(frozen=True)
class _Array:
    member: Member
    head: bytes
    info: TensorInfo
    big_endian: bool
    fortran: bool


class NpzReader:
    """A ``.npz`` file, compressed or not.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it is truncated, or holds anything but arrays of numbers.
    """

    format = "npz"
    metadata: Mapping[str, str] = {}

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        self._source = SourceFile(path)
        self._archive = ZipArchive(self._source)
        self._arrays: dict[str, _Array] = {}
        for member in self._archive.members.values():
            name = member.name.removesuffix(_SUFFIX)
            if name == member.name:
                raise CheckpointError(f"{path} holds {show(member.name)}, which is not an array.")
            check_name(name, path)
            self._arrays[name] = self._array(name, member)
        self.infos: Mapping[str, TensorInfo] = {n: a.info for n, a in self._arrays.items()}
        check_infos(self.infos, path)
        for name, array in self._arrays.items():
            if len(array.head) + array.info.nbytes != array.member.size:
                raise self._damaged(name)

    def _damaged(self, name: str) -> CheckpointError:
        return CheckpointError(
            f"{self.files[0]}: {show(name)} is not a whole array.", "Fetch or write the file again."
        )

    def _array(self, name: str, member: Member) -> _Array:
        start = self._archive.start(member, len(_MAGIC) + 6 + _MAX_HEADER)
        length = _LENGTHS.get(start[6:8])
        if not start.startswith(_MAGIC) or length is None or len(start) < 8 + length.size:
            raise self._damaged(name)
        size = 8 + length.size + length.unpack_from(start, 8)[0]
        header = _HEADER.fullmatch(start, 8 + length.size, size)
        shape = header and header[3].replace(b" ", b"")
        if size > len(start) or not header or not _SHAPE.fullmatch(shape or b""):
            raise CheckpointError(
                f"{self.files[0]}: {show(name)} is not an array of numbers.",
                "Arrays of objects are never loaded: they can run code.",
            )
        code = header[1].decode("latin-1")
        if code[:1] not in "<>|" or code[1:] not in _BY_CODE:
            raise CheckpointError(
                f"{self.files[0]}: the tensor {show(name)} has type {show(code)}, which cannot be "
                "ported."
            )
        axes = tuple(map(int, re.findall(rb"\d+", header[3])))
        info = TensorInfo(_BY_CODE[code[1:]].name, axes)
        return _Array(member, start[:size], info, code[0] == ">", header[2] == b"True")

    def spans(self, name: str) -> tuple[Span, ...] | None:
        """Return where a tensor's bytes lie; None if compressed, big-endian or in Fortran order."""
        array = self._arrays[name]
        long_axes = sum(size != 1 for size in array.info.shape)
        if array.member.deflated or array.big_endian or (array.fortran and long_axes > 1):
            return None
        offset = self._archive.data_offset(array.member) + len(array.head)
        return (Span(self.files[0], offset, array.info.nbytes),)

    def read(self, name: str) -> np.ndarray:
        """Return one tensor.

        Raises:
            CheckpointError: If its data do not match their checksum.
        """
        array = self._arrays[name]
        content = np.empty(array.member.size, np.uint8)
        filled = 0
        for block in self._archive.blocks(array.member):
            content[filled : filled + len(block)] = np.frombuffer(block, np.uint8)
            filled += len(block)
        flat = content[len(array.head) :]
        dtype = DTYPES[array.info.dtype].numpy
        if array.big_endian:
            dtype = dtype.newbyteorder(">")
        shape = array.info.shape
        values: np.ndarray = np.ndarray(
            shape, dtype, flat.data, order="F" if array.fortran else "C"
        )
        return values.astype(DTYPES[array.info.dtype].numpy, copy=False)

    def verify(self) -> None:
        """Compare every array with its checksum.

        Raises:
            CheckpointError: If one does not match.
        """
        self._archive.verify()


def npz_layout(infos: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> Layout:
    """Lay out a ``.npz`` that ``numpy.load(PATH, allow_pickle=False)`` reads.

    Args:
        infos: Dtype and shape of each tensor.
        metadata: Not held by this format.

    Raises:
        CheckpointError: If a name would be another one in the archive.
    """
    archive = ZipLayout()
    for name, info in infos.items():
        if name.endswith(_SUFFIX) or "\0" in name:
            raise CheckpointError(
                f"The tensor {show(name)} cannot stand in a .npz under its name.",
                "Write safetensors.",
            )
        data = [Data(name, 0, info.nbytes)] if info.nbytes else []
        archive.add(f"{name}{_SUFFIX}", [Fixed(_head(info)), *data])
    return archive.finish()


def _head(info: TensorInfo) -> bytes:
    descr = DTYPES[info.dtype].numpy.str
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {info.shape}, }}"
    fixed = len(_MAGIC) + 4
    text = text.ljust(len(text) + -(fixed + len(text) + 1) % ALIGNMENT) + "\n"
    return _MAGIC + b"\1\0" + struct.pack("<H", len(text)) + text.encode()
