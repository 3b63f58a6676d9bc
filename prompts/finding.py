"""What a check of a prompt says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One thing about a prompt.

    Attributes:
        level: ``error`` cannot be meant; ``warning`` is rarely meant; ``info`` is worth knowing.
        code: Names the kind of thing.
        message: What was found, with the words or rows concerned.
        hint: What to do.
    """

    level: Level
    code: str
    message: str
    hint: str = ""
