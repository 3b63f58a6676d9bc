"""Read a small text file; publish files whole or not at all, and never over another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mindport.migrate.errors import DestinationError, MindportError

LIMIT = 4 * 1024 * 1024  # bytes; prompt files are written by hand


def read_text(path: Path, limit: int = LIMIT) -> str:
    """Return a prompt file's text: UTF-8, without a byte order mark or carriage returns.

    Raises:
        MindportError: If it cannot be read, is too large, or is not UTF-8.
    """
    try:
        if not path.is_file():
            known = "a folder" if path.is_dir() else "absent, or no ordinary file"
            raise MindportError(f"{path} cannot be read: it is {known}.")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise MindportError(f"{path} cannot be read: {reason}.") from None
    if len(content) > limit:
        raise MindportError(
            f"{path} is larger than {limit // 1024} KiB, so it is hardly a prompt file.",
            "Give the file with the templates or the words, not the data.",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MindportError(
            f"{path}, line {line}: this is not UTF-8 text.", "Save the file as UTF-8."
        ) from None
    return text.replace("\r\n", "\n")


def publish(files: Mapping[Path, str]) -> None:
    """Write files: all of them whole, or none.

    Args:
        files: Destination and text.

    Raises:
        DestinationError: If one exists or cannot be written.
    """
    for path in files:
        if path.exists() or path.is_symlink():
            raise DestinationError(f"{path} exists already.", "Give another name, or remove it.")
    parts: list[Path] = []
    published: list[Path] = []
    try:
        for path, text in files.items():
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            parts.append(part)
            with part.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for part, path in zip(parts, files, strict=True):
            os.link(part, path)  # unlike a rename, it fails if the name has been taken meanwhile
            published.append(path)
    except OSError as error:
        for path in published:
            path.unlink(missing_ok=True)
        raise DestinationError(
            f"{path} cannot be written: {error.strerror or error}.", "Choose another place."
        ) from None
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
