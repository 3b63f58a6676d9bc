"""The outcome of a task, derived from the verdicts that are really there."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from mindport.migrate.errors import EXIT_ENVIRONMENT, EXIT_FAIL, EXIT_PASS, MindportError
from mindport.migrate.manifest import sha256_of
from mindport.validate.acceptance.fingerprint import code_digest, versions_here
from mindport.validate.acceptance.folder import (
    CELL,
    CELLS,
    SUMMARY,
    TASK,
    TIMING,
    VERDICT,
    read_json,
)
from mindport.validate.acceptance.requirements import Check, Status, check_cell, worst
from mindport.validate.acceptance.task import AXES, Cell, Performance, Task
from mindport.validate.acceptance.timing import ratios_of
from mindport.validate.report.schema import find_departure
from mindport.validate.report.stored import read_verdict
from mindport.validate.report.summary import fullest_tap, identity_line
from mindport.validate.verdict import Verdict

SCHEMA = 1
EXIT_CODES: Mapping[Status, int] = {
    "pass": EXIT_PASS, "fail": EXIT_FAIL, "not-run": EXIT_ENVIRONMENT
}  # fmt: skip
STATEMENT = (
    "I ran this check as the task says, on what the verdicts name, and changed nothing afterwards."
)
_SCHEMA_FILE = Path(__file__).with_name("summary.schema.json")


@dataclass(frozen=True)
class Made:
    """Who wrote a summary, with what; the one part that is not derived from the cells.

    Attributes:
        by: mindport's version and digest, when (UTC), Python, platform, packages.
        signed_off_by: Whose statement it is; empty for nobody's.
    """

    by: Mapping[str, Any]
    signed_off_by: str = ""


@dataclass(frozen=True)
class Result:
    """What became of a cell.

    Attributes:
        cell: The cell.
        verdict: What the comparison came to.
        checks: What became of every demand.
        timing: What ``timing.json`` holds, or None.
        note: What ``cell.json`` holds.
        sha256: Of ``verdict.json``.
    """

    cell: Cell
    verdict: Verdict
    checks: tuple[Check, ...]
    timing: Mapping[str, Any] | None
    note: Mapping[str, Any]
    sha256: str

    @property
    def status(self) -> Status:
        """What all demands come to."""
        return worst(list(self.checks))

    @property
    def excused(self) -> bool:
        """Whether it could not run, and the task says that this may be."""
        absent = self.verdict.verdict == "not-run" and self.status == "not-run"
        return self.cell.may_be_absent and absent


@dataclass(frozen=True)
class Summary:
    """The outcome.

    Attributes:
        task: What was asked.
        task_sha256: Of its file.
        results: By cell, in the order of the task.
        left_out: Cells that the task leaves out, with its reason.
        made: Who wrote it.
    """

    task: Task
    task_sha256: str
    results: tuple[Result, ...]
    left_out: tuple[Cell, ...]
    made: Made

    @property
    def status(self) -> Status:
        """``pass`` if the task is accepted; a cell that may be absent does not count."""
        counted = [result for result in self.results if not result.excused]
        if any(result.status == "fail" for result in counted):
            return "fail"
        passed = counted and all(result.status == "pass" for result in counted)
        return "pass" if passed else "not-run"

    @property
    def outcome(self) -> Literal["accepted", "not accepted"]:
        """The status in the words of a task."""
        return "accepted" if self.status == "pass" else "not accepted"

    @property
    def exit_code(self) -> int:
        """The code that the command ends with."""
        return EXIT_CODES[self.status]

    @property
    def headline(self) -> str:
        """The outcome in a sentence."""
        count = {s: sum(r.status == s for r in self.results) for s in EXIT_CODES}
        said = [f"{count['pass']} of {len(self.results)} cells show what is asked"]
        said += [f"{count['fail']} failed"] * bool(count["fail"])
        said += [f"{count['not-run']} not run"] * bool(count["not-run"])
        excused = sum(result.excused for result in self.results)
        said += [f"{excused} of these may be absent"] * bool(excused)
        said += [f"{len(self.left_out)} left out by the task"] * bool(self.left_out)
        return f"{self.outcome}: {', '.join(said)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-ready data (``summary.schema.json``)."""
        return {
            "schema": SCHEMA,
            "name": self.task.name,
            "outcome": self.outcome,
            "status": self.status,
            "headline": self.headline,
            "architecture": self.task.architecture,
            "task": {"file": TASK, "sha256": self.task_sha256},
            "cells": [_cell(result, self.task.performance) for result in self.results],
            "left_out": [
                {"name": cell.name, "reason": cell.left_out} for cell in self.left_out
            ],
            "made": dict(self.made.by),
            "signed_off": {"by": self.made.signed_off_by, "statement": STATEMENT}
            if self.made.signed_off_by
            else None,
        }  # fmt: skip


