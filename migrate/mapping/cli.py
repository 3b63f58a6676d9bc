"""``migrate map``: parse, call, print, exit."""

from __future__ import annotations

from pathlib import Path

import click

from mindport.migrate.carrying import carry, carrying_options, places
from mindport.migrate.commands import Command
from mindport.migrate.console import command
from mindport.migrate.mapping.porting import prepare_map

map_command = Command(
    "map",
    params=[
        *places(),
        click.Option(["--map", "map_file"], required=True, metavar="FILE",
                     type=click.Path(path_type=Path), help="The map: YAML, or TroubleShooter's "
                     "JSON."),
        click.Option(["--back"], is_flag=True, help="From the map's targets to its sources."),
        click.Option(["--like"], metavar="CHECKPOINT",
                     help="A checkpoint whose names and shapes the result must have."),
        click.Option(["--allow-unexpected"], is_flag=True,
                     help="Leave behind tensors that the map does not name."),
        click.Option(["--accept-ambiguous"], is_flag=True,
                     help="Take rules that are marked as ambiguous as they stand."),
        *carrying_options(),
    ],
    callback=command(lambda **options: carry(None, prepare_map, **options)),
    help="Port a checkpoint SRC of any architecture into the folder DST, by a map file.\n\n"
    "Every tensor of SRC must be used or listed, every one of DST set once.  `migrate guess` "
    "proposes a map.",
    short_help="Port anything, by a map file.",
    examples={
        "migrate map ./theirs ./port --map map.yaml": "",
        "migrate map ./port ./theirs --map map.yaml --back": "the way back",
    },
)  # fmt: skip
