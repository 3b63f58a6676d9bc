"""How a plan is carried out, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Options:
    """How a plan is carried out.

    Attributes:
        file_format: One of ``FORMATS``.
        max_shard_bytes: The most bytes of tensors in a file; None for one file.
        verify: Read what was written back and compare it with the source.
        allow_overflow: Keep values that the dtype cannot hold, as infinities.
        force: Replace a destination that exists.
    """

    file_format: str = "safetensors"
    max_shard_bytes: int | None = None
    verify: bool = True
    allow_overflow: bool = False
    force: bool = False


@dataclass(frozen=True)
class Written:
    """What came of a plan.

    Attributes:
        folder: The destination.
        files: The sha256 of each file in it but the manifest, by its name.
        sources: The sha256 of each file that was read, by its name.
        verified: Whether it was read back and compared with the source.
        kept: Files that an earlier, killed process had finished.
        overflows: How many values of a tensor became infinite, where that was allowed.
    """

    folder: Path
    files: Mapping[str, str]
    sources: Mapping[str, str]
    verified: bool
    kept: tuple[str, ...] = ()
    overflows: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what a report says of it."""
        return {
            "files": dict(self.files),
            "source_files": dict(self.sources),
            "verified": self.verified,
            "kept": list(self.kept),
            "overflowed": dict(self.overflows),
        }
