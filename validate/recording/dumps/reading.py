"""The ``.npy`` files of a dump, by the names that each tool gives them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.validate.own.places import End

_MSPROBE = re.compile(
    r"(?:Module|Cell)\.(?P<path>.+)\.[^.]+\.(?P<way>forward|backward)\.(?P<call>\d+)"
    r"\.(?P<end>input|output)\.(?P<index>\d+)"
)
_NUMBERED = re.compile(r"(?P<number>\d+)_(?P<name>.+)")


@dataclass(frozen=True)
class Dumped:
    """One tensor of a dump.

    Attributes:
        file: Where it lies.
        name: Path of the module, or what the user called it.
        end: Whether the module returned it or was given it.
        index: Which tensor of that end.
        call: Which call of the module, or which of several of the same name.
    """

    file: Path
    name: str
    end: End = "output"
    index: int = 0
    call: int = 0

    def read(self) -> np.ndarray:
        """Return the array as float32.

        Raises:
            MindportError: If the file cannot be read, or holds no numbers of that kind.
        """
        try:
            array: np.ndarray = np.load(self.file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise MindportError(f"{self.file} cannot be read: {error}.", "Dump it again.") from None
        if array.dtype.kind != "f":
            raise MindportError(
                f"{self.file} holds {array.dtype}, not floating numbers.", "Leave it out."
            )
        return array.astype(np.float32)


@dataclass(frozen=True)
class Dump:
    """What a folder holds.

    Attributes:
        tensors: Those that could be a tap.
        modules: Whether their names are paths of modules.
        others: Names of files that are no such tensors.
    """

    tensors: tuple[Dumped, ...]
    modules: bool
    others: tuple[str, ...]


def read_dump(folder: Path, tool: str) -> Dump:
    """List the tensors of a dump.

    Args:
        folder: Of one step and one rank; the files may lie in one folder below it.
        tool: One of :data:`TOOLS`.

    Raises:
        MindportError: If there is none, or there are several steps or ranks.
    """
    if not folder.is_dir():
        raise MindportError(f"There is no folder {folder}.", "Name the folder with the .npy files.")
    files = sorted(folder.rglob("*.npy"))
    if not files:
        raise MindportError(f"{folder} holds no .npy files.",
                            "msprobe writes them for the task `tensor` alone.")  # fmt: skip
    places = sorted({file.parent.relative_to(folder).as_posix() for file in files})
    if len(places) > 1:
        raise MindportError(
            f"{folder} holds several dumps: {', '.join(places[:4])}{' …' if places[4:] else ''}.",
            "Name the folder of one step and one rank.",
        )
    found = TOOLS[tool](files)
    if not found.tensors:
        raise MindportError(
            f"No file in {folder} is named as {tool} names what a network returns; the first is "
            f"{files[0].name}.",
            f"Known tools: {', '.join(TOOLS)}.",
        )
    return found


def _msprobe(files: Sequence[Path]) -> Dump:
    tensors, others = [], []
    for file in files:
        match = _MSPROBE.fullmatch(file.stem)
        if match is None or match["way"] == "backward":
            others.append(file.name)
            continue
        end: End = "input" if match["end"] == "input" else "output"
        tensors.append(Dumped(file, match["path"], end, int(match["index"]), int(match["call"])))
    return Dump(tuple(tensors), True, tuple(others))


def _troubleshooter(files: Sequence[Path]) -> Dump:
    """Read what ``ts.save`` wrote: a running number, then the name that was given."""
    tensors, others, seen = [], [], dict[str, int]()
    matched = [(_NUMBERED.fullmatch(file.stem), file) for file in files]
    for match, file in sorted(matched, key=lambda m: int(m[0]["number"]) if m[0] else -1):
        if match is None:
            others.append(file.name)
            continue
        name = match["name"]
        seen[name] = seen.get(name, -1) + 1
        tensors.append(Dumped(file, name, call=seen[name]))
    return Dump(tuple(tensors), False, tuple(others))


def _npy(files: Sequence[Path]) -> Dump:
    return Dump(tuple(Dumped(file, file.stem) for file in files), False, ())


TOOLS: Mapping[str, Callable[[Sequence[Path]], Dump]] = {
    "msprobe": _msprobe,
    "troubleshooter": _troubleshooter,
    "npy": _npy,
}
