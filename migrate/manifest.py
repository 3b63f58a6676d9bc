"""The manifest beside a ported checkpoint: what it is, where it came from, hashes of it all."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mindport.migrate.errors import CheckpointError

if TYPE_CHECKING:
    from mindport.migrate.checkpoints.locate import Checkpoint
    from mindport.migrate.options import Written
    from mindport.migrate.transfer import Transfer

SCHEMA = 1


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def make_manifest(plan: Transfer, source: Checkpoint, written: Written) -> dict[str, Any]:
    """Return the manifest of a freshly written folder.

    Args:
        plan: The plan that was carried out.
        source: Where the weights came from.
        written: The hashes, and what was noticed.
    """
    labels = plan.labels
    return {
        "schema": SCHEMA,
        "tool": {"name": "mindport", "version": version("mindport")},
        "architecture": labels["architecture"],
        "head": labels["head"],
        "layout": labels["target_layout"],
        "source": {
            "layout": labels["source_layout"],
            "format": source.reader.format,
            "files": dict(written.sources),
        },
        "files": dict(written.files),
        "verified": written.verified,
        "overflowed": dict(written.overflows),
        "totals": plan.totals(),
        "notes": list(plan.notes),
        "parameters": [entry.to_dict() for entry in plan.entries],
    }


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a manifest.

    Raises:
        CheckpointError: If it is not one, or was written by a later mindport.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        schema = manifest["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a manifest of mindport: {error}.") from None
    if schema != SCHEMA:
        raise CheckpointError(
            f"{path} has schema {schema}; this mindport reads schema {SCHEMA}.",
            "Port the checkpoint again, or use the mindport that wrote it.",
        )
    result: dict[str, Any] = manifest
    return result


def changed_files(folder: Path) -> list[str]:
    """Return the files of a ported folder that no longer match its manifest.

    A folder without a manifest has nothing to match and gives an empty list.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return []
    recorded: dict[str, str] = read_manifest(path)["files"]
    return [
        name
        for name, digest in recorded.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != digest
    ]
