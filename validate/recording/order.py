"""What ``validate record`` and ``bundle`` are asked for; the case and weights that they need."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import CheckpointError, MindportError
from mindport.migrate.porting import Prepared
from mindport.validate.backend import load_backend
from mindport.validate.checkpoints import (
    Candidate,
    GivenFor,
    candidate_folder,
    given_candidate,
)
from mindport.validate.making import make_case
from mindport.validate.own.candidate import BACKEND, own_backend, own_weights
from mindport.validate.recording.record import Side, find_case
from mindport.validate.recording.shared_case import SharedCase, complete_case
from mindport.validate.recording.sources import find_weights, need_weights, origin_of
from mindport.validate.reference import prepare_reference
from mindport.validate.request import Case, Request

# What a case settles; it cannot be chosen again for a case that exists.
SETTLED = tuple(f.name for f in fields(Case) if f.name not in ("architecture", "checkpoint"))


@dataclass(frozen=True)
class Order:
    """What ``validate record`` is asked for.

    Attributes:
        request: What runs, and on what.
        side: Which side it is for; the reference writes oracle, noise floor and control too.
        case: A case that exists, or a recorded side whose case is meant; None makes one.
        with_weights: Whether to carry the weights; None carries small ones, for a reference.
        checkpoint: Where the weights of a case that exists lie; None looks for them.
    """

    request: Request
    side: Side = "candidate"
    case: Path | None = None
    with_weights: bool | None = None
    checkpoint: str | None = None


def backend_of(order: Order) -> str:
    """Return which backend an order runs.

    Raises:
        MindportError: If it is not fit for the side.
    """
    request = order.request
    if order.side == "candidate":
        return own_backend(
            request.candidate, request.taps_file, request.backend, request.mode, Request.backend
        )
    if request.backend not in (Request.backend, "torch"):
        raise MindportError(
            f"The reference runs torch, not {request.backend}.", "Leave out --reference."
        )
    if request.candidate is not None or request.candidate_checkpoint is not None:
        raise MindportError("The reference runs its own network and weights.",
                            "Leave out --candidate and --candidate-checkpoint.")  # fmt: skip
    return "torch"


def prepare_case(order: Order, work: Path) -> tuple[SharedCase, Prepared | None]:
    """Make the case of an order, or open the one that it names.

    Returns:
        The case, and its weights unless they are not needed and not at hand.

    Raises:
        MindportError: If neither can be done.
    """
    request = order.request
    architecture = load_architecture(request.architecture)
    if order.case is None:
        found = prepare_reference(architecture, request, work)
        make_case(architecture, request, found.prepared, work)
        origin = origin_of(found, request)
        return complete_case(work / "case", found.prepared, origin), found.prepared
    case = find_case(order.case, work / "unpacked")
    if case.case.architecture != architecture.name:
        raise MindportError(
            f"{order.case} is a case of {case.case.architecture}, not of {architecture.name}.",
            f"Use the architecture {case.case.architecture}.",
        )
    _check_settled(request, case)
    where = work / "weights"
    if request.candidate_checkpoint is not None and request.candidate is None:
        return case, find_weights(case, order.checkpoint, where)
    return case, need_weights(case, order.checkpoint, where)


def _check_settled(request: Request, case: SharedCase) -> None:
    defaults = {field.name: field.default for field in fields(Request)}
    fixed = {"head": case.case.head, "seed": case.case.seed, "gradients": bool(case.case.targets)}
    for name in SETTLED:
        asked = getattr(request, name)
        if asked != defaults[name] and asked != fixed.get(name, defaults[name]):
            option = {"config_file": "config"}.get(name, name).replace("_", "-")
            raise MindportError(
                f"--{option} is settled by the case.",
                "Leave it out, or make another case with it.",
            )


def side_weights(
    order: Order, backend: str, case: SharedCase, prepared: Prepared | None, work: Path
) -> Candidate:
    """Return the weights that a side loads, in its layout.

    Raises:
        MindportError: If those that are given cannot be used.
    """
    request, given = order.request, order.request.candidate_checkpoint
    notices = case.origin.notices
    if backend == BACKEND and prepared is not None:
        found = own_weights(prepared, given, request.taps_file, work)
    elif prepared is not None:
        found = candidate_folder(prepared, given, load_backend(backend).DIALECT, work)
    elif given is not None:
        against = GivenFor(
            load_architecture(request.architecture),
            case.config,
            case.folder / "config.json",
            set(case.origin.files.values()),
        )
        found = given_candidate(given, load_backend(backend).DIALECT, against, work)
    else:
        raise CheckpointError("There are no weights for this side.", "Give --checkpoint PATH.")
    return Candidate(found.folder, notices + found.notices, found.origin)
