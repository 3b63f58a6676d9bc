"""The whole of the doctor as one function: an interpreter and a job in, findings out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mindport.migrate.errors import EXIT_ENVIRONMENT, EXIT_PASS
from mindport.validate.devices import Device
from mindport.validate.doctor.compatibility import Table, load_table
from mindport.validate.doctor.environment import Facts, Trial, gather_facts, try_all
from mindport.validate.doctor.finding import BACKENDS, Finding, Job, Word
from mindport.validate.doctor.hardware import judge_trial, look_at_hardware
from mindport.validate.doctor.machine import Machine, look_at_machine
from mindport.validate.doctor.managed import (
    Managed,
    home_of,
    judge_environments,
    look_up_all,
)
from mindport.validate.doctor.mending import TORCH_NOTE, install_lines
from mindport.validate.doctor.software import (
    look_around,
    look_at_packages,
    look_for_conflicts,
    versions_of,
)

SCHEMA = 1
TIMEOUT = 120.0


@dataclass(frozen=True)
class Diagnosis:
    """What was found, and what it comes to.

    Attributes:
        job: What is to run; None asks for everything.
        interpreter: The Python that was examined.
        verdict: ``broken`` if the job cannot run, or nothing can; else the worst of the findings
            that the job needs: ``warning``, ``unknown`` or ``ok``.
        findings: Everything that was looked at.
        can_run: Backends that could run on the CPU here.
        install: Command lines that mend it.
        notes: What to know when using them.
        environments: Those that mindport builds.
        tried: Whether the frameworks were run, not only looked up.
        facts: Of the interpreter.
        machine: Of the machine.
    """

    job: Job | None
    interpreter: str
    verdict: Word
    findings: tuple[Finding, ...]
    can_run: Mapping[str, bool]
    install: tuple[str, ...]
    notes: tuple[str, ...]
    environments: tuple[Managed, ...]
    tried: bool
    facts: Facts = field(repr=False)
    machine: Machine = field(repr=False)

    @property
    def exit_code(self) -> int:
        """0, or 3 if the job, or without one anything at all, cannot run."""
        return EXIT_ENVIRONMENT if self.verdict == "broken" else EXIT_PASS

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data (``validate/doctor/doctor.schema.json``)."""
        machine = self.machine
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "job": None if self.job is None else {
                "backend": self.job.backend, "device": str(self.job.device)
            },
            "interpreter": self.interpreter,
            "tried": self.tried,
            "can_run": dict(self.can_run),
            "findings": [
                {**asdict(f), "mend": list(f.mend), "concerns": list(f.concerns)}
                for f in self.findings
            ],
            "install": list(self.install),
            "notes": list(self.notes),
            "environments": [managed.to_dict() for managed in self.environments],
            "versions": versions_of(self.facts, machine),
            "machine": {
                "libc": self.facts.platform["libc"],
                "ascend": list(machine.ascend.looked),
                "npu_smi": machine.ascend.tool,
                "gpu": list(machine.cuda.looked),
                "nvidia_smi": machine.cuda.tool,
                "plugins": list(self.facts.plugins),
                "free_disk": machine.free_disk,
                "memory": machine.memory,
                "cpus": machine.cpus,
                "variables": dict(machine.variables),
            },
        }  # fmt: skip


def examine(
    python: Path,
    job: Job | None = None,
    *,
    named: bool = True,
    quick: bool = False,
    timeout: float = TIMEOUT,
) -> Diagnosis:
    """Look at an interpreter and the machine, and run what must be run to be known.

    Args:
        python: The interpreter.
        job: What is to run; None asks for everything.
        named: Whether the user named the interpreter; if not, a backend that has an environment of
            its own runs there.
        quick: Only look, and run no framework.
        timeout: Seconds for each framework.

    Raises:
        EnvironmentUnavailableError: If the interpreter does not answer.
    """
    facts, machine = gather_facts(python), look_at_machine()
    environments = look_up_all()
    trials = () if quick else try_all(python, trials_for(job, facts, machine), timeout)
    return conclude(
        facts, machine, trials, job, tried=not quick, environments=environments, named=named
    )


