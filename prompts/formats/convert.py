"""Find a format, read a prompt file in it, and write it in another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts import formats
from mindport.prompts.formats.files import read_text
from mindport.prompts.formats.format import Format
from mindport.prompts.formats.spec import PromptSpec


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        spec: What was read.
        source_format: The format it was read in.
        lost: What the source says and the destination does not, one sentence each.
    """

    spec: PromptSpec
    source_format: str
    lost: tuple[str, ...]


@cache
def find_formats() -> Mapping[str, Format]:
    """Return all formats by name: every module of this folder that has a ``FORMAT``."""
    found: dict[str, Format] = {}
    for module in sorted(info.name for info in iter_modules(formats.__path__)):
        entry = getattr(import_module(f"{formats.__name__}.{module}"), "FORMAT", None)
        if isinstance(entry, Format):
            found[entry.name] = entry
    return found


def load_format(name: str) -> Format:
    """Return the format called ``name``.

    Raises:
        MindportError: If there is none.
    """
    known = find_formats()
    if name not in known:
        raise MindportError(f"There is no prompt format {name!r}.{did_you_mean(name, known)}")
    return known[name]


def detect(path: Path) -> str:
    """Return the name of the format that a file is written in.

    Raises:
        MindportError: If none or several fit.
    """
    text = read_text(path)
    fitting = [name for name, entry in find_formats().items() if entry.looks_like(path, text)]
    if len(fitting) != 1:
        said = f"may be {' or '.join(fitting)}" if fitting else "looks like none that is known"
        raise MindportError(
            f"The format of {path} {said}.",
            f"Name it: one of {', '.join(fitting or find_formats())}. "
            "Name the file with the templates, not that with the words.",
        )
    return fitting[0]


def read_spec(path: Path, source_format: str | None = None, **options: Any) -> PromptSpec:
    """Read a prompt file.

    Args:
        path: The file.
        source_format: A name from :func:`find_formats`; None to find out.
        options: What the format's ``read`` takes; None stands for one that was not given.

    Raises:
        MindportError: If the file is not so, or the format takes no such option.
    """
    entry = load_format(source_format or detect(path))
    given = {name: value for name, value in options.items() if value is not None}
    _check_options(entry.name, given, entry.options, "read")
    return entry.read(path, **given)


def write_spec(spec: PromptSpec, path: Path, target_format: str, **options: Any) -> tuple[str, ...]:
    """Write a prompt file, whole or not at all.

    Args:
        spec: What to write.
        path: Where; it must not exist.
        target_format: A name from :func:`find_formats`.
        options: What the format's ``write`` takes; None stands for one that was not given.

    Returns:
        What the file cannot hold, one sentence each.

    Raises:
        MindportError: If the spec cannot be written so, or the format takes no such option.
        DestinationError: If the file exists or cannot be written.
    """
    entry = load_format(target_format)
    if entry.write is None:
        able = [name for name, other in find_formats().items() if other.write]
        raise MindportError(f"{entry.name} is read, not written.", f"Written: {', '.join(able)}.")
    given = {name: value for name, value in options.items() if value is not None}
    _check_options(entry.name, given, entry.write_options, "written")
    return entry.write(spec, path, **given)


def convert(
    source: Path,
    destination: Path,
    target_format: str = "task",
    *,
    source_format: str | None = None,
    options: Mapping[str, Any] | None = None,
    write_options: Mapping[str, Any] | None = None,
) -> Conversion:
    """Read a prompt file in one format and write it in another.

    Args:
        source: The file with the templates.
        destination: What to write; it must not exist.
        target_format: A name from :func:`find_formats`.
        source_format: Likewise; None to find out.
        options: For reading, such as ``verbalizer``, ``classes``, ``choice``, ``template``.
        write_options: For writing, such as ``data`` of a task.

    Raises:
        MindportError: If the source is not so or cannot be written so; nothing is written then.
        DestinationError: If the destination exists or cannot be written.
    """
    name = source_format or detect(source)
    spec = read_spec(source, name, **(options or {}))
    lost = write_spec(spec, destination, target_format, **(write_options or {}))
    return Conversion(spec, name, (*spec.notes, *lost))


def _check_options(name: str, given: Mapping[str, Any], known: tuple[str, ...], done: str) -> None:
    for option in given:
        if option not in known:
            raise MindportError(
                f"The format {name} takes no {option!r} when {done}.",
                f"It takes: {', '.join(known)}." if known else "It takes none.",
            )
