"""Whether a cell shows what the task demands: each demand by itself, from the verdict alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mindport.validate.acceptance.task import OWN, Cell, Performance, Task
from mindport.validate.acceptance.timing import SIDES, ratios_of
from mindport.validate.devices import parse_device
from mindport.validate.provenance import command_of
from mindport.validate.verdict import Verdict

Status = Literal["pass", "fail", "not-run"]
_WORST: tuple[Status, ...] = ("fail", "not-run", "pass")


@dataclass(frozen=True)
class Check:
    """One demand on a cell.

    Attributes:
        what: The demand, in a word or two.
        status: What came of it.
        said: Why, in a sentence.
    """

    what: str
    status: Status
    said: str

    def to_dict(self) -> dict[str, str]:
        """Return it as JSON-ready data."""
        return asdict(self)


def worst(checks: list[Check]) -> Status:
    """Return the status of several checks together."""
    return next(status for status in _WORST if any(c.status == status for c in checks) or
                status == "pass")  # fmt: skip


def check_cell(
    task: Task, cell: Cell, verdict: Verdict, timing: Mapping[str, Any] | None
) -> list[Check]:
    """Return what became of every demand on a cell.

    Args:
        task: What is demanded.
        cell: Which cell.
        verdict: What the comparison came to.
        timing: What ``timing.json`` holds; None if it is not there.
    """
    if verdict.verdict == "not-run":
        checks = [Check("verdict", "not-run", verdict.headline)]
    elif verdict.verdict == "emulated":
        checks = [Check("verdict", "not-run", "an emulation is no run of the device")]
    else:
        fine = verdict.verdict == "pass"
        checks = [Check("verdict", "pass" if fine else "fail", verdict.headline)]
    if wrong := mistaken(task, cell, verdict):
        checks.append(Check("what ran", "fail", wrong))
    ran = verdict.verdict not in ("not-run", "emulated")
    for what, ok, said in _shown(task, cell, verdict) if ran else ():
        checks.append(Check(what, "pass" if ok else "fail", said))
    if cell.performance and task.performance:
        checks.append(_performance(task.performance, cell, verdict, timing))
    return checks


def mistaken(task: Task, cell: Cell, verdict: Verdict) -> str:
    """Return in what a verdict is not one of this cell; empty if it is."""
    wanted: dict[str, Any] = {"architecture": task.architecture, "head": cell.head}
    found: dict[str, Any] = {name: getattr(verdict, name) for name in wanted}
    candidate = verdict.identity.get("candidate")
    if candidate:
        backend = "cell" if cell.backend == OWN else cell.backend
        wanted |= {"backend": backend, "device": parse_device(cell.device).kind,
                   "mode": cell.mode, "dtype": cell.dtype}  # fmt: skip
        found |= {name: candidate[name] for name in ("backend", "device", "mode", "dtype")}
        request = task.request(cell, resolved=False)
        if request.inputs is None:
            wanted["batch"], found["batch"] = request.batch, verdict.inputs["batch"]
            if request.length is not None:
                wanted["length"], found["length"] = request.length, verdict.inputs["length"]
        asked = verdict.prompts["task"] if verdict.prompts else ""
        if bool(asked) != bool(cell.prompts):
            return f"the verdict's prompts are {asked or 'none'}, the cell's " + (
                cell.prompts or "none"
            )
    for name, value in wanted.items():
        if found[name] != value:
            return f"the verdict is of the {name} {found[name]}, the cell of {value}"
    expected = list(command_of(task.request(cell, resolved=False)))
    if list(verdict.made.get("command", ())) != expected:
        return "the verdict was made by another command than the task's"
    return ""


def _shown(task: Task, cell: Cell, verdict: Verdict) -> Iterator[tuple[str, bool, str]]:
    if cell.gradients:
        found = verdict.gradients
        said = (found["problem"] or found["summary"]) if found else "none were compared"
        yield "gradients", bool(found and not found["problem"]), said
    if cell.prompts:
        asked = verdict.prompts
        said = f"{asked['items']} prompts, {asked['status']}" if asked else "none were asked"
        yield "prompts", bool(asked and asked["status"] == "pass"), said
    if task.show.every_tap:
        left = verdict.not_compared
        said = f"{len(left)} taps were not compared" if left else f"all {len(verdict.taps)} taps"
        yield "every tap", not left, said
    if task.show.operations:
        inside = {t.name.split(".")[1] for t in verdict.taps if _in_block(t.name) and t.detail}
        blocks = {t.name.split(".")[1] for t in verdict.taps if _in_block(t.name)}
        said = f"operations of {len(inside)} of {len(blocks)} blocks were compared"
        yield "operations", bool(blocks) and inside == blocks, said
    used = [tap.used for tap in verdict.taps]
    known = [value for value in used if value is not None and math.isfinite(value)]
    most = max(known, default=math.inf)
    yield (
        "tolerance used",
        len(known) == len(used) and most <= task.show.max_used,
        f"at most {most:.1%} at a tap, allowed {task.show.max_used:.0%}"
        if len(known) == len(used)
        else "a tap has no figures",
    )


def _in_block(name: str) -> bool:
    parts = name.split(".")
    return len(parts) > 1 and parts[0] == "block"


def _performance(
    floor: Performance, cell: Cell, verdict: Verdict, timing: Mapping[str, Any] | None
) -> Check:
    what = "performance"
    if cell.capture:
        said = "the candidate was recorded elsewhere, so the sides could not take turns"
        return Check(what, "not-run", said)
    if timing is None:
        said = "not measured" + (": the cell could not run" if not verdict.taps else "")
        return Check(what, "not-run", said)
    if "not_run" in timing:
        return Check(what, "not-run", str(timing["not_run"]))
    for side in SIDES:
        ran, timed = verdict.identity.get(side), timing["identity"][side]
        keys = ("backend", "framework", "version", "device", "dtype", "mode")
        if ran and any(ran[key] != timed[key] for key in keys):
            return Check(what, "fail", f"what was timed is not the {side} that was judged")
        if len(timing["seconds"][side]) != floor.rounds:
            return Check(what, "fail", f"the {side} was not timed {floor.rounds} times, as asked")
    ratio, least, most = ratios_of(timing, floor.clock)
    said = (
        f"{ratio:.2f} times the reference's {floor.clock} time ({least:.2f} to {most:.2f} in "
        f"{floor.rounds} rounds), allowed {floor.max_ratio:g}"
    )
    return Check(what, "pass" if ratio <= floor.max_ratio else "fail", said)
