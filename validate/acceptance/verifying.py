"""An acceptance checked again, without running anything: what it says and whether it may say so."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mindport.migrate.errors import MindportError, PlanError
from mindport.migrate.manifest import sha256_of
from mindport.validate.acceptance.agreement import differences
from mindport.validate.acceptance.fingerprint import asked_of, digest_of
from mindport.validate.acceptance.folder import (
    CAPTURE,
    CELL,
    CELLS,
    INTEGRITY,
    JUNIT,
    REFERENCES,
    SUMMARY,
    TASK,
    check_seal,
    hashes_below,
)
from mindport.validate.acceptance.publishing import render_forms
from mindport.validate.acceptance.reading import read_task
from mindport.validate.acceptance.references import reference_name
from mindport.validate.acceptance.requirements import mistaken
from mindport.validate.acceptance.running import yardstick
from mindport.validate.acceptance.summary import (
    Made,
    Result,
    Summary,
    read_summary,
    summarise,
)
from mindport.validate.acceptance.task import CAPTURES, Task
from mindport.validate.recording.comparing import compare_recorded
from mindport.validate.recording.record import open_recorded
from mindport.validate.report.forms import load_form

_SHOWN = 3


@dataclass(frozen=True)
class Verified:
    """What a folder says that stood the check.

    Attributes:
        summary: The outcome, derived again.
        digest: sha256 of the seal.
        recomputed: Names of the cells whose verdict was computed again from captures.
    """

    summary: Summary
    digest: str
    recomputed: tuple[str, ...]


def verify(folder: Path, digest: str = "") -> Verified:
    """Check a folder that :func:`mindport.validate.acceptance.running.accept` wrote.

    Args:
        folder: The folder.
        digest: What its digest should be, as it was told by another way; empty if it was not.

    Raises:
        PlanError: With all that is wrong, and where.
        MindportError: If it is no such folder.
    """
    if not (folder / INTEGRITY).is_file():
        begun = (folder / TASK).is_file()
        raise MindportError(
            f"{folder} is unfinished: it has no {INTEGRITY}."
            if begun
            else f"{folder} is no folder that `validate accept` wrote: it has no {INTEGRITY}.",
            "Finish it: validate accept TASK.toml -o FOLDER." if begun else "Name another.",
        )
    found = sha256_of(folder / INTEGRITY)
    if digest and found != digest.lower().removeprefix("sha256:"):
        _refuse(folder, [f"its digest is {found}, and not the one that was given"])
    _refuse(folder, check_seal(folder))
    try:
        stored = read_summary(folder)
        task = read_task(folder / TASK)
        signed = stored["signed_off"]["by"] if stored["signed_off"] else ""
        summary = summarise(task, folder, Made(stored["made"], signed))
        problems = [
            *_strangers(task, folder),
            *(f"{SUMMARY}: {said}" for said in differences(stored, summary.to_dict(), ())),
            *_forms(folder, summary),
        ]
        for result in summary.results:
            place = folder / CELLS / result.cell.name
            problems += [f"{CELLS}/{result.cell.name}: {said}" for said in
                         _cell(task, result, place, stored["made"]["code"])]  # fmt: skip
        _refuse(folder, problems)
        recomputed = []
        if task.keep == CAPTURES:
            for result in summary.results:
                if result.verdict.verdict != "not-run":
                    problems += _recompute(task, result, folder)
                    recomputed.append(result.cell.name)
    except PlanError:
        raise
    except MindportError as error:
        _refuse(folder, [error.message])
        raise
    _refuse(folder, problems)
    return Verified(summary, found, tuple(recomputed))


def _refuse(folder: Path, problems: list[str]) -> None:
    if problems:
        raise PlanError(
            f"{folder} is not what a run wrote:", problems,
            "Get the folder again from who ran it, or run the task again.",
        )  # fmt: skip


def _strangers(task: Task, folder: Path) -> Iterator[str]:
    wanted = {cell.name for cell in task.cells() if not cell.left_out}
    for path in sorted((folder / CELLS).iterdir()):
        if path.name not in wanted:
            yield f"{CELLS}/{path.name} is of no cell of the task"


def _forms(folder: Path, summary: Summary) -> Iterator[str]:
    for name, text in render_forms(summary, hashes_below(folder / CELLS)).items():
        try:
            same = (folder / name).read_text(encoding="utf-8") == text
        except (OSError, UnicodeDecodeError):
            same = False
        if not same:
            yield f"{name} does not say what the verdicts say"


def _cell(task: Task, result: Result, place: Path, code: str) -> Iterator[str]:
    """Yield in what a cell's files contradict each other or the task."""
    cell, note, verdict = result.cell, result.note, result.verdict
    files = hashes_below(place)
    files.pop(CELL, None)
    if note.get("cell") != cell.name:
        yield f"{CELL} is of the cell {note.get('cell')}"
    kept = note.get("files")
    recorded = kept if isinstance(kept, dict) else {}
    for name in sorted({*files, *recorded}):
        if files.get(name) != recorded.get(name):
            yield f"{name} is not the file that {CELL} was written with"
    prints = note["fingerprint"]
    asked = asked_of(task, cell)
    if note.get("asked") != asked or prints.get("task") != digest_of(asked):
        yield "it was run for another task, or for another cell of it"
    # A run refuses to make such a one; a side that was recorded elsewhere fails for it, openly.
    if not cell.capture and (wrong := mistaken(task, cell, verdict)):
        yield f"verdict.json is none of this cell: {wrong}"
    if prints.get("code") != code:
        yield "it was run by another code of mindport than the summary's"
    loaded = verdict.checkpoint.get("reference", {}).get("files", {})
    if loaded and sorted(loaded.values()) != sorted(prints["weights"].values()):
        yield "its reference loaded other weights than the cell was run for"
    expected = load_form("junit").render(verdict, "").text
    if (place / JUNIT).read_text(encoding="utf-8", errors="replace") != expected:
        yield f"{JUNIT} does not say what the verdict says"
    said = set((place / "verdict.md").read_text(encoding="utf-8", errors="replace").splitlines())
    lines = load_form("markdown").render(verdict, "").text.splitlines()
    if any(line not in said for line in lines):
        yield "verdict.md does not say what the verdict says"
    yield from _figures(result)


