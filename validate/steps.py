"""How far a worker is: one line in a file beside its capture, which the one who waits reads.

Nothing depends on these files: what cannot be written or read is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    """What a worker is doing.

    Attributes:
        words: The step, in a word.
        done: How many steps are behind it.
        total: How many there are.
    """

    words: str
    done: int
    total: int


Watch = Callable[[Mapping[str, Step]], None]


def tell_step(capture: Path, names: Sequence[str], name: str) -> None:
    """Say that a step has begun.

    Args:
        capture: The folder that will be written.
        names: All steps, in order.
        name: The one that begins.
    """
    with suppress(OSError):
        text = f"{names.index(name)} {len(names)} {name}"
        _file(capture).write_text(text, encoding="utf-8")


def looker(captures: Mapping[str, Sequence[Path]], watch: Watch | None) -> Callable[[], None]:
    """Return what looks how far the workers are, and tells it if that is news.

    Args:
        captures: By side, the folders that its worker will write, one after the other.
        watch: Who is told; None for nobody.
    """
    last: dict[str, Step] = {}

    def look() -> None:
        if watch is None:
            return
        now = {side: _step_of(folders) for side, folders in captures.items()}
        if now != last:
            last.update(now)
            watch(now)

    return look


def _step_of(folders: Sequence[Path]) -> Step:
    for number in reversed(range(len(folders))):
        try:
            done, total, words = _file(folders[number]).read_text(encoding="utf-8").split(" ", 2)
            before = number * int(total)
            return Step(words, before + int(done), len(folders) * int(total))
        except (OSError, ValueError):  # not there yet, or half written
            continue
    return Step("start", 0, 1)


def _file(capture: Path) -> Path:
    return capture.with_name(f"{capture.name}.step")
