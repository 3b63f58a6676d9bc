"""Weights in several files, and the index that says which tensor stands in which.

The index is the one of transformers: ``{"metadata": {"total_size": BYTES}, "weight_map": {TENSOR:
FILE}}``, as JSON beside the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mindport.migrate.checkpoints.json_text import parse_json
from mindport.migrate.checkpoints.limits import MAX_HEADER_BYTES, show
from mindport.migrate.checkpoints.source import SourceFile
from mindport.migrate.checkpoints.tensors import TensorInfo, TensorReader, join_readers
from mindport.migrate.errors import CheckpointError

_LONGEST_FILE_NAME = 255  # bytes; what file systems allow


def index_content(
    shards: Mapping[str, Mapping[str, TensorInfo]], metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what an index says, to be written as JSON.

    Args:
        shards: The name of each file and the tensors that stand in it.
        metadata: What to say beside the size.
    """
    size = sum(info.nbytes for infos in shards.values() for info in infos.values())
    return {
        "metadata": {**(metadata or {}), "total_size": size},
        "weight_map": {name: file for file, infos in shards.items() for name in infos},
    }


def open_shards(index: Path, open_file: Callable[[Path], TensorReader]) -> TensorReader:
    """Open all files that an index names as one reader.

    A name must be that of a file in the index's folder. That file may be a symbolic link to
    elsewhere: the cache of the hub consists of such, and only the folder's owner can make them.

    Args:
        index: The index.
        open_file: Opens one shard.

    Raises:
        CheckpointError: If the index is none, a shard is missing, or they do not agree.
    """
    weight_map = _weight_map(index)
    shards = sorted(set(weight_map.values()))
    missing = [shard for shard in shards if not (index.parent / shard).is_file()]
    if missing or not shards:
        raise CheckpointError(
            f"{index} names {len(missing)} of {len(shards)} shards that are not there: "
            f"{_listed(missing) or 'none at all'}.",
            "Fetch the missing files into the same folder.",
        )
    readers = {shard: open_file(index.parent / shard) for shard in shards}
    joined = join_readers(readers.values(), index)
    absent = [name for name in weight_map if name not in joined.infos]
    if absent:
        raise CheckpointError(
            f"{index} lists {len(absent)} tensors that its shards do not hold: "
            f"{_listed(sorted(absent))}."
        )
    for name, shard in weight_map.items():
        if name not in readers[shard].infos:
            raise CheckpointError(f"{index} says that {show(name)} stands in {shard}; it does not.")
    return joined


def _weight_map(index: Path) -> dict[str, str]:
    source = SourceFile(index)
    try:
        if source.size > MAX_HEADER_BYTES:
            raise ValueError(f"it has over {MAX_HEADER_BYTES} bytes")
        weight_map = parse_json(source.read(0, source.size))["weight_map"]
        items = list(weight_map.items())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{index} is not a shard index ({type(error).__name__}: {error}).",
            "It should map tensor names to files under 'weight_map'.",
        ) from None
    for _, shard in items:
        if not _is_file_name(shard):
            raise CheckpointError(
                f"{index} names the shard {show(shard)}, which leaves its folder."
            )
    return dict(items)


def _is_file_name(name: object) -> bool:
    if not isinstance(name, str) or not name.isprintable() or name in ("", ".", ".."):
        return False
    return not set(name) & set("/\\") and len(name.encode()) <= _LONGEST_FILE_NAME


def _listed(names: list[str]) -> str:
    return ", ".join(map(_short, names[:5])) + (" …" if len(names) > 5 else "")


def _short(name: str) -> str:
    return name if name.isprintable() and len(name) <= 80 else show(name)
