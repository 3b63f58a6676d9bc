"""What click makes of a command here: help in the reader's language that ends with examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem
from rich.cells import cell_len

from mindport.migrate.language import tell
from mindport.migrate.language.choice import ENGLISH, chosen_language
from mindport.migrate.versions import version_text

_DEFAULTS = re.compile(r"(.*?)  \[(.*)\]", re.DOTALL)
_CLOSING = "，。；：）、”！？"
_WORDS = re.compile(rf"\s+|[^\s⺀-￯]+[{_CLOSING}]*|[⺀-￯][{_CLOSING}]*")
_HELP = ("-h", "--help")


def _fold(text: str, width: int) -> str:
    """Break a text into lines of so many cells, marked so that click leaves them alone."""
    lines = [""]
    for word in _WORDS.findall(text):
        if cell_len(lines[-1] + word.rstrip()) > width:
            lines.append("")
        lines[-1] += word if lines[-1] else word.lstrip()
    return "\b\n" + "\n".join(line.rstrip() for line in lines)


class Formatter(click.HelpFormatter):
    """Writes help; in English as click does."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the first line."""
        said = args.replace("[OPTIONS]", tell("[OPTIONS]"))
        super().write_usage(prog, said, prefix or f"{tell('Usage:')} ")

    def write_heading(self, heading: str) -> None:
        """Write a section's heading."""
        super().write_heading(tell(heading))

    def write_text(self, text: str) -> None:
        """Write paragraphs, each of which the catalogues have or have not."""
        said = [self._paragraph(part) for part in text.split("\n\n")]
        super().write_text("\n\n".join(said))

    def _paragraph(self, text: str) -> str:
        plain = " ".join(text.split())
        said = text if text.startswith("\b") else tell(plain)
        return text if said in (text, plain) else _fold(said, self.width - self.current_indent)

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write options or commands with what they mean."""
        rows = list(rows)
        first = min(max((cell_len(name) for name, _ in rows), default=0), col_max)
        width = max(self.width - first - col_spacing - 2, 10)
        super().write_dl([(name, _meaning(text, width)) for name, text in rows],
                         col_max, col_spacing)  # fmt: skip

    def write_examples(self, examples: Mapping[str, str]) -> None:
        """Write commands, whole and each on one line, with what they do."""
        width = max(len(line) for line in examples)
        with self.section("Examples"):
            for line, note in examples.items():
                said = f"{line:{width}}   # {tell(note)}" if note else line
                self.write(f"{'':{self.current_indent}}{said}\n")


def _meaning(text: str, width: int) -> str:
    match = _DEFAULTS.fullmatch(text)
    words, extra = match.groups() if match else (text, "")
    said = tell(words)
    if said == words:
        return text
    notes = "；".join(tell(part) for part in extra.split("; ")) if extra else ""
    return _fold(f"{said} [{notes}]" if notes else said, width)


class Context(click.Context):
    """A context whose help is ours."""

    formatter_class = Formatter


class Option(click.Option):
    """An option that is also understood by older spellings, which help and completion leave out.

    Args:
        args: What click.Option takes.
        aliases: The older spellings.
        kwargs: What click.Option takes.
    """

    def __init__(self, *args: Any, aliases: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.aliases = tuple(aliases)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Register all spellings."""
        shown = self.opts
        self.opts = [*shown, *self.aliases]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


class Command(click.Command):
    """A command whose help ends with examples.

    Args:
        args: What click.Command takes.
        examples: Command lines, each with what it does; empty where that is plain.
        kwargs: What click.Command takes.
    """

    context_class = Context

    def __init__(self, *args: Any, examples: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Return what asks for the help, in whatever context."""
        return list(_HELP)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        if isinstance(formatter, Formatter):
            formatter.write_examples(self.examples)


class Group(Command, click.Group):
    """A group whose help ends with examples; it tells what click refuses in the reader's language.

    Args:
        args: What click.Group takes.
        examples: As of :class:`Command`.
        kwargs: What click.Group takes.
    """

    command_class = Command

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run as a program."""
        if not extra.get("standalone_mode", True) or chosen_language() == ENGLISH:
            return super().main(*args, **extra)
        try:
            result = super().main(*args, **{**extra, "standalone_mode": False})
        except click.UsageError as error:
            _show(error)
            raise SystemExit(error.exit_code) from None
        raise SystemExit(result if isinstance(result, int) else 0)


def _show(error: click.UsageError) -> None:
    context = error.ctx
    if context is None or isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    click.echo(context.get_usage(), err=True)
    click.echo(tell(f"Try '{context.command_path} --help' for help."), err=True)
    click.echo("\n" + tell(f"Error: {error.format_message()}"), err=True)


class ByArchitecture(Group):
    """A group with one subcommand per architecture, found by listing the folder.

    Args:
        build: Makes the subcommand of an architecture's name.
        names: Lists the architectures.
        attributes: What :class:`Group` takes.
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


def version_option() -> click.Option:
    """Return ``--version``: mindport's, and those of what it would run on."""

    def show(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            click.echo(version_text())
            ctx.exit()

    return click.Option(["--version"], is_flag=True, expose_value=False, is_eager=True,
                        callback=show, help="Show the versions and exit.")  # fmt: skip


def complete_words(
    words: Callable[[], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return what completes a value that is one of some words, or else a file.

    Args:
        words: Lists them; it is called when a shell asks.
    """

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
        found = [CompletionItem(word) for word in words() if word.startswith(begun)]
        return found or [CompletionItem(begun, type="file")]

    return complete