def _ratio(result: Result, floor: Performance | None) -> float | None:
    if floor is None or result.timing is None or "seconds" not in result.timing:
        return None
    return ratios_of(result.timing, floor.clock)[0]


def _cell(result: Result, floor: Performance | None) -> dict[str, Any]:
    cell, verdict = result.cell, result.verdict
    fullest = fullest_tap(verdict)
    return {
        "name": cell.name,
        **{axis: getattr(cell, axis) for axis in AXES},
        "status": result.status,
        "may_be_absent": cell.may_be_absent,
        "capture": cell.capture,
        "checks": [check.to_dict() for check in result.checks],
        "verdict": {"status": verdict.verdict, "sha256": result.sha256, "at": verdict.made["at"]},
        "ran": {side: identity_line(identity) for side, identity in verdict.identity.items()},
        "most_used": {"tap": fullest.name, "share": fullest.used} if fullest else None,
        "ratio": _ratio(result, floor),
        "checkpoints": {
            side: dict(found["files"]) for side, found in verdict.checkpoint.items()
        },
        "fingerprint": result.note["fingerprint"],
    }  # fmt: skip


def describe_code() -> dict[str, Any]:
    """Return what writes summaries here and now."""
    return {
        "mindport": version("mindport"),
        "code": code_digest(),
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions_here(),
    }


def summarise(task: Task, folder: Path, made: Made) -> Summary:
    """Derive the outcome of a folder; nothing that is already derived is looked at.

    Args:
        task: What the folder's task file asks for.
        folder: The acceptance's.
        made: Who writes the summary.

    Raises:
        MindportError: If a cell is not there, or is damaged.
    """
    cells = task.cells()
    results = tuple(read_result(task, cell, folder) for cell in cells if not cell.left_out)
    left_out = tuple(cell for cell in cells if cell.left_out)
    return Summary(task, sha256_of(folder / TASK), results, left_out, made)


def read_result(task: Task, cell: Cell, folder: Path) -> Result:
    """Read a cell's verdict and judge it anew.

    Raises:
        MindportError: If it is not there, or is damaged.
    """
    place = folder / CELLS / cell.name
    if not place.is_dir():
        raise MindportError(f"The cell {cell.name} is missing: there is no {place}.")
    verdict = read_verdict(place)
    timing = read_json(place / TIMING) if (place / TIMING).is_file() else None
    try:
        checks = tuple(check_cell(task, cell, verdict, timing))
        note = read_json(place / CELL)
        result = Result(cell, verdict, checks, timing, note, sha256_of(place / VERDICT))
        _cell(result, task.performance)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise MindportError(
            f"The cell {cell.name} is damaged: {type(error).__name__} at {error}."
        ) from None
    return result


def read_summary(folder: Path) -> dict[str, Any]:
    """Read ``summary.json`` and check it against its schema.

    Raises:
        MindportError: If there is none, or it is damaged or of another schema.
    """
    content = read_json(folder / SUMMARY)
    if content.get("schema") != SCHEMA:
        raise MindportError(
            f"{folder / SUMMARY} has schema {content.get('schema')}; this mindport reads schema "
            f"{SCHEMA}.", "Read it with the mindport that wrote it."
        )  # fmt: skip
    departure = find_departure(content, _SCHEMA_FILE)
    if departure is not None:
        raise MindportError(
            f"{folder / SUMMARY}: at {departure.place}: {departure.message}.",
            "Get the folder again from who ran it, or run the task again.",
        )
    return content
