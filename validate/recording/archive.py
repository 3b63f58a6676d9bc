"""Zip files that are the same whenever their contents are, and that are unpacked with distrust."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from mindport.migrate.errors import CheckpointError

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows
_STORED = {".safetensors", ".npy", ".bin", ".ckpt"}  # numbers do not get smaller
MOST_BYTES = 64 << 30
_MOST_FILES = 20_000
_PIECE = 1 << 20


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder, in an order that depends on the names alone."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def write_zip(path: Path, members: Iterable[tuple[str, Path | bytes]]) -> None:
    """Write a zip file; equal members give equal bytes.

    Args:
        path: Where to; the caller renames it into place.
        members: Name, and a file or its contents.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, source in sorted(members, key=lambda member: member[0]):
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.create_system = 3  # Unix, wherever it is written
            packed = PurePosixPath(name).suffix not in _STORED
            info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            if isinstance(source, bytes):
                archive.writestr(info, source)
                continue
            info.file_size = source.stat().st_size
            with source.open("rb") as file, archive.open(info, "w") as member:
                shutil.copyfileobj(file, member, _PIECE)


def extract_zip(path: Path, folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Unpack a zip file into a new folder and nowhere else.

    Args:
        path: The file.
        folder: The folder to make.
        most_bytes: How much may come out of it.

    Raises:
        CheckpointError: If it is damaged, names a place outside the folder or a link, or holds
            more than is allowed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            if len(members) > _MOST_FILES:
                raise CheckpointError(f"{path} holds {len(members)} files; that is no capture.")
            total = sum(info.file_size for info in members)
            if total > most_bytes:
                raise CheckpointError(
                    f"{path} holds {total / 1e9:.3g} GB; at most {most_bytes / 1e9:.3g} GB are "
                    "unpacked."
                )
            folder.mkdir(parents=True)
            for info in members:
                _extract(archive, info, path, folder)
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError,
            KeyError) as error:  # fmt: skip
        raise CheckpointError(
            f"{path} cannot be unpacked: {error}.", "Copy or make the file again."
        ) from None


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, folder: Path) -> None:
    name = PurePosixPath(info.filename)
    kind = info.external_attr >> 16
    linked = stat.S_IFMT(kind) not in (0, stat.S_IFREG)
    outside = name.is_absolute() or ".." in name.parts or "\\" in info.filename or not name.parts
    if linked or outside or ":" in name.parts[0]:
        raise CheckpointError(
            f"{path} holds {info.filename!r}, which does not stay inside.",
            "It was not made by mindport; do not unpack it by hand either.",
        )
    target = folder.joinpath(*name.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    left = info.file_size
    with archive.open(info) as member, target.open("xb") as file:
        while piece := member.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise CheckpointError(f"{path}: {info.filename} is larger than it says.")
            file.write(piece)
