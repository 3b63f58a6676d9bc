"""``migrate guess``: parse, call, print, exit."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.markup import escape

from mindport.migrate.checkpoints.hub import resolve_checkpoint
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.commands import Command, complete_words
from mindport.migrate.console import command, out, write_whole
from mindport.migrate.errors import EXIT_FAIL, EXIT_PASS, DestinationError
from mindport.migrate.guess.guess import guess_map
from mindport.migrate.guess.show import map_text, print_guess
from mindport.migrate.language import tell


@click.command(cls=Command, examples={
    "migrate guess ./theirs ./mine -o map.yaml": "",
    "migrate guess ./theirs ./mine --values": "both hold the same numbers",
})  # fmt: skip
@click.argument("source", metavar="SRC", shell_complete=complete_words(tuple))
@click.argument("target", metavar="TARGET", shell_complete=complete_words(tuple))
@click.option("--values", "by_values", is_flag=True,
              help="Both hold the same numbers: pair those that do.")  # fmt: skip
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE",
              help="Write FILE; by default it is printed.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@command
def guess_command(
    source: str, target: str, by_values: bool, output: Path | None, force: bool, as_json: bool
) -> int:
    """Propose which tensors of SRC become which of TARGET, a checkpoint in the layout wanted.

    Exit codes: 0 all is sure, 1 something is ambiguous or has no counterpart, 2 bad input.
    """
    if output is not None and output.exists() and not force:
        raise DestinationError(
            f"{output} exists already.", "Choose another name, or replace it with --force."
        )
    readers = [open_checkpoint(resolve_checkpoint(path)).reader for path in (source, target)]
    guess = guess_map(*readers, by_values=by_values)
    if output is not None:
        write_whole(output, map_text(guess, source, target))
    if as_json:
        click.echo(json.dumps(guess.to_dict(), indent=2))
    else:
        print_guess(out(), guess)
        if output is not None:
            out().print(escape(tell(f"wrote {output}")), soft_wrap=True)
    return EXIT_PASS if guess.certain else EXIT_FAIL
