"""A result on disk: ``result.json`` and ``result.safetensors``, no pickles."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mindport.migrate.errors import CheckpointError, DestinationError

SCHEMA = 1
_CONTENT = "result.json"
_ARRAYS = "result.safetensors"


def write_result(
    folder: Path, content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a result folder under another name, then rename it.

    Raises:
        DestinationError: If the folder exists with something in it, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DestinationError(f"{folder} exists already.", "Choose another place, or remove it.")
    work = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        text = json.dumps({"schema": SCHEMA, **content}, indent=2, ensure_ascii=False) + "\n"
        (work / _CONTENT).write_text(text, encoding="utf-8")
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, str(work / _ARRAYS))
        for file in work.iterdir():
            file.chmod(0o644)
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        work.chmod(0o755)
        work.rename(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DestinationError(f"The result {folder} cannot be written: {reason}.") from None
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def read_result(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what :func:`write_result` was given.

    Raises:
        CheckpointError: If the files are absent, damaged, or of another schema.
    """
    try:
        content = json.loads((folder / _CONTENT).read_text(encoding="utf-8"))
        arrays = dict(load_file(str(folder / _ARRAYS)))
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise CheckpointError(
            f"There is no learning result in {folder} that can be read: {error}.",
            "Learn the prompt again.",
        ) from None
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
        raise CheckpointError(
            f"The result in {folder} was written by another version of mindport, or is none.",
            f"This version reads schema {SCHEMA}; learn the prompt again.",
        )
    return content, arrays
