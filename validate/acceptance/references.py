"""The reference's recorded runs: one for all cells with the same, kept if nothing changed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.validate.acceptance.fingerprint import code_digest, digest_of, versions_here
from mindport.validate.acceptance.folder import REFERENCES, read_json, remove, write_json
from mindport.validate.acceptance.task import CAPTURES, Cell, Task
from mindport.validate.case import SettledCase
from mindport.validate.checkpoints import RANDOM, is_embedded
from mindport.validate.launch import NotRun
from mindport.validate.recording.order import SETTLED, Order, prepare_case
from mindport.validate.recording.record import open_recorded
from mindport.validate.recording.running import try_to_record
from mindport.validate.recording.shared_case import weights_hashes
from mindport.validate.reference import prepare_reference
from mindport.validate.request import Request
from mindport.validate.stages import Stages

# What makes two cells compare with the same reference, beside weights, code and versions.
_CASE = (*SETTLED, "architecture", "checkpoint", "threads")


def weights_of(task: Task, cell: Cell) -> dict[str, str]:
    """Return the sha256 of the weights files that the reference of a cell loads.

    Raises:
        MindportError: If they are not there, or do not fit the head.
    """
    request = task.request(cell)
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        architecture = load_architecture(request.architecture)
        found = prepare_reference(architecture, request, Path(scratch))
        return weights_hashes(found.prepared)


def given_weights(request: Request) -> str | None:
    """Return where the weights lie, if they are none that can be made or found by themselves."""
    own = is_embedded(request.checkpoint) or request.checkpoint == RANDOM
    return None if own else request.checkpoint


def reference_name(cell: Cell) -> str:
    """Return the folder of a cell's reference below ``references/``."""
    parts = [cell.head, cell.dtype, cell.name.split("-")[-1] if cell.prompts else "",
             "gradients" if cell.gradients else ""]  # fmt: skip
    return "-".join(part for part in parts if part)


def find_reference(
    task: Task, cell: Cell, weights: Mapping[str, str], folder: Path, stage: Stages
) -> Path | NotRun:
    """Return the recorded reference of a cell: the one that is there, or a new one.

    Args:
        task: The task.
        cell: One of its cells.
        weights: sha256 of the weights files.
        folder: The acceptance's.
        stage: Told what is being done.

    Raises:
        MindportError: If the task cannot be met.
    """
    place = folder / REFERENCES / reference_name(cell)
    note = place.with_name(f"{place.name}.json")
    request = task.request(cell)
    wanted = {"fingerprint": _fingerprint(task, request, weights)}
    if place.is_dir() and note.is_file() and _is_whole(place, note, wanted):
        return place
    remove(place)
    remove(note)
    order = Order(
        replace(
            request,
            device=request.reference_device,
            backend=Request.backend,
            mode=Request.mode,
            candidate=None,
            candidate_checkpoint=None,
            candidate_capture=None,
            taps_file=None,
        ),
        "reference",
        with_weights=True if task.keep == CAPTURES else None,
    )
    try:
        outcome = try_to_record(order, place, stage)
    except EnvironmentUnavailableError as error:
        return NotRun("reference", error.message, error.hint)
    if isinstance(outcome, Path):
        write_json(note, wanted)
    return outcome


def _is_whole(place: Path, note: Path, wanted: Mapping[str, Any]) -> bool:
    try:
        with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
            open_recorded(place, Path(scratch) / "unpacked")
        return read_json(note) == wanted
    except MindportError:
        return False


def _fingerprint(task: Task, request: Request, weights: Mapping[str, str]) -> str:
    asked = {field.name: str(getattr(request, field.name)) for field in fields(request)}
    return digest_of(
        [{name: asked[name] for name in (*_CASE, "dtype", "reference_dtype")}, task.keep,
         dict(weights), code_digest(), versions_here(), _contents(request)]
    )  # fmt: skip


def _contents(request: Request) -> list[str]:
    """Return the contents of files that make the case, which may change under their names."""
    named = [request.inputs, request.config_file, request.prompts and Path(request.prompts)]
    return [digest_of(path.read_bytes().hex()) for path in named if path and path.is_file()]


def case_of(task: Task, cell: Cell, reference: Path | NotRun) -> SettledCase:
    """Return what a cell would have run, for a verdict that says that it did not."""
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        if isinstance(reference, Path):
            return open_recorded(reference, work / "unpacked").case.case
        request = replace(task.request(cell), candidate_capture=None)
        return prepare_case(Order(request), work)[0].case
