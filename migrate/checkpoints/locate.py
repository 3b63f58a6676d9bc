"""Find what a path holds: the weights, their format, and the config beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mindport.migrate.checkpoints.mindspore_ckpt import CkptReader
from mindport.migrate.checkpoints.safetensors import SafetensorsReader
from mindport.migrate.checkpoints.tensors import TensorReader, join_readers
from mindport.migrate.checkpoints.torch_zip import TorchZipReader
from mindport.migrate.errors import CheckpointError

READERS: Mapping[str, Callable[[Path], TensorReader]] = {
    ".safetensors": SafetensorsReader,
    ".bin": TorchZipReader,
    ".pth": TorchZipReader,
    ".pt": TorchZipReader,
    ".ckpt": CkptReader,
}
# In the order in which transformers prefers them; MindSpore's own format last.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.ckpt",
)
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "generation_config.json",
)


@dataclass(frozen=True)
class Checkpoint:
    """Weights on disk with what lies beside them.

    Attributes:
        path: What was asked for.
        folder: The folder that holds it.
        reader: The tensors.
        config_path: ``config.json`` beside them, or None.
        tokenizer_files: Tokenizer files beside them.
        manifest_path: The manifest of a ported checkpoint, or None.
    """

    path: Path
    folder: Path
    reader: TensorReader
    config_path: Path | None
    tokenizer_files: tuple[Path, ...]
    manifest_path: Path | None


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a folder, a weights file or a shard index.

    Raises:
        CheckpointError: If there is nothing to read, or it cannot be read.
    """
    if not path.exists():
        raise CheckpointError(
            f"There is no checkpoint at {path}.", "Give a folder or a weights file that exists."
        )
    weights = _weights_in(path) if path.is_dir() else path
    folder = weights.parent
    config = folder / "config.json"
    manifest = folder / "manifest.json"
    return Checkpoint(
        path=path,
        folder=folder,
        reader=_open_weights(weights),
        config_path=config if config.is_file() else None,
        tokenizer_files=tuple(f for n in TOKENIZER_FILES if (f := folder / n).is_file()),
        manifest_path=manifest if manifest.is_file() else None,
    )


def _weights_in(folder: Path) -> Path:
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    others = sorted(f for f in folder.iterdir() if f.suffix in READERS and f.is_file())
    if len(others) == 1:
        return others[0]
    if others:
        raise CheckpointError(
            f"{folder} holds several weights files ({', '.join(f.name for f in others)}).",
            "Name the one that is meant.",
        )
    raise CheckpointError(
        f"{folder} holds no weights.",
        f"Looked for {', '.join(WEIGHT_FILES)} and any single "
        f"file with one of the endings {', '.join(READERS)}.",
    )


def _open_weights(path: Path) -> TensorReader:
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty.", "Fetch or write the file again.")
    if path.name.endswith(".index.json"):
        return _open_shards(path)
    if path.suffix not in READERS:
        raise CheckpointError(
            f"{path} has an unknown ending {path.suffix!r}.", f"Known: {', '.join(READERS)}."
        )
    reader = READERS[path.suffix](path)
    if not reader.infos:
        raise CheckpointError(f"{path} holds no tensors.")
    return reader


def _open_shards(index: Path) -> TensorReader:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = sorted(set(weight_map.values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{index} is not a shard index ({type(error).__name__}: {error}).",
            "It should map tensor names to files under 'weight_map'.",
        ) from None
    for shard in shards:
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CheckpointError(f"{index} names the shard {shard!r}, which leaves its folder.")
    missing = [shard for shard in shards if not (index.parent / shard).is_file()]
    if missing or not shards:
        raise CheckpointError(
            f"{index} names {len(missing)} of {len(shards)} shards that are not there: "
            f"{', '.join(missing) or 'none at all'}.",
            "Fetch the missing files into the same folder.",
        )
    joined = join_readers((_open_weights(index.parent / shard) for shard in shards), index)
    absent = sorted(set(weight_map) - set(joined.infos))
    if absent:
        raise CheckpointError(
            f"{index} lists {len(absent)} tensors that its shards do not hold: "
            f"{', '.join(absent[:5])}{' …' if len(absent) > 5 else ''}."
        )
    return joined
