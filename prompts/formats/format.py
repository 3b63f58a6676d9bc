"""What a format is to the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mindport.prompts.formats.spec import PromptSpec


@dataclass(frozen=True)
class Format:
    """One kind of prompt file.

    Attributes:
        name: As the command line has it.
        title: One line for a list of formats.
        read: Takes a path and the options, gives a :class:`PromptSpec`.
        options: What ``read`` takes beside the path.
        looks_like: Whether a file's name and text are of this kind.
        write: Takes a spec and a path, gives what was lost; None if it is read only.
        write_options: What ``write`` takes beside them.
    """

    name: str
    title: str
    read: Callable[..., PromptSpec]
    options: tuple[str, ...]
    looks_like: Callable[[Path, str], bool]
    write: Callable[..., tuple[str, ...]] | None = None
    write_options: tuple[str, ...] = ()
