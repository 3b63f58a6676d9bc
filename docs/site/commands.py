"""The commands as the reference shows them: with those that are made of the architecture files."""

from __future__ import annotations

import click

from mindport.validate.umbrella import main


def whole(group: click.Group) -> click.Group:
    """Return the group with all its commands in ``commands``, where mkdocs-click looks."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    commands = {
        name: whole(command) if isinstance(command, click.Group) else command
        for name, command in found.items()
        if command is not None
    }
    return click.Group(group.name, commands=commands, help=group.help, params=group.params)


migrate, prompts, validate = (whole(main.commands[n]) for n in ("migrate", "prompts", "validate"))
