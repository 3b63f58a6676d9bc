"""The forms in which the progress of a port is told: a bar, lines, JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from mindport.migrate.language import tell
from mindport.migrate.progress import Listener, Stage

EVERY_SECONDS = 5.0
EVERY_PART = 0.1


class Bar(Listener):
    """Draws a bar with bytes and the time left on a terminal."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, Any] = {}

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Move the stage's bar."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(tell(stage), total=total)
        self._bar.update(self._tasks[stage], completed=done)

    def notice(self, text: str) -> None:
        """Print above the bars."""
        self._bar.console.print(tell(text), markup=False)


class Lines(Listener):
    """Prints a plain line every few seconds, once a tenth more is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, tuple[float, int]] = {}
        self._begun = time.monotonic()

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Print if it is time to."""
        now = time.monotonic()
        since, before = self._last.get(stage, (self._begun, 0))
        if now - since < EVERY_SECONDS or done - before < EVERY_PART * total:
            return
        self._last[stage] = now, done
        self._console.print(
            tell(f"{stage}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB ({done / total:.0%})"),
            markup=False,
        )

    def notice(self, text: str) -> None:
        """Print a line."""
        self._console.print(tell(text), markup=False)


class JsonLines(Listener):
    """Prints one JSON object per line on the standard output; docs/conversion.md lists them."""

    def __init__(self, write: Callable[[str], None] = click.echo) -> None:
        self._write = write
        self._told: dict[str, tuple[float, int]] = {}

    def event(self, kind: str, **fields: Any) -> None:
        """Print one event."""
        self._write(json.dumps({"event": kind, **fields}, ensure_ascii=False))

    def start(self, files: int, size: int) -> None:
        """Print ``start``."""
        self.event("start", files=files, bytes=size)

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Print ``progress``, at most ten times a second, and at the end of a stage."""
        now = time.monotonic()
        if done < total and now - self._told.get(stage, (0.0, 0))[0] < 0.1:
            return
        self._told[stage] = now, done
        self.event("progress", stage=stage, bytes=done, total=total)

    def part(self, name: str, size: int, sha256: str, kept: bool) -> None:
        """Print ``part``."""
        self.event("part", file=name, bytes=size, sha256=sha256, kept=kept)

    def notice(self, text: str) -> None:
        """Print ``notice``."""
        self.event("notice", message=text)


@contextmanager
def listen(console: Console, *, quiet: bool, as_json: bool) -> Iterator[Listener]:
    """Give the listener that suits where the output goes.

    Args:
        console: For messages.
        quiet: Tell nothing.
        as_json: Tell programs.
    """
    if as_json:
        yield JsonLines()
    elif quiet:
        yield Listener()
    elif not console.is_terminal:
        yield Lines(console)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            yield Bar(bar)
