"""What the commands share: one console, one way to end, one progress line."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from mindport.migrate.errors import EXIT_USAGE, DestinationError, MindportError
from mindport.migrate.language import tell
from mindport.migrate.progress import OnProgress, Progress

P = ParamSpec("P")


def out() -> Console:
    """Return the console for results; rich honours NO_COLOR and a pipe's lack of colour."""
    width = None if sys.stdout.isatty() else 160
    return Console(width=width, highlight=False, soft_wrap=False)


def err() -> Console:
    """Return the console for messages and progress."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[OnProgress | None]:
    """Give what shows the latest progress on a line that vanishes at the end.

    Args:
        quiet: Whether nothing is to be shown.
    """
    if quiet:
        yield None
        return
    with Status(tell("starting"), console=err()) as status:
        yield lambda progress: status.update(escape(told(progress)))


def told(progress: Progress) -> str:
    """Return what is being done in the reader's language, in the form of ``str(progress)``."""
    running = {tell(side): tell(step) for side, step in progress.running.items()}
    return str(Progress(tell(progress.stage), progress.fraction, running))


def show_error(error: MindportError) -> None:
    """Print an error as the user should see it: what, where, what to do."""
    console = err()
    console.print(f"[bold red]{tell('error:')}[/] {escape(tell(error.message))}")
    if error.hint:
        console.print(f"[bold]  {tell('try:')}[/] {escape(tell(error.hint))}")


def label(word: str, width: int = 11) -> str:
    """Return what stands at the beginning of a line, in the reader's language.

    Args:
        word: In English.
        width: That it is filled up to, in cells of the terminal; a Chinese character takes two.
    """
    said = tell(word)
    return said + " " * (width - cell_len(said))


def command(function: Callable[P, int | None]) -> Callable[P, None]:
    """Turn a function that returns an exit code, or raises, into a click callback that exits."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        # An orderly end, so that no worker and no partial file is left behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            code = function(*args, **kwargs)
        except MindportError as error:
            show_error(error)
            code = error.exit_code
        except BrokenPipeError:
            code = EXIT_USAGE
        except KeyboardInterrupt:
            err().print(tell("interrupted"))
            code = 128 + signal.SIGINT
        raise SystemExit(code or 0)

    return run


def write_report(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON report, whole or not at all.

    Raises:
        DestinationError: If it cannot be written.
    """
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        DestinationError: If it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DestinationError(
            f"{path} cannot be written: {error.strerror or error}.", "Choose another place."
        ) from None
