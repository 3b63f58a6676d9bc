"""A recorded side: a folder that holds a capture, the case that it ran, and hashes of all.

::

    record.json     what ran, when, by which mindport; sha256 of every other file
    case/           the case (see :mod:`mindport.validate.recording.shared_case`)
    capture/        what came out (see :mod:`mindport.validate.capture`)
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mindport.migrate.errors import CheckpointError, DestinationError, MindportError, did_you_mean
from mindport.migrate.manifest import sha256_of
from mindport.validate.backend import Identity
from mindport.validate.capture import Capture
from mindport.validate.integrity import DamagedCaptureError, read_capture
from mindport.validate.recording.archive import extract_zip, files_below
from mindport.validate.recording.shared_case import SharedCase, open_case

SCHEMA = 1
RECORD, CASE, CAPTURE = "record.json", "case", "capture"
Side = Literal["reference", "candidate"]
_AGAIN = "Record it again: validate record ARCHITECTURE -o FOLDER."


@dataclass(frozen=True)
class Record:
    """What ``record.json`` holds.

    Attributes:
        side: What it was recorded for.
        case: Digest of the case.
        backend: What ran it.
        dtype: What it was asked to run in.
        gradients: Whether gradients were recorded.
        own: Whether it is a network of the user's own.
        origin: Where its weights came from.
        notices: What a reader of the verdict should know.
        imported: Which tool dumped it, if it was not recorded but imported.
        mindport: The version that wrote it.
        time: When, in UTC.
        files: sha256 of every other file, by its path in the folder.
    """

    side: Side
    case: str
    backend: str
    dtype: str
    gradients: bool
    own: bool
    origin: str
    notices: tuple[str, ...] = ()
    imported: str = ""
    mindport: str = ""
    time: str = ""
    files: Mapping[str, str] | None = None


@dataclass(frozen=True, repr=False)
class Recorded:
    """A recorded side that was read and checked.

    Attributes:
        path: What the user named.
        record: What it says of itself.
        case: What it ran.
        capture: What came out.
        weights: Where the weights of its case lie, if that is known.
    """

    path: Path
    record: Record
    case: SharedCase
    capture: Capture
    weights: str | None = None

    @property
    def side(self) -> Side:
        """What it was recorded for."""
        return self.record.side

    @property
    def identity(self) -> Identity:
        """What really ran."""
        return self.capture.manifest.identity

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the taps that were captured, in network order."""
        return self.capture.manifest.taps

    def tap(self, name: str) -> np.ndarray:
        """Return a tap, a float32 array whose first two axes are (batch, seq) where it has both.

        Raises:
            MindportError: If it was not captured.
        """
        if name not in self.taps:
            raise MindportError(f"There is no tap {name!r}.{did_you_mean(name, self.taps)}")
        return self.capture.tap(name)

    def __repr__(self) -> str:
        ran = self.identity
        what = f"{ran.framework} {ran.version}, {ran.device}, {ran.dtype}, {ran.mode}"
        return f"<Recorded {self.side}: {what}; {len(self.taps)} taps in {self.path}>"


@contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """Give a folder to write into that gets its name at the end, or vanishes.

    Raises:
        DestinationError: If the destination exists or cannot be written.
    """
    check_free(destination)
    work = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir()
        yield work
        check_free(destination)
        for file in files_below(work):
            file.chmod(0o644)  # safetensors writes for its owner alone
        work.rename(destination)
    except OSError as error:
        raise DestinationError(
            f"{destination} could not be written: {error.strerror or error}.",
            "Free some space or choose another place; nothing was left behind.",
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check_free(destination: Path) -> None:
    """Raise if there is something at a destination already.

    Raises:
        DestinationError: What was measured once is never overwritten.
    """
    if destination.exists() or destination.is_symlink():
        raise DestinationError(f"{destination} exists already.", "Choose another place.")


def seal(folder: Path, record: Record) -> None:
    """Write ``record.json`` into a folder that is otherwise complete."""
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in files_below(folder)
        if path != folder / RECORD
    }
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    content = {**asdict(record), "mindport": version("mindport"), "time": now, "files": files}
    text = json.dumps({"schema": SCHEMA, **content}, indent=2, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def open_recorded(path: Path, work: Path) -> Recorded:
    """Read a recorded side and check every hash.

    Args:
        path: Its folder, or a zip file of it.
        work: Where a zip file is unpacked; a folder to make.

    Raises:
        CheckpointError: If it is no such folder, of another version, or damaged.
    """
    folder = path
    if path.is_file():
        extract_zip(path, work)
        folder = work
    record = _read_record(path, folder / RECORD)
    _check_files(path, folder, record)
    case = open_case(folder / CASE)
    if case.digest != record.case:
        raise CheckpointError(f"{path}: its case is not the one that was run.", _AGAIN)
    try:
        capture = read_capture(
            folder / CAPTURE, oracle=record.side == "reference", gradients=record.gradients
        )
    except DamagedCaptureError as error:
        raise CheckpointError(f"{path}: {error.message}.", _AGAIN) from None
    return Recorded(path, record, case, capture)


def find_case(path: Path, work: Path) -> SharedCase:
    """Open a case folder, or the case of a recorded side.

    Args:
        path: The folder, or a zip file of a recorded side.
        work: Where that is unpacked; a folder to make.

    Raises:
        CheckpointError: If there is no case.
    """
    if path.is_file() or (path / RECORD).is_file():
        return open_recorded(path, work).case
    return open_case(path)


def _read_record(path: Path, file: Path) -> Record:
    if not file.is_file():
        what = "is not there" if not path.exists() else "is not a recorded run"
        other = (path / "run.json").is_file()
        raise CheckpointError(
            f"{path} {what}: it has no {RECORD}." if path.exists() else f"{path} {what}.",
            "Folders of `prompts run` are for `prompts compare`." if other else _AGAIN,
        )
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        schema, writer = content.pop("schema"), content["mindport"]
        if schema != SCHEMA:
            raise CheckpointError(
                f"{path} was recorded by mindport {writer} (schema {schema}); this one reads "
                f"schema {SCHEMA}.",
                "Record it again with this version, or compare with that one.",
            )
        record = Record(**{**content, "notices": tuple(content["notices"])})
        files = dict(record.files or {})
        if record.side not in ("reference", "candidate") or not files:
            raise ValueError("a part is missing")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: {RECORD} cannot be read: {error}.", _AGAIN) from None
    return record


def _check_files(path: Path, folder: Path, record: Record) -> None:
    there = {p.relative_to(folder).as_posix(): p for p in files_below(folder)}
    there.pop(RECORD)
    listed = dict(record.files or {})
    for name in sorted({*there, *listed}):
        if name not in there:
            raise CheckpointError(f"{path} is not whole: {name} is missing.", _AGAIN)
        if name not in listed:
            raise CheckpointError(f"{path} holds {name}, which was not recorded.", "Remove it.")
        if sha256_of(there[name]) != listed[name]:
            raise CheckpointError(
                f"{path} is damaged: {name} is not what was recorded (its sha256 differs).", _AGAIN
            )
