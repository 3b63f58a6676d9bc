"""Where the weights of a case are found, by their sha256."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import CheckpointError
from mindport.migrate.porting import Prepared, prepare
from mindport.validate.checkpoints import RANDOM, is_embedded
from mindport.validate.conclusion import left_behind
from mindport.validate.recording.shared_case import Origin, SharedCase, weights_hashes
from mindport.validate.reference import Reference, prepare_reference
from mindport.validate.request import Request


def origin_of(reference: Reference, request: Request) -> Origin:
    """Return which weights a request is about."""
    named = request.checkpoint
    if not is_embedded(named) and Path(named).exists():
        named = Path(named).resolve().name  # the rest is nobody's business elsewhere
    return Origin(
        checkpoint=named,
        seed=request.seed,
        filled=request.allow_missing,
        files=weights_hashes(reference.prepared),
        left_behind=tuple(sorted(left_behind(reference.prepared))),
        notices=reference.notices,
    )


def find_weights(
    case: SharedCase, given: str | None, work: Path, others: Iterable[SharedCase] = ()
) -> Prepared | None:
    """Return the weights of a case with the plan of their port; None if they are not at hand.

    Args:
        case: What is run.
        given: Where they lie, as ``--checkpoint`` says it, or None.
        work: A folder to write to.
        others: The same case from elsewhere, which may carry the weights.

    Raises:
        CheckpointError: If those that are given are others.
    """
    origin, made_here = case.origin, is_embedded(case.origin.checkpoint)
    made_here = made_here or case.origin.checkpoint == RANDOM
    if given is not None:
        found = _prepare(case, given, work)
        if not _same(found, origin):
            raise CheckpointError(
                f"{given} holds other weights than the case was made with (its sha256 differs).",
                f"Name the checkpoint {origin.checkpoint!r} that it was made with.",
            )
        return found
    for carrier in (case, *others):
        if carrier.carried is not None:
            found = prepare(
                carrier.carried, case.case.architecture, head=case.case.head, to="mindspore"
            )
            if _same(found, origin):
                return found
    if made_here:
        found = _prepare(case, origin.checkpoint, work)
        if _same(found, origin):
            return found
    return None


def need_weights(case: SharedCase, given: str | None, work: Path) -> Prepared:
    """Return the weights of a case.

    Raises:
        CheckpointError: If they are not at hand.
    """
    found = find_weights(case, given, work)
    if found is None:
        raise CheckpointError(
            f"The weights of the case ({case.origin.checkpoint}) are not at hand.",
            "Name them with --checkpoint PATH, or make the case with --with-weights.",
        )
    return found


def _prepare(case: SharedCase, checkpoint: str, work: Path) -> Prepared:
    config = case.folder / "config.json" if checkpoint == RANDOM else None
    request = Request(
        case.case.architecture,
        checkpoint=checkpoint,
        config_file=config,
        head=case.case.head,
        seed=case.origin.seed,
        allow_missing=case.origin.filled,
    )
    work.mkdir(parents=True, exist_ok=True)
    architecture = load_architecture(case.case.architecture)
    if not is_embedded(checkpoint) and checkpoint != RANDOM and Path(checkpoint).is_file():
        request = replace(request, config_file=case.folder / "config.json")
    return prepare_reference(architecture, request, work).prepared


def _same(found: Prepared, origin: Origin) -> bool:
    return sorted(weights_hashes(found).values()) == sorted(origin.files.values())
