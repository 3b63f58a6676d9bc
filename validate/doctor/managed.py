"""The environments that mindport builds for a backend: whether they are there, and fit for use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindport.validate.doctor.compatibility import Table
from mindport.validate.doctor.environment import Facts
from mindport.validate.doctor.finding import Finding, Job, Word
from mindport.validate.environments.finding import STAMP, Environment, look_up
from mindport.validate.environments.specification import (
    SPECIFICATIONS,
    Specification,
    specification_of,
)

BUILD = "validate env create"
_STATES = {
    "outdated": "It was built for another version of mindport, which needs other packages.",
    "unfinished": "Building it was broken off, or goes on right now.",
    "broken": "Its interpreter is gone.",
    "foreign": "It was not made by mindport, which leaves it alone: move it away, or set "
    "MINDPORT_ENVS to another folder.",
}


@dataclass(frozen=True)
class Managed:
    """An environment that mindport builds.

    Attributes:
        spec: What it should be.
        found: What there is.
    """

    spec: Specification
    found: Environment

    @property
    def versions(self) -> dict[str, str]:
        """What its stamp says is in it, by the names of the compatibility table."""
        stamp = self.found.stamp
        versions = {str(name): str(v) for name, v in stamp.get("versions", {}).items()}
        return versions | ({"python": str(stamp["python"])} if "python" in stamp else {})

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {
            "name": self.spec.name,
            "backend": self.spec.backend,
            "state": self.found.state,
            "folder": str(self.found.folder),
            "versions": self.versions,
        }


def look_up_all() -> tuple[Managed, ...]:
    """Return every environment that there could be."""
    return tuple(Managed(spec, look_up(spec)) for spec in SPECIFICATIONS)


def own_interpreter(job: Job | None) -> Path:
    """Return the interpreter that a job runs in if no other is named."""
    spec = specification_of(job.backend) if job is not None else None
    found = look_up(spec) if spec is not None else None
    return found.python if found is not None and found.state == "complete" else Path(sys.executable)


def home_of(facts: Facts, environments: tuple[Managed, ...]) -> Managed | None:
    """Return the environment that an examined interpreter belongs to, or None."""
    prefix = Path(str(facts.python["prefix"])).resolve()
    inside = (prefix / STAMP).is_file()
    return next((m for m in environments if inside and m.found.folder == prefix), None)


def judge_environments(
    environments: tuple[Managed, ...], facts: Facts, job: Job | None, table: Table, *, named: bool
) -> Iterator[Finding]:
    """Yield what is to be said of each environment.

    Args:
        environments: All of them.
        facts: Of the interpreter that was examined.
        job: What is to run; None asks for everything.
        table: Of what fits what.
        named: Whether the user named that interpreter; then no environment is needed.
    """
    home = home_of(facts, environments)
    for managed in environments:
        spec, found = managed.spec, managed.found
        needed = not named and job is not None and job.backend == spec.backend
        if found.state == "complete":
            examined = facts if managed is home else None
            verdict, said, again = _judge_content(managed, examined, table)
        elif found.state == "absent":
            here = spec.backend in facts.modules and bool(facts.modules[spec.backend].origin)
            verdict, again = "broken" if needed and not here else "absent", ""
            said = f"The backend {spec.backend} runs in an environment of its own."
        else:
            verdict, again = "broken" if needed else "warning", ""
            said = _STATES[found.state]
        wrong = verdict in ("broken", "warning")
        shown = ", ".join([found.state, *(f"{n} {v}" for n, v in managed.versions.items())])
        yield Finding(
            f"environment-{spec.name}",
            f"environment {spec.name}",
            shown if found.state == "absent" else f"{shown}, in {found.folder}",
            f"for the backend {spec.backend}",
            verdict,
            f"{said} Build it: {BUILD} {spec.name}{again}." if wrong else "",
            (f"env:{spec.name}{again}",) if wrong else (),
            concerns=(spec.backend,),
        )


def _judge_content(managed: Managed, facts: Facts | None, table: Table) -> tuple[Word, str, str]:
    """Return what is to be said of a complete environment: verdict, words, and how to build it.

    Args:
        managed: The environment.
        facts: Of its interpreter, if that was examined.
        table: Of what fits what.
    """
    pins, again = {_plain(name): pin for name, pin in managed.spec.pins.items()}, " --force"
    changed = [
        f"{d.name} {d.version} instead of {pins[_plain(d.name)]}"
        for d in (facts.distributions if facts else ())
        if pins.get(_plain(d.name), d.version) != d.version
    ]
    if changed:
        return "warning", f"It was changed since it was built: {', '.join(changed)}.", again
    backend = managed.spec.backend
    known = [f for f in table.judge(managed.versions) if backend in f.concerns]
    for word in ("broken", "warning"):
        for finding in known:
            if finding.verdict == word:
                return finding.verdict, f"{finding.what}: {finding.advice}", again
    return "ok", "", ""


def _plain(name: str) -> str:
    return name.replace("_", "-").lower()
