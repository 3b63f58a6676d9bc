"""A folder with plain values and arrays, ``NAME.json`` and ``NAME.safetensors``; no pickles."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mindport.migrate.errors import CheckpointError, DestinationError


@dataclass(frozen=True)
class StoredFolder:
    """One kind of folder.

    Attributes:
        name: Of its two files, before the ending.
        title: What messages call it.
        schema: The version that is written and read.
        remedy: What to do when one cannot be read.
    """

    name: str
    title: str
    schema: int
    remedy: str

    def write(
        self, folder: Path, content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> None:
        """Write a folder under another name, then rename it.

        Raises:
            DestinationError: If the folder exists with something in it, or cannot be written.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DestinationError(
                f"{folder} exists already.", "Choose another place, or remove it."
            )
        work = None
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            text = json.dumps({"schema": self.schema, **content}, indent=2, ensure_ascii=False)
            (work / f"{self.name}.json").write_text(f"{text}\n", encoding="utf-8")
            contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            save_file(contiguous, str(work / f"{self.name}.safetensors"))
            for file in work.iterdir():
                file.chmod(0o644)
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
            work.chmod(0o755)
            work.rename(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DestinationError(
                f"The {self.title} {folder} cannot be written: {reason}."
            ) from None
        finally:
            if work is not None:
                shutil.rmtree(work, ignore_errors=True)

    def read(self, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what :meth:`write` was given.

        Raises:
            CheckpointError: If the files are absent, damaged, or of another schema.
        """
        try:
            content = json.loads((folder / f"{self.name}.json").read_text(encoding="utf-8"))
            arrays = dict(load_file(str(folder / f"{self.name}.safetensors")))
        except (OSError, ValueError, RecursionError, SafetensorError) as error:
            raise CheckpointError(
                f"There is no {self.title} in {folder} that can be read: {error}.", self.remedy
            ) from None
        if not isinstance(content, dict) or content.pop("schema", None) != self.schema:
            raise CheckpointError(
                f"The {self.title} in {folder} was written by another version of mindport, or is "
                "none.",
                f"This version reads schema {self.schema}. {self.remedy}",
            )
        return content, arrays
