"""The reference's weights: found, or made, and planned for the port to the other side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mindport.migrate.architecture import Architecture
from mindport.migrate.errors import PlanError
from mindport.migrate.porting import Prepared, port, prepare
from mindport.validate.checkpoints import (
    RANDOM,
    ReferenceChoice,
    default_checkpoint,
    reference_folder,
)
from mindport.validate.request import Request

_SHOWN = 3


@dataclass(frozen=True)
class Reference:
    """What the reference runs.

    Attributes:
        prepared: The plan of its port.
        notices: What a reader should know about its weights.
    """

    prepared: Prepared
    notices: tuple[str, ...] = ()


def prepare_reference(architecture: Architecture, request: Request, work: Path) -> Reference:
    """Plan the port of the reference's weights.

    Raises:
        PlanError: If they do not fit the architecture and head.
    """
    choice = ReferenceChoice(
        request.checkpoint, request.config_file, request.size, request.head, request.seed
    )
    folder = reference_folder(architecture, choice, work)
    notices: tuple[str, ...] = ()
    if request.checkpoint == RANDOM == default_checkpoint(architecture.name):
        notices = (
            f"no trained {architecture.title} ships with mindport; these weights are random",
        )
    if request.allow_missing:
        folder, filled = _fill(folder, architecture, request.head, work)
        notices += filled
    try:
        prepared = prepare(folder, architecture.name, head=request.head, to="mindspore")
    except PlanError as error:
        raise PlanError(
            error.message.partition("\n")[0],
            error.problems,
            "Choose the head that the checkpoint has, --checkpoint random for any head, or "
            "--allow-missing to run with what is missing at its initial values.",
        ) from None
    return Reference(prepared, notices)


def _fill(
    folder: Path, architecture: Architecture, head: str | None, work: Path
) -> tuple[Path, tuple[str, ...]]:
    """Return a copy of the weights with what is missing at its initial value, on both sides.

    Both sides then agree whatever the prompts say: only the controls of the prompts can tell that
    such a model knows nothing.
    """
    forced = prepare(folder, architecture.name, head=head, to="mindspore", allow_missing=True)
    missing = [e.target for e in forced.plan.entries if e.action == "generated"]
    if not missing:
        return folder, ()
    there = port(forced, work / "filled-mindspore")
    back = port(prepare(there, architecture.name, head=head, to="torch"), work / "filled")
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return back, (
        f"{len(missing)} parameters were missing and run with their initial values, the same on "
        f"both sides ({', '.join(missing[:_SHOWN])}{more})",
    )
