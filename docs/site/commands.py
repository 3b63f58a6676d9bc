"""The help of a command and of those below it, as Markdown, from click itself."""

from __future__ import annotations

import inspect

import click

from mindport.validate.umbrella import main


def describe(name: str) -> str:
    """Return the reference of ``migrate``, ``validate`` or ``prompts``."""
    return "\n".join(_command(main.commands[name], click.Context(main), name, 1))


def _command(command: click.Command, above: click.Context, path: str, level: int) -> list[str]:
    context = click.Context(command, parent=above, info_name=path, **command.context_settings)
    lines = [] if level == 1 else [f"{'#' * level} {path}", ""]
    lines += _help(inspect.cleandoc(command.help or ""))
    lines += ["```text", " ".join([path, *command.collect_usage_pieces(context)]), "```", ""]
    records = [p.get_help_record(context) for p in command.get_params(context)]
    rows = [record for record in records if record is not None]
    if rows:
        lines += ["| option | |", "| --- | --- |"]
        lines += [f"| <code>{_literal(left)}</code> | {_words(right)} |" for left, right in rows]
        lines.append("")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                lines += _command(below, context, f"{path} {name}", level + 1)
    return lines


def _help(text: str) -> list[str]:
    """Return paragraphs; those that click is told not to wrap are listings."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b"):
            listing = paragraph.removeprefix("\b").strip("\n")
            lines += ["```text", inspect.cleandoc(f"\n{listing}"), "```", ""]
        else:
            lines += [_words(" ".join(paragraph.split())), ""]
    return lines


def _literal(text: str) -> str:
    """Keep all that HTML, Markdown or a table would take for its own."""
    return "".join(c if c.isalnum() or c in " .,;:/-" else f"&#{ord(c)};" for c in text)


def _words(text: str) -> str:
    """Keep what is no code between backticks; code that click's help has stays code."""
    return "`".join(
        part.replace("|", "\\|") if number % 2 else _literal(part)
        for number, part in enumerate(text.split("`"))
    )
