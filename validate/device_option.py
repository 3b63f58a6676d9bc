"""A device on the command line; a worker reads devices too, and has no click."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from mindport.migrate.errors import MindportError
from mindport.validate.devices import parse_device


class DeviceName(click.ParamType):
    """A device; its value is the text that :class:`mindport.validate.devices.Device` prints."""

    name = "device"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name as the rest of the program writes it."""
        try:
            return str(parse_device(value))
        except MindportError as error:
            self.fail(str(error), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return what stands in the help."""
        return "CPU|GPU|Ascend[:N]"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the kinds that a shell may complete to."""
        begun = incomplete.lower()
        return [
            CompletionItem(kind)
            for kind in ("CPU", "GPU", "Ascend")
            if kind.lower().startswith(begun)
        ]