def trials_for(job: Job | None, facts: Facts, machine: Machine) -> list[tuple[str, str]]:
    """Return which frameworks to run on which devices."""

    def asked(*backends: str) -> bool:
        return job is None or job.backend in backends

    def there(name: str) -> bool:
        return name in facts.modules and bool(facts.modules[name].origin)

    computing = [("torch", asked("torch")), ("mindspore", asked("mindspore", "mindnlp"))]
    on_cpu = job is None or job.device.kind == "CPU" or job.backend == "mindnlp"
    wanted = [(name, "CPU") for name, needed in computing if on_cpu and needed and there(name)]
    if asked("torch") and there("transformers"):
        wanted.append(("transformers", ""))
    if (job is None or job.backend == "mindnlp") and there("mindnlp"):
        wanted.append(("mindnlp", ""))
    present = {"GPU": machine.cuda.present, "Ascend": machine.ascend.present}
    for kind, is_there in present.items():
        if job is not None:
            is_there = job.device.kind == kind
        device = str(job.device) if job is not None else kind
        if is_there:
            wanted += [
                (name, device)
                for name, needed in computing
                if needed and there(name)
                and not (name == "torch" and kind == "Ascend" and not there("torch_npu"))
            ]  # fmt: skip
    return wanted


def conclude(
    facts: Facts,
    machine: Machine,
    trials: Sequence[Trial] = (),
    job: Job | None = None,
    *,
    tried: bool = False,
    table: Table | None = None,
    folder: Path | None = None,
    environments: tuple[Managed, ...] = (),
    named: bool = True,
) -> Diagnosis:
    """Judge what was found.

    Args:
        facts: Of the interpreter.
        machine: Of the machine.
        trials: What came of running the frameworks.
        job: What is to run; None asks for everything.
        tried: Whether anything was run.
        table: Of what fits what.
        folder: Where the user stands.
        environments: Those that mindport builds.
        named: Whether the user named the interpreter.
    """
    table = table or load_table()
    built = list(judge_environments(environments, facts, job, table, named=named))
    findings: list[Finding] = [
        *built,
        *look_at_packages(facts, job),
        *table.judge(versions_of(facts, machine)),
        *look_for_conflicts(facts),
        *look_around(facts, machine, folder or Path.cwd()),
        *look_at_hardware(machine, facts, job),
        *(judge_trial(trial, table) for trial in trials),
    ]
    if job is not None:
        findings = [f for f in findings if not f.concerns or f.about(job)]
        if any(f.stops(job) for f in built):
            # It would not run in the interpreter that was examined, so that is no matter.
            findings = [f for f in findings if not f.concerns or f in built or f.device]
    can_run = {} if job is not None else {
        backend: _can_run(backend, findings, facts, environments, named=named)
        for backend in BACKENDS
    }  # fmt: skip
    home = home_of(facts, environments)
    install = install_lines(findings, facts, table, job, home.spec.name if home else "")
    torch = any("torch==" in line for line in install) and facts.platform["system"] == "Linux"
    return Diagnosis(
        job=job,
        interpreter=str(facts.python["executable"]),
        verdict=_verdict(findings, job, can_run),
        findings=tuple(findings),
        can_run=can_run,
        install=install,
        notes=(TORCH_NOTE,) if torch else (),
        environments=environments,
        tried=tried,
        facts=facts,
        machine=machine,
    )


def _can_run(
    backend: str,
    findings: Sequence[Finding],
    facts: Facts,
    environments: Sequence[Managed],
    *,
    named: bool,
) -> bool:
    """Return whether a backend could run on the CPU: here, or in an environment of its own."""
    own = next((m for m in environments if m.spec.backend == backend and not named), None)
    if own is not None and own.found.state != "absent":
        built = next(f for f in findings if f.id == f"environment-{own.spec.name}")
        return built.verdict == "ok"
    if any(f.stops(Job(backend, Device("CPU"))) for f in findings):
        return False
    return backend != "mindnlp" or facts.installed("mindnlp") is not None


def _verdict(findings: Sequence[Finding], job: Job | None, can_run: Mapping[str, bool]) -> Word:
    if job is not None:
        if any(f.stops(job) for f in findings):
            return "broken"
    elif not any(can_run.values()):
        return "broken"
    words = {f.verdict for f in findings}
    if "warning" in words or "broken" in words:
        return "warning"
    return "unknown" if "unknown" in words else "ok"
