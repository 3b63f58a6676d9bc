"""The verdict as ``verdict.json``; its form is ``validate/verdict.schema.json``."""

from __future__ import annotations

from pathlib import Path

from mindport.migrate.console import write_report
from mindport.migrate.errors import DestinationError
from mindport.validate.verdict import Verdict


def write_verdict(folder: Path, verdict: Verdict) -> Path:
    """Write ``folder/verdict.json`` and return its path.

    Raises:
        DestinationError: If the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DestinationError(
            f"The report folder {folder} cannot be made: {error.strerror or error}.",
            "Choose another place.",
        ) from None
    path = folder / "verdict.json"
    write_report(path, verdict.to_dict())
    return path
