"""The folder beside the destination in which a port is made, and from which it can go on.

``.NAME.partial`` holds ``files`` (what will be the destination), ``journal.json`` (which plan, and
the sha256 of each weights file that is whole) and ``lock``. It outlives a process that is killed;
the next one that has the same plan goes on with the files that are whole.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
from pathlib import Path
from types import TracebackType

from mindport.migrate.errors import DestinationError

_RENAME_EXCHANGE = 2  # linux/fs.h


class WorkFolder:
    """The only process's folder for one destination.

    Args:
        destination: What is to be made.
        plan: Identifies what is to be made: its sources, its plan and its form.

    Attributes:
        files: Where to write.
        finished: The sha256 of each file that an earlier process finished, by its name.

    Raises:
        DestinationError: If another process works on the same destination, or it cannot be made.
    """

    def __init__(self, destination: Path, plan: str) -> None:
        self._destination, self._plan = destination, plan
        self._root = work_folder_of(destination)
        self.files = self._root / "files"
        try:
            self._lock = self._take_lock()
        except OSError as error:
            raise DestinationError(
                f"{destination} cannot be written: {error.strerror or error}.",
                "Choose a folder that you may write to.",
            ) from None
        self._restore()
        self.finished = self._read_journal()
        if not self.finished:
            shutil.rmtree(self.files, ignore_errors=True)
        self.files.mkdir(exist_ok=True)

    def finish(self, name: str, digest: str) -> None:
        """Note that a file is whole and on the disk."""
        self.finished[name] = digest
        self._write_journal()

    def reject(self, name: str) -> None:
        """Note that a file is to be written again."""
        del self.finished[name]
        self._write_journal()

    def publish(self, force: bool) -> None:
        """Give the files their name in one step, their data on the disk before it.

        Args:
            force: Replace what has the name already.
        """
        for file in self.files.iterdir():
            file.chmod(0o644)
            _sync(file)
        self.files.chmod(0o755)
        _sync(self.files)
        if not (force and self._destination.exists()):
            self.files.rename(self._destination)
        elif not _exchange(self.files, self._destination):
            replaced = self._root / "replaced"
            shutil.rmtree(replaced, ignore_errors=True)
            self._destination.rename(replaced)
            self.files.rename(self._destination)
        _sync(self._destination.parent)
        self.remove()

    def remove(self) -> None:
        """Remove the folder with all that is in it, what says how far it came last."""
        for name in ("replaced", "files"):
            shutil.rmtree(self._root / name, ignore_errors=True)
        shutil.rmtree(self._root, ignore_errors=True)

    def __enter__(self) -> WorkFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.finished:
            self.remove()  # there is nothing to go on with
        os.close(self._lock)

    def _take_lock(self) -> int:
        path = self._root / "lock"
        while True:
            self._root.mkdir(exist_ok=True)
            try:
                lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            except FileNotFoundError:
                continue  # another process finished just now and removed the folder
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise DestinationError(
                    f"Another process is writing {self._destination} now.",
                    "Wait until it is done, or choose another name.",
                ) from None
            if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                return lock
            os.close(lock)

    def _restore(self) -> None:
        """Give what a killed process was about to replace its name back."""
        replaced = self._root / "replaced"
        if replaced.exists() and not self._destination.exists():
            replaced.rename(self._destination)

    def _read_journal(self) -> dict[str, str]:
        try:
            journal = json.loads((self._root / "journal.json").read_text(encoding="utf-8"))
            finished: dict[str, str] = journal["finished"]
            same = journal["plan"] == self._plan
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {n: d for n, d in finished.items() if same and (self.files / n).is_file()}

    def _write_journal(self) -> None:
        path, part = self._root / "journal.json", self._root / "journal.part"
        part.write_text(json.dumps({"plan": self._plan, "finished": self.finished}))
        _sync(part)
        part.replace(path)
        _sync(self._root)


def work_folder_of(destination: Path) -> Path:
    """Return the folder in which a destination is made."""
    place = Path(os.path.abspath(destination))
    return place.parent / f".{place.name}.partial"


def was_published(destination: Path, plan: str) -> bool:
    """Return whether a process with this plan was killed after it gave the files their name."""
    try:
        journal = json.loads(
            (work_folder_of(destination) / "journal.json").read_text(encoding="utf-8")
        )
        published = json.loads((destination / "manifest.json").read_text(encoding="utf-8"))["files"]
        finished = journal["finished"].items()
        return bool(journal["plan"] == plan and finished and finished <= published.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _exchange(first: Path, second: Path) -> bool:
    """Swap the names of two folders in one step; return False where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(first.absolute()), os.fsencode(second.absolute())
    return bool(rename(-1, names[0], -1, names[1], _RENAME_EXCHANGE) == 0)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
