"""What a checkpoint may hold at most, so that a file made to do harm costs little to refuse.

Each limit lies far above what any model has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.errors import CheckpointError

MAX_HEADER_BYTES = 100_000_000
"""Of a safetensors header (the safetensors library has the same limit) or a shard index."""
MAX_PICKLE_BYTES = 32 << 20
"""Of the pickle in a ``torch.save`` file; 100,000 tensors need less."""
MAX_TENSORS = 1_000_000
MAX_NAME_BYTES = 4096
MAX_AXES = 32
"""NumPy's limit."""
MAX_TENSOR_BYTES = 2**63 - 1

_SHOWN = 80


def show(text: object) -> str:
    """Return a name from a file for a message: quoted, control characters escaped, clipped."""
    if isinstance(text, str) and len(text) > _SHOWN:
        return f"{text[:_SHOWN]!r}…"
    return repr(text) if isinstance(text, str | int) else type(text).__name__


def check_infos(infos: Mapping[str, TensorInfo], path: Path) -> None:
    """Raise unless every tensor has a usable name and a shape that memory could hold.

    Raises:
        CheckpointError: If a name is empty, too long or not text, or a shape is beyond the limits.
    """
    if len(infos) > MAX_TENSORS:
        raise CheckpointError(f"{path} holds over {MAX_TENSORS} tensors.")
    for name, info in infos.items():
        check_name(name, path)
        if len(info.shape) > MAX_AXES:
            raise CheckpointError(f"{path}: {show(name)} has over {MAX_AXES} axes.")
        # NumPy multiplies the axes that are not zero, even of an array without elements.
        extent = math.prod(max(size, 1) for size in info.shape)
        if min(info.shape, default=0) < 0 or (
            extent * DTYPES[info.dtype].numpy.itemsize > MAX_TENSOR_BYTES
        ):
            raise CheckpointError(f"{path}: {show(name)} has a shape that no tensor can have.")


def check_name(name: str, path: Path) -> None:
    """Raise unless ``name`` can be the name of a tensor in any format.

    Raises:
        CheckpointError: If it is empty, too long, or has code points that UTF-8 cannot write.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= MAX_NAME_BYTES:
        raise CheckpointError(
            f"{path}: the tensor name {show(name)} is empty, longer than {MAX_NAME_BYTES} bytes, "
            "or not text."
        )
