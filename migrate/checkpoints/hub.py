"""Resolve a model's name through the Hugging Face cache, then through the hub."""

from __future__ import annotations

import re
from pathlib import Path

from mindport.migrate.checkpoints.formats import BY_SUFFIX
from mindport.migrate.errors import CheckpointError, EnvironmentUnavailableError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_PATTERNS = ["*.json", "*.txt", "*.safetensors", "pytorch_model*.bin"]


def resolve_checkpoint(name_or_path: str) -> Path:
    """Return a local path: the path itself, or the snapshot of a model's name.

    Args:
        name_or_path: A path, or a name such as ``gpt2`` or ``google-bert/bert-base-uncased``.

    Raises:
        CheckpointError: If it is neither a path that exists nor a name.
        EnvironmentUnavailableError: If it is a name that neither the cache nor the hub gives.
    """
    path = Path(name_or_path)
    if path.exists():
        return path
    if not _NAME.fullmatch(name_or_path) or path.suffix in {*BY_SUFFIX, ".json"}:
        raise CheckpointError(
            f"There is no checkpoint at {name_or_path}.",
            "Give a folder or file that exists, or a model's name such as gpt2.",
        )
    return _snapshot(name_or_path)


def _snapshot(name: str) -> Path:
    ways_out = (
        "Give a local folder; or fetch the model on a machine with a network and "
        "copy its cache (HF_HOME); or use the embedded weights."
    )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise EnvironmentUnavailableError(
            f"{name!r} is not a local path, and names need huggingface_hub, which is not "
            "installed.",
            "pip install 'mindport[hub]', or give a local folder.",
        ) from None
    for local_only in (True, False):
        try:
            folder = Path(
                snapshot_download(name, allow_patterns=_PATTERNS, local_files_only=local_only)
            )
        except Exception as error:  # the hub client raises many kinds; all mean "not to be had"
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"
            continue
        if any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")):
            return folder
        reason = "its snapshot holds no weights"
    raise EnvironmentUnavailableError(
        f"{name!r} is neither a local path nor to be had from the Hugging Face cache or hub "
        f"({reason}).",
        ways_out,
    )
