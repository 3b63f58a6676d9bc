"""Whether a place can be written to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mindport.migrate.errors import DestinationError

_BESIDE_WEIGHTS = 1 << 20  # bytes for config, index and manifest, generously


def check_space(sizes: Iterable[int], place: Path, destination: Path) -> None:
    """Raise unless the disk has room for what is still to be written.

    Args:
        sizes: Bytes of each weights file.
        place: A folder on that disk.
        destination: What is to be made, for the message.

    Raises:
        DestinationError: With what is needed and what is free.
    """
    needed = _BESIDE_WEIGHTS + sum(sizes)
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    if needed > free:
        raise DestinationError(
            f"{destination} needs {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free there.",
            "Free some space or choose another folder; nothing was written.",
        )


def check_destination(destination: Path, force: bool) -> None:
    """Raise unless ``destination`` may be written to.

    Raises:
        DestinationError: If it exists and ``force`` is not set, or its parent does not exist.
    """
    if destination.exists() and not force:
        raise DestinationError(
            f"{destination} exists already.", "Choose another name, or replace it with --force."
        )
    if destination.exists() and not destination.is_dir():
        raise DestinationError(f"{destination} is a file; a folder is to be written there.")
    if not destination.parent.is_dir():
        raise DestinationError(
            f"There is no folder {destination.parent}.", "Make it, or choose another place."
        )