def _figures(result: Result) -> Iterator[str]:
    """Yield taps that are called right although their errors say otherwise; the rest is schema."""
    if result.verdict.policy.get("name") != "derived":
        return
    for tap in result.verdict.taps:
        views = [view.candidate.used for view in (tap.accumulated, tap.isolated) if view]
        if not tap.ok or not views or tap.used is None:
            continue
        worst = max(views)
        if not worst <= 1.0 or abs(worst - tap.used) > 1e-9 * worst:
            yield f"{tap.name} uses {worst:.3g} of its tolerance by its figures, not {tap.used:.3g}"


def _recompute(task: Task, result: Result, folder: Path) -> list[str]:
    """Return in what a verdict differs from the one that its captures give."""
    cell = result.cell
    reference = folder / REFERENCES / reference_name(cell)
    candidate = folder / CELLS / cell.name / CAPTURE
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        case = open_recorded(reference, Path(scratch) / "unpacked").case
    if sorted(case.origin.files.values()) != sorted(result.note["fingerprint"]["weights"].values()):
        return [f"{REFERENCES}/{reference.name} is of other weights than {cell.name} was run for"]
    request = task.request(cell, resolved=False)
    again = compare_recorded(reference, candidate, yardstick(task, request, elsewhere=True))
    found = differences(result.verdict.to_dict(), again.to_dict())
    more = [f"and {len(found) - _SHOWN} more places"] if len(found) > _SHOWN else []
    return [
        f"{CELLS}/{cell.name}/verdict.json does not follow from its captures: {said}"
        for said in (*found[:_SHOWN], *more)
    ]
