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

import click
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from mindport.migrate.errors import EXIT_USAGE, DestinationError, MindportError
from mindport.migrate.progress import OnProgress

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
    with Status("starting", console=err()) as status:
        yield lambda progress: status.update(escape(str(progress)))


def show_error(error: MindportError) -> None:
    """Print an error as the user should see it: what, where, what to do."""
    console = err()
    console.print(f"[bold red]error:[/] {escape(error.message)}")
    if error.hint:
        console.print(f"[bold]  try:[/] {escape(error.hint)}")


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
            err().print("interrupted")
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


class ByArchitecture(click.Group):
    """A group with one subcommand per architecture, found by listing the folder.

    Args:
        build: Makes the subcommand of an architecture's name.
        names: Lists the architectures.
        attributes: What click.Group takes.
    """

    def __init__(
        self,
        *,
        build: Callable[[str], click.Command],
        names: Callable[[], tuple[str, ...]],
        **attributes: Any,
    ) -> None:
        super().__init__(**attributes)
        self._build, self._names = build, names

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the architectures first, then the other subcommands."""
        return [*self._names(), *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand by name."""
        if cmd_name in self._names():
            return self._build(cmd_name)
        return super().get_command(ctx, cmd_name)
