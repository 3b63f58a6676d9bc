"""Read a ``torch.save`` file (the zip form of torch 1.6 and later) without torch.

A pickle can run any code, so the unpickler here knows a handful of names, each needed to
describe a tensor, and refuses all others by name. Tensors stay in the archive until read.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.checkpoints.tensors import BY_TORCH, DTYPES, TensorInfo
from mindport.migrate.errors import CheckpointError

# People wrap the state dict under one of these names.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _StorageType:
    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


def _rebuild_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


_ADMITTED: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{
        ("torch", f"{prefix}Storage"): _StorageType(dtype.name)
        for prefix, dtype in BY_TORCH.items()
    },
}


class _TensorsOnly(pickle.Unpickler):
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise CheckpointError(
                f"{self._path} holds {module}.{name}, which is not a tensor; it was not loaded.",
                "A pickle can run code. Save a plain state dict (torch.save(model.state_dict(), "
                "PATH)) or, better, safetensors.",
            )
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", _StorageType() as kind, str(key), _, int(count)):
                return _Storage(key, kind.dtype, count)
        raise CheckpointError(f"{self._path} holds a storage record that torch does not write.")


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
        try:
            self._zip = zipfile.ZipFile(path)
            pickled = [n for n in self._zip.namelist() if n.endswith("/data.pkl")]
            if len(pickled) != 1:
                raise CheckpointError(f"{path} is a zip file, but not one that torch.save wrote.")
            self._root = pickled[0].removesuffix("data.pkl")
            if self._zip.getinfo(pickled[0]).compress_type != zipfile.ZIP_STORED:
                raise CheckpointError(f"{path} is compressed, which torch.save never does.")
            self._check_byte_order(path)
            with self._zip.open(pickled[0]) as file:
                content = _TensorsOnly(file, path).load()
        except zipfile.BadZipFile:
            raise CheckpointError(
                f"{path} is not a whole torch.save file (a zip archive).",
                "If it is whole, it is in the form before torch 1.6: load it in torch and "
                "save its state dict again.",
            ) from None
        except CheckpointError:
            raise
        except Exception as error:  # a damaged pickle fails in many ways, all of them ours to name
            raise CheckpointError(
                f"{path}: its table of tensors is damaged ({type(error).__name__}: {error}).",
                "Fetch or write the file again.",
            ) from None
        self._tensors = _state_dict(content, path)
        self.infos: Mapping[str, TensorInfo] = {
            name: TensorInfo(tensor.storage.dtype, tensor.shape)
            for name, tensor in self._tensors.items()
        }

    def _check_byte_order(self, path: Path) -> None:
        name = f"{self._root}byteorder"
        if name in self._zip.namelist() and self._zip.read(name) != b"little":
            raise CheckpointError(f"{path} was written on a big-endian machine; save it again.")

    def read(self, name: str) -> np.ndarray:
        """Return one tensor.

        Raises:
            CheckpointError: If its storage is absent, compressed, or too short.
        """
        tensor = self._tensors[name]
        dtype = DTYPES[tensor.storage.dtype].numpy
        data = self._storage_bytes(tensor.storage, tensor.storage.count * dtype.itemsize, name)
        flat = np.frombuffer(data, dtype, count=tensor.storage.count)
        last = tensor.offset + sum(
            (n - 1) * s for n, s in zip(tensor.shape, tensor.stride, strict=True)
        )
        if 0 in tensor.shape:
            return np.empty(tensor.shape, dtype)
        if tensor.offset < 0 or min(tensor.stride, default=0) < 0 or last >= flat.size:
            raise CheckpointError(f"{self.files[0]}: {name!r} reaches beyond its storage.")
        return np.lib.stride_tricks.as_strided(
            flat[tensor.offset :],
            tensor.shape,
            [s * dtype.itemsize for s in tensor.stride],
            writeable=False,
        )

    def spans(self, name: str) -> None:
        """Return None for now: tensors are decoded by :meth:`read`."""
        return

    def _storage_bytes(self, storage: _Storage, size: int, name: str) -> bytes:
        member = f"{self._root}data/{storage.key}"
        try:
            entry = self._zip.getinfo(member)
            # torch never compresses; a compressed entry could unpack to any size.
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size < size:
                raise CheckpointError(f"{self.files[0]}: the data of {name!r} are not whole.")
            return self._zip.read(member)
        except (KeyError, zipfile.BadZipFile, OSError) as error:
            raise CheckpointError(
                f"{self.files[0]}: the data of {name!r} cannot be read ({error})."
            ) from None


def _state_dict(content: Any, path: Path) -> dict[str, _Tensor]:
    if isinstance(content, dict):
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), dict):
                content = content[wrapper]
                break
    describe: Callable[[Any], str] = lambda value: type(value).__name__  # noqa: E731
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds {describe(content)}, not a state dict (a dict of tensors)."
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise CheckpointError(
                f"{path}: the entry {name!r} is {describe(value)}, not a tensor.",
                "Save the state dict alone: torch.save(model.state_dict(), PATH).",
            )
    return dict(content)
