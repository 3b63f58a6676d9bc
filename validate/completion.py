"""``mindport completion``: what a shell needs to complete the four programs."""

from __future__ import annotations

from collections.abc import Mapping

import click
from click.shell_completion import get_completion_class

from mindport.migrate.commands import Command
from mindport.migrate.errors import MindportError


def completion_command(programs: Mapping[str, click.Command]) -> click.Command:
    """Return the command.

    Args:
        programs: By the names that they are started by.
    """

    def show(shell: str) -> None:
        made = get_completion_class(shell)
        if made is None:  # click has dropped one of them
            raise MindportError(f"click has no completion for {shell}.", "Choose another shell.")
        for name, program in programs.items():
            click.echo(made(program, {}, name, f"_{name.upper()}_COMPLETE").source())

    return Command(
        "completion",
        params=[click.Argument(["shell"], type=click.Choice(("bash", "zsh", "fish")))],
        callback=show,
        help="Print what makes SHELL complete commands, options and their values.",
        short_help="Make the shell complete commands.",
        examples={
            'eval "$(mindport completion bash)"': "for this shell; or a line of ~/.bashrc",
            'eval "$(mindport completion zsh)"': "or a line of ~/.zshrc",
            "mindport completion fish | source": "or a line of ~/.config/fish/config.fish",
        },
    )
