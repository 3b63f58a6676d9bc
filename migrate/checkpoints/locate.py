"""Find what a path holds: the weights, their format, and the config beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mindport.migrate.checkpoints.formats import BY_SUFFIX, WEIGHT_FILES
from mindport.migrate.checkpoints.shards import open_shards
from mindport.migrate.checkpoints.tensors import TensorReader
from mindport.migrate.errors import CheckpointError

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
    try:
        return _open(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None


def _open(path: Path) -> Checkpoint:
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
    others = sorted(f for f in folder.iterdir() if f.suffix in BY_SUFFIX and f.is_file())
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
        f"file with one of the endings {', '.join(BY_SUFFIX)}.",
    )


def _open_weights(path: Path) -> TensorReader:
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty.", "Fetch or write the file again.")
    if path.name.endswith(".index.json"):
        return open_shards(path, _open_weights)
    if path.suffix not in BY_SUFFIX:
        raise CheckpointError(
            f"{path} has an unknown ending {path.suffix!r}.", f"Known: {', '.join(BY_SUFFIX)}."
        )
    reader = BY_SUFFIX[path.suffix].reader(path)
    if not reader.infos:
        raise CheckpointError(f"{path} holds no tensors.")
    return reader
