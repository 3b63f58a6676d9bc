"""Tensors as every checkpoint format describes them: a dtype, a shape, and bytes on demand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import ml_dtypes
import numpy as np

from mindport.migrate.errors import CheckpointError


@dataclass(frozen=True)
class DType:
    """One element type under the names that the formats give it.

    Attributes:
        name: Our name, which is NumPy's and MindSpore's: ``float32`` …
        numpy: The NumPy type; bfloat16 comes from ``ml_dtypes``.
        safetensors: The code in a safetensors header.
        torch: The prefix of torch's storage class, such as ``Float`` in ``FloatStorage``.
        ckpt: ``tensor_type`` in a MindSpore ``.ckpt``.
    """

    name: str
    numpy: np.dtype[np.generic]
    safetensors: str
    torch: str
    ckpt: str

    @property
    def floating(self) -> bool:
        """Whether the type holds real numbers."""
        return self.name in FLOATS


FLOATS = ("float64", "float32", "float16", "bfloat16")

DTYPES: Mapping[str, DType] = {
    name: DType(name, np.dtype(numpy), code, torch, ckpt)
    for name, numpy, code, torch, ckpt in (
        ("float64", np.float64, "F64", "Double", "Float64"),
        ("float32", np.float32, "F32", "Float", "Float32"),
        ("float16", np.float16, "F16", "Half", "Float16"),
        ("bfloat16", ml_dtypes.bfloat16, "BF16", "BFloat16", "BFloat16"),
        ("int64", np.int64, "I64", "Long", "Int64"),
        ("int32", np.int32, "I32", "Int", "Int32"),
        ("int16", np.int16, "I16", "Short", "Int16"),
        ("int8", np.int8, "I8", "Char", "Int8"),
        ("uint8", np.uint8, "U8", "Byte", "UInt8"),
        ("bool", np.bool_, "BOOL", "Bool", "Bool"),
    )
}
BY_SAFETENSORS: Mapping[str, DType] = {d.safetensors: d for d in DTYPES.values()}
BY_TORCH: Mapping[str, DType] = {d.torch: d for d in DTYPES.values()}
BY_CKPT: Mapping[str, DType] = {d.ckpt: d for d in DTYPES.values()}


@dataclass(frozen=True)
class TensorInfo:
    """What a header says of a tensor.

    Attributes:
        dtype: One of :data:`DTYPES`.
        shape: Its axes.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return self.count * DTYPES[self.dtype].numpy.itemsize


@dataclass(frozen=True)
class Span:
    """Bytes of a tensor as they lie in a file: little-endian, in C order, nothing between them.

    Attributes:
        path: The file.
        offset: Where they start.
        size: How many there are.
    """

    path: Path
    offset: int
    size: int


class TensorReader(Protocol):
    """A checkpoint whose headers are known and whose tensors are read one at a time."""

    @property
    def format(self) -> str:
        """``safetensors``, ``torch``, ``ckpt`` or ``npz``."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold the tensors."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """Free text that the format carries beside the tensors; empty if it carries none."""
        ...

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Name to dtype and shape, in the order of the file."""
        ...

    def spans(self, name: str) -> tuple[Span, ...] | None:
        """Return where a tensor's bytes lie, in order, so that they can be copied unread.

        None if they must be decoded by :meth:`read`: they are compressed, strided, big-endian.
        """
        ...

    def read(self, name: str) -> np.ndarray:
        """Return one tensor.

        Raises:
            CheckpointError: If its bytes cannot be read.
        """
        ...

    def verify(self) -> None:
        """Compare all data with the checksums that the file carries, if it carries any.

        That reads the whole file, so it is not done when it is opened.

        Raises:
            CheckpointError: If a checksum does not match.
        """
        ...


def join_readers(readers: Iterable[TensorReader], origin: Path) -> TensorReader:
    """Return shards as one reader.

    Args:
        readers: The shards.
        origin: The index file, for messages.

    Raises:
        CheckpointError: If a tensor stands in two shards.
    """
    return _Joined(tuple(readers), origin)


class _Joined:
    def __init__(self, readers: tuple[TensorReader, ...], origin: Path) -> None:
        self._readers = readers
        self._owner: dict[str, TensorReader] = {}
        for reader in readers:
            for name in reader.infos:
                if name in self._owner:
                    raise CheckpointError(f"{origin}: the tensor {name!r} stands in two shards.")
                self._owner[name] = reader
        self.format = readers[0].format
        self.files = tuple(path for reader in readers for path in reader.files)
        self.metadata = readers[0].metadata
        self.infos = {name: owner.infos[name] for name, owner in self._owner.items()}

    def spans(self, name: str) -> tuple[Span, ...] | None:
        return self._owner[name].spans(name)

    def read(self, name: str) -> np.ndarray:
        return self._owner[name].read(name)

    def verify(self) -> None:
        for reader in self._readers:
            reader.verify()
