"""What is written: one file, or several that each hold whole tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mindport.migrate.checkpoints.formats import Format
from mindport.migrate.checkpoints.layout import Layout
from mindport.migrate.checkpoints.tensors import TensorInfo
from mindport.migrate.errors import MindportError

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A file to be written.

    Attributes:
        name: What it is called.
        infos: Its tensors.
        layout: Its bytes.
    """

    name: str
    infos: Mapping[str, TensorInfo]
    layout: Layout


def parse_size(text: str) -> int:
    """Return the bytes that a size such as ``2GB`` (10^9 each) or ``500MiB`` (2^20 each) means.

    Raises:
        MindportError: If it is none, or not above zero.
    """
    match = re.fullmatch(r"\s*(\d+)\s*([KMGT]I?B)?\s*", text.upper())
    if match is None or not int(match[1]):
        raise MindportError(f"{text!r} is not a size.", "Write it as 2GB, 500MB or 512MiB.")
    return int(match[1]) * _UNITS[match[2] or ""]


def divide(
    infos: Mapping[str, TensorInfo],
    file_format: Format,
    metadata: Mapping[str, str],
    max_bytes: int | None,
) -> list[Part]:
    """Divide tensors into files, in order.

    A file is full when the next tensor would make its tensors larger than ``max_bytes``, as
    transformers counts; a tensor that is larger has a file to itself.

    Args:
        infos: The tensors, in the order in which they are to be written.
        file_format: The format of each file.
        metadata: What each file says of itself.
        max_bytes: The most bytes of tensors in a file; None for one file.

    Raises:
        CheckpointError: If the format cannot hold a tensor.
    """
    groups: list[dict[str, TensorInfo]] = [{}]
    size = 0
    for name, info in infos.items():
        if max_bytes is not None and groups[-1] and size + info.nbytes > max_bytes:
            groups.append({})
            size = 0
        groups[-1][name] = info
        size += info.nbytes
    names = file_format.shard_names(len(groups)) if len(groups) > 1 else [file_format.file_name]
    return [
        Part(name, group, file_format(group, metadata))
        for name, group in zip(names, groups, strict=True)
    ]
