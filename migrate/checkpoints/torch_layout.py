"""Lay out ``torch.save`` files without torch.

The archive holds a pickle, ``data.pkl``, that describes tensors, and one member per storage,
``data/KEY``, that holds their elements. Members, their order and their places are torch's.
"""

from __future__ import annotations

import hashlib
import pickle
import struct
from collections.abc import Mapping, Sequence

from mindport.migrate.checkpoints.layout import Data, Fixed, Layout
from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.checkpoints.zip_layout import ALIGNMENT, ZipLayout


def torch_layout(infos: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> Layout:
    """Lay out a file that ``torch.load(PATH, weights_only=True)`` gives as a dict of tensors.

    Args:
        infos: Dtype and shape of each tensor.
        metadata: Not held by this format.
    """
    root = "archive"
    content = _write_state_dict(infos)
    archive = ZipLayout()

    def add(name: str, data: bytes) -> None:
        archive.add(f"{root}/{name}", [Fixed(data)])

    add("data.pkl", content)
    add(".format_version", b"1")
    add(".storage_alignment", str(ALIGNMENT).encode())
    add("byteorder", b"little")
    for key, (name, info) in enumerate(infos.items()):
        data = [Data(name, 0, info.nbytes)] if info.nbytes else []
        archive.add(f"{root}/data/{key}", data)
    add("version", b"3\n")
    # torch derives these 40 digits from the names and checksums; they only tell files apart.
    digest = int.from_bytes(hashlib.sha256(content).digest(), "big")
    add(".data/serialization_id", str(digest).encode()[:40])
    return archive.finish()


def _write_state_dict(infos: Mapping[str, TensorInfo]) -> bytes:
    """Return the pickle of a dict of contiguous tensors; the n-th looks at the storage ``n``.

    It is what ``torch.save`` writes but for its memo, which only makes it shorter.

    Args:
        infos: Dtype and shape of each tensor.
    """
    parts = [pickle.PROTO, b"\2", pickle.EMPTY_DICT, pickle.MARK]
    for key, (name, info) in enumerate(infos.items()):
        stride = [1] * len(info.shape)
        for axis in range(len(stride) - 1, 0, -1):
            stride[axis - 1] = stride[axis] * max(info.shape[axis], 1)
        storage = (
            pickle.MARK + _text("storage") + _name("torch", f"{DTYPES[info.dtype].torch}Storage"),
            _text(str(key)) + _text("cpu") + _integer(info.count),
            pickle.TUPLE + pickle.BINPERSID,
        )
        hooks = _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
        parts += [
            _text(name), _name("torch._utils", "_rebuild_tensor_v2"), pickle.MARK, *storage,
            _integer(0), _integers(info.shape), _integers(stride), pickle.NEWFALSE, hooks,
            pickle.TUPLE, pickle.REDUCE,
        ]  # fmt: skip
    return b"".join([*parts, pickle.SETITEMS, pickle.STOP])


def _text(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _integer(number: int) -> bytes:
    if number < 1 << 31:
        return pickle.BININT + struct.pack("<i", number)
    return pickle.LONG1 + b"\x08" + struct.pack("<q", number)


def _integers(numbers: Sequence[int]) -> bytes:
    return pickle.MARK + b"".join(map(_integer, numbers)) + pickle.TUPLE
