"""Read and write safetensors; written tensor by tensor, so one tensor at most is in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from mindport.migrate.checkpoints.tensors import BY_SAFETENSORS, DTYPES, TensorInfo
from mindport.migrate.errors import CheckpointError


class SafetensorsReader:
    """A single ``.safetensors`` file, checked by the safetensors library when opened.

    Args:
        path: The file.

    Raises:
        CheckpointError: If the file is truncated, corrupt, or has a dtype that we do not know.
    """

    format = "safetensors"

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        try:
            self._file = safe_open(str(path), framework="numpy")
            names = list(self._file.keys())
            slices = {name: self._file.get_slice(name) for name in names}
            self.metadata: Mapping[str, str] = self._file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} is not a whole safetensors file: {error}.",
                "Fetch or write the file again; it may have been cut off on the way.",
            ) from None
        codes = {name: s.get_dtype() for name, s in slices.items()}
        unknown = {name: code for name, code in codes.items() if code not in BY_SAFETENSORS}
        if unknown:
            name, code = next(iter(unknown.items()))
            raise CheckpointError(
                f"{path}: the tensor {name!r} has dtype {code}, which cannot be ported."
            )
        self.infos: Mapping[str, TensorInfo] = {
            name: TensorInfo(BY_SAFETENSORS[codes[name]].name, tuple(s.get_shape()))
            for name, s in slices.items()
        }

    def read(self, name: str) -> np.ndarray:
        """Return one tensor, a copy of its bytes in the file."""
        array: np.ndarray = self._file.get_tensor(name)
        # MindSpore registers a bfloat16 of its own; where it is loaded, that one may come.
        return array.view(DTYPES[self.infos[name].dtype].numpy)


def write_safetensors(
    path: Path,
    tensors: Iterable[tuple[str, np.ndarray]],
    infos: Mapping[str, TensorInfo],
    metadata: Mapping[str, str],
) -> None:
    """Write a safetensors file in one pass.

    The data stand in the order of the header: readers exist that refuse any other order.

    Args:
        path: Where to; the caller renames it into place.
        tensors: Name and array, in the order of :func:`storage_order`.
        infos: Dtype and shape of each.
        metadata: Free text for the header.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for name in storage_order(infos):
        info = infos[name]
        header[name] = {
            "dtype": DTYPES[info.dtype].safetensors,
            "shape": list(info.shape),
            "data_offsets": [offset, offset + info.nbytes],
        }
        offset += info.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data start on a multiple of eight
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for _, array in tensors:
            file.write(np.ascontiguousarray(array).ravel().view(np.uint8).data)


def storage_order(infos: Mapping[str, TensorInfo]) -> list[str]:
    """Return the names with the widest elements first, so that every tensor is aligned."""
    return sorted(infos, key=lambda name: -DTYPES[infos[name].dtype].numpy.itemsize)
