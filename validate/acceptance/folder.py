"""The folder of an acceptance: what lies where, and the hashes that bind it together.

::

    task.toml                 the task, byte by byte
    summary.json              the outcome, derived from everything below
    summary.md index.html junit.xml      the same for a pull request, a browser, a CI server
    integrity.json            sha256 of every other file; its own sha256 is the digest
    cells/NAME/               verdict.json, its reports, timing.json, cell.json (how it came about)
    cells/NAME/capture/       the candidate's recorded run, if captures are kept
    references/NAME/          the reference's, one for all cells that share it, if captures are kept
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mindport.migrate.console import write_whole
from mindport.migrate.errors import DestinationError, MindportError
from mindport.migrate.manifest import sha256_of
from mindport.validate.recording.archive import files_below

SCHEMA = 1
TASK, SUMMARY, INTEGRITY = "task.toml", "summary.json", "integrity.json"
MARKDOWN, PAGE, JUNIT = "summary.md", "index.html", "junit.xml"
CELLS, REFERENCES, CAPTURE = "cells", "references", "capture"
CELL, TIMING, VERDICT = "cell.json", "timing.json", "verdict.json"
# What is made anew at the end of every run; while it is absent the folder is unfinished.
LAST = (INTEGRITY, SUMMARY, MARKDOWN, PAGE, JUNIT)
_PART = ".part-"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Make a folder, or take one that an acceptance made, and keep others out of it.

    Raises:
        DestinationError: If it is something else, cannot be written, or another run is in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise DestinationError(
            f"The folder {folder} cannot be made: {error.strerror or error}.",
            "Choose another place: --output FOLDER.",
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DestinationError(
                f"Another run is at work in {folder}.", "Wait for it, or choose another place."
            ) from None
        strange = [p.name for p in folder.iterdir() if not _is_ours(p.name)]
        if strange:
            raise DestinationError(
                f"{folder} holds {sorted(strange)[0]}, which no acceptance made.",
                "Choose a folder that is empty or that an acceptance made.",
            )
        yield
    finally:
        os.close(descriptor)


def _is_ours(name: str) -> bool:
    parts = tuple(f".{last}.part" for last in (*LAST, TASK))
    return name in {*LAST, TASK, CELLS, REFERENCES, *parts} or name.startswith(_PART)


def clean(folder: Path) -> None:
    """Remove what an interrupted run has left half done, and what is written last."""
    for name in (*LAST, *(f".{last}.part" for last in (*LAST, TASK))):
        (folder / name).unlink(missing_ok=True)
    for place in (folder, folder / CELLS, folder / REFERENCES):
        for part in place.glob(".*") if place.is_dir() else ():
            remove(part)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """Return where a folder is made that gets its name when it is whole."""
    return path.with_name(f"{_PART}{path.name}")


def hashes_below(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder, by its path in it."""
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files_below(folder)}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False, sort_keys=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        MindportError: If there is none, or it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MindportError(f"{path} is missing.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise MindportError(f"{path} cannot be read: {error}.") from None
    if not isinstance(content, dict):
        raise MindportError(f"{path} holds no object.")
    return content


def seal(folder: Path) -> str:
    """Write ``integrity.json`` into a folder that is otherwise complete, and return the digest."""
    files = hashes_below(folder)
    files.pop(INTEGRITY, None)
    write_json(folder / INTEGRITY, {"schema": SCHEMA, "files": files})
    return sha256_of(folder / INTEGRITY)


def check_seal(folder: Path) -> list[str]:
    """Return what is not as ``integrity.json`` says: files missing, extra or changed.

    Raises:
        MindportError: If there is no seal that can be read.
    """
    content = read_json(folder / INTEGRITY)
    files = content.get("files")
    if content.get("schema") != SCHEMA or not isinstance(files, dict) or not files:
        raise MindportError(
            f"{folder / INTEGRITY} is of another version, or holds no hashes.",
            "Read it with the mindport that wrote it.",
        )
    there = {path.relative_to(folder).as_posix(): path for path in files_below(folder)}
    there.pop(INTEGRITY, None)
    problems = [
        f"{path.relative_to(folder).as_posix()} is a link, where a file was written"
        for path in sorted(folder.rglob("*"))
        if path.is_symlink()
    ]
    for name in sorted({*there, *files}):
        if name not in there:
            problems.append(f"{name} is missing")
        elif name not in files:
            problems.append(f"{name} is there and was not written by the run")
        elif sha256_of(there[name]) != files[name]:
            problems.append(f"{name} is not what was written (its sha256 differs)")
    return problems
