"""Run the cells of a task, one after the other; what is finished and unchanged is kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.validate.acceptance.fingerprint import asked_of, fingerprint, what_changed
from mindport.validate.acceptance.folder import (
    CAPTURE,
    CELL,
    CELLS,
    JUNIT,
    REFERENCES,
    TASK,
    TIMING,
    clean,
    hashes_below,
    hold,
    part_of,
    read_json,
    remove,
    seal,
    write_json,
)
from mindport.validate.acceptance.publishing import write_last
from mindport.validate.acceptance.reading import read_task
from mindport.validate.acceptance.references import (
    case_of,
    find_reference,
    given_weights,
    reference_name,
    weights_of,
)
from mindport.validate.acceptance.summary import Made, Summary, describe_code, summarise
from mindport.validate.acceptance.task import CAPTURES, Cell, Task
from mindport.validate.acceptance.timing import measure
from mindport.validate.judge import not_run
from mindport.validate.launch import NotRun
from mindport.validate.provenance import command_of, with_provenance
from mindport.validate.recording.archive import extract_zip
from mindport.validate.recording.comparing import Yardstick, compare_recorded
from mindport.validate.recording.order import SETTLED, Order
from mindport.validate.recording.record import open_recorded
from mindport.validate.recording.running import try_to_record
from mindport.validate.report.forms import load_form
from mindport.validate.report.publish import publish, write_document
from mindport.validate.report.stored import read_verdict
from mindport.validate.request import Request
from mindport.validate.stages import Stages
from mindport.validate.verdict import Verdict

SCHEMA = 1
# Told of a cell what became of it, in a few words: kept, running …
Told = Callable[[str, str], None]


@dataclass(frozen=True)
class Accepted:
    """What a run came to.

    Attributes:
        summary: The outcome.
        digest: sha256 of the seal.
        ran: Names of the cells that were run now; the others were kept.
    """

    summary: Summary
    digest: str
    ran: tuple[str, ...]


def accept(
    task_file: Path,
    output: Path,
    signed_off_by: str = "",
    told: Told = lambda _cell, _words: None,
) -> Accepted:
    """Run what of a task is not done yet, and write the folder anew.

    Args:
        task_file: The task.
        output: The folder, new or of an earlier run.
        signed_off_by: Who says so; empty for nobody.
        told: Told what becomes of each cell.

    Raises:
        MindportError: If the task cannot be met, or the folder cannot be used.
    """
    task = read_task(task_file)
    cells = [cell for cell in task.cells() if not cell.left_out]
    # Before anything is run: a checkpoint that is not there, a head that it has not.
    by_head = {cell.head: weights_of(task, cell) for cell in cells}
    prints = {cell.name: fingerprint(task, cell, by_head[cell.head]) for cell in cells}
    with hold(output):
        clean(output)
        shutil.copyfile(task_file, output / TASK)
        _drop_others(output / CELLS, {cell.name for cell in cells})
        names = {reference_name(cell) for cell in cells}
        _drop_others(output / REFERENCES, {*names, *(f"{name}.json" for name in names)})
        ran = []
        for cell in cells:
            folder = output / CELLS / cell.name
            why = _why_again(task, cell, folder, prints[cell.name])
            if not why:
                told(cell.name, "kept")
                continue
            told(cell.name, why)
            try:
                _run(task, cell, folder, prints[cell.name], told)
            except MindportError as error:
                error.message = f"{cell.name}: {error.message}"
                raise
            ran.append(cell.name)
        if task.keep != CAPTURES:
            remove(output / REFERENCES)
        summary = summarise(task, output, Made(describe_code(), signed_off_by))
        write_last(output, summary)
        return Accepted(summary, seal(output), tuple(ran))


def _drop_others(place: Path, names: set[str]) -> None:
    for path in place.iterdir() if place.is_dir() else ():
        if path.name not in names:
            remove(path)


def _why_again(task: Task, cell: Cell, folder: Path, now: Mapping[str, Any]) -> str:
    """Return why a cell is to be run; empty if what is there may stay."""
    if not folder.is_dir():
        return "new"
    try:
        note = read_json(folder / CELL)
        verdict = read_verdict(folder)
    except MindportError:
        return "again: what is there cannot be read"
    files = hashes_below(folder)
    files.pop(CELL, None)
    if note.get("schema") != SCHEMA or note.get("files") != files:
        return "again: what is there was changed"
    if changed := what_changed(note.get("fingerprint", {}), now):
        return f"again: {changed} changed"
    if task.keep == CAPTURES and verdict.taps and not _references_there(folder, cell):
        return "again: its reference is gone"
    if verdict.verdict == "not-run":
        return "again: it did not run before"
    timing = read_json(folder / TIMING) if (folder / TIMING).is_file() else {}
    return "again: it was not timed" if "not_run" in timing else ""


def _references_there(folder: Path, cell: Cell) -> bool:
    return (folder.parents[1] / REFERENCES / reference_name(cell)).is_dir()


def _run(task: Task, cell: Cell, folder: Path, now: Mapping[str, Any], told: Told) -> None:
    part = part_of(folder)
    remove(part)
    part.mkdir(parents=True)
    try:
        verdict, timing = _judge(task, cell, now["weights"], part, told)
        publish(part, verdict)
        document = load_form("markdown").render(verdict, "verdict")
        write_document(part / "verdict.md", document, force=True)
        junit = load_form("junit").render(verdict, "").text
        (part / JUNIT).write_text(junit, encoding="utf-8")
        if timing is not None:
            write_json(part / TIMING, timing)
        write_json(part / CELL, {
            "schema": SCHEMA, "cell": cell.name, "asked": asked_of(task, cell),
            "fingerprint": now, "files": hashes_below(part),
        })  # fmt: skip
        remove(folder)
        part.rename(folder)
    finally:
        remove(part)


def _judge(
    task: Task, cell: Cell, weights: Mapping[str, str], part: Path, told: Told
) -> tuple[Verdict, dict[str, Any] | None]:
    """Record both sides, compare and time them."""
    request, output = task.request(cell), part.parents[1]
    command = command_of(task.request(cell, resolved=False))
    reference = find_reference(task, cell, weights, output, _stages(cell, told))
    candidate = reference if isinstance(reference, NotRun) else _candidate(
        cell, request, reference, part, told
    )  # fmt: skip
    reasons = [side for side in (reference, candidate) if isinstance(side, NotRun)]
    if isinstance(reference, NotRun) or isinstance(candidate, NotRun):
        verdict = not_run(case_of(task, cell, reference), reasons[:1], ())
        return with_provenance(verdict, command), None
    told(cell.name, "comparison")
    verdict = compare_recorded(reference, candidate, yardstick(task, request))
    timing = None
    if cell.performance and task.performance and not cell.capture:
        told(cell.name, "timing")
        with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
            timing = measure(request, task.performance, Path(scratch))
    kept = part / CAPTURE
    if task.keep != CAPTURES:
        remove(kept)
    elif candidate != kept:
        if candidate.is_file():
            extract_zip(candidate, kept)
        else:
            shutil.copytree(candidate, kept)
    return with_provenance(verdict, command), timing


def _stages(cell: Cell, told: Told) -> Stages:
    return Stages(lambda progress: told(cell.name, progress.stage))


def yardstick(task: Task, request: Request, *, elsewhere: bool = False) -> Yardstick:
    """Return how the cells of a task are judged.

    Args:
        task: The task.
        request: A cell's.
        elsewhere: Whether the weights are those that the reference carries.
    """
    given = None if elsewhere else given_weights(request)
    return Yardstick(given, request.policy, request.atol, request.rtol, request.accept)


def _candidate(
    cell: Cell, request: Request, reference: Path, part: Path, told: Told
) -> Path | NotRun:
    """Return the candidate's recorded run: the one from elsewhere, or a new one."""
    given = request.candidate_capture
    if given is not None:
        with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
            recorded = open_recorded(given, Path(scratch) / "unpacked").record
        if recorded.imported:
            raise MindportError(
                f"{given} was imported from {recorded.imported}: nothing proves on which device "
                "it ran.",
                "Record it there: validate record, or validate bundle.",
            )
        return given
    defaults = {name: getattr(Request, name) for name in SETTLED}  # the case has settled these
    order = Order(replace(request, **defaults), "candidate", reference,
                  with_weights=False, checkpoint=given_weights(request))  # fmt: skip
    try:
        return try_to_record(order, part / CAPTURE, _stages(cell, told))
    except EnvironmentUnavailableError as error:
        return NotRun("candidate", error.message, error.hint)
