"""Prepare a port that a map file describes."""

from __future__ import annotations

from pathlib import Path

from mindport.migrate.checkpoints.hub import resolve_checkpoint
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.config import read_config_file
from mindport.migrate.mapping.files import read_map
from mindport.migrate.mapping.plan import plan_map
from mindport.migrate.options import Options
from mindport.migrate.transfer import Ready


def prepare_map(
    source: str | Path,
    map_file: Path,
    *,
    back: bool = False,
    like: str | None = None,
    dtype: str | None = None,
    allow_unexpected: bool = False,
    accept_ambiguous: bool = False,
    options: Options | None = None,
) -> Ready:
    """Plan a port by a map file, from the headers alone.

    Args:
        source: A folder, a weights file, or a model's name.
        map_file: The map.
        back: Go from the map's target to its source.
        like: A checkpoint with the names and shapes that the target shall have.
        dtype: Cast floating tensors.
        allow_unexpected: Leave behind tensors that the map does not name.
        accept_ambiguous: Take undecided rules as they stand.
        options: How it will be carried out; a map changes nothing else by it.

    Raises:
        MindportError: For anything that does not fit; nothing has been written.
    """
    weight_map = read_map(map_file)
    checkpoint = open_checkpoint(resolve_checkpoint(str(source)))
    wanted = open_checkpoint(resolve_checkpoint(like)).reader.infos if like is not None else None
    plan = plan_map(
        weight_map.reversed() if back else weight_map,
        checkpoint.reader.infos,
        like=wanted,
        dtype=dtype,
        allow_unexpected=allow_unexpected,
        accept_ambiguous=accept_ambiguous,
    )
    config = read_config_file(checkpoint.config_path) if checkpoint.config_path else {}
    return Ready(plan, checkpoint, config)
