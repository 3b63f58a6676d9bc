"""The ``validate env`` commands."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from mindport.migrate.commands import Group
from mindport.migrate.console import command, err, out
from mindport.migrate.language import tell
from mindport.validate.environments.building import build, remove
from mindport.validate.environments.finding import look_up
from mindport.validate.environments.specification import (
    load_specification,
    specification_names,
)

_NAMES = click.Choice(specification_names())
_PATH = click.Path(path_type=Path)


@click.group(
    "env",
    cls=Group,
    examples={
        "validate env list": "which there are",
        "validate env create mindnlp": "build one",
        "validate env remove mindnlp": "remove it",
    },
    short_help="Environments for frameworks that need one of their own.",
)
def env() -> None:
    """Build and remove the environments of frameworks that need one of their own.

    They are kept in the user's cache folder, or in MINDPORT_ENVS; a backend finds its own there.
    """


@env.command("create", examples={
    "validate env create mindnlp": "",
    "validate gpt2 --backend mindnlp": "what it is for",
})  # fmt: skip
@click.argument("name", type=_NAMES)
@click.option("--path", "folder", type=_PATH, metavar="DIR",
              help="Where to build it; it is found there as well.")  # fmt: skip
@click.option("--base-python", "base", type=_PATH, metavar="PATH",
              help="The Python to build it from.  [default: one that fits]")  # fmt: skip
@click.option("--force", is_flag=True, help="Build it anew, even if it is complete.")
@command
def create(name: str, folder: Path | None, base: Path | None, force: bool) -> None:
    """Build an environment with the versions of its lock file, and check it.

    What is complete is left alone. Needs uv or pip, a package index, and some gigabytes.
    """
    console = err()

    def say(words: str) -> None:
        console.print(escape(tell(words)), soft_wrap=True)

    build(load_specification(name), folder, base, say, anew=force)


@env.command("list", examples={"validate env list": ""})
@command
def list_environments() -> None:
    """Show which environments there are, where, and whether they are fit for use."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "state", "Python", "versions", "place"):
        table.add_column(tell(column), overflow="fold")
    for name in specification_names():
        found = look_up(load_specification(name))
        versions = found.stamp.get("versions", {}).items()
        table.add_row(
            name,
            tell(found.state),
            str(found.stamp.get("python", "")),
            escape(", ".join(f"{package} {version}" for package, version in versions)),
            "" if found.state == "absent" else escape(str(found.folder)),
        )
    out().print(table)


@env.command("remove", examples={"validate env remove mindnlp": ""})
@click.argument("name", type=_NAMES)
@command
def remove_environment(name: str) -> None:
    """Remove an environment and all that is in it."""
    where = remove(load_specification(name))
    said = f"removed {where}" if where is not None else f"there is no {name} environment"
    err().print(escape(tell(said)), soft_wrap=True)
