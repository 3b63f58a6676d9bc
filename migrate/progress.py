"""What a port tells while it runs; the forms in which it can be told are elsewhere.

Nothing is imported here: a worker ports as well, where no library of the command line is.
"""

from __future__ import annotations

from typing import Literal

Stage = Literal["write", "verify"]


class Listener:
    """Hears how a port goes on; this one keeps it to itself."""

    def start(self, files: int, size: int) -> None:
        """Hear how many weights files will be written, of how many bytes together."""

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Hear how many bytes of a stage are done."""

    def part(self, name: str, size: int, sha256: str, kept: bool) -> None:
        """Hear that a weights file is whole, or was ``kept`` from an earlier, killed process."""

    def notice(self, text: str) -> None:
        """Hear what the user should know."""
