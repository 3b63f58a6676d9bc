"""Start workers, watch them, and turn every way to die into a plain reason."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindport.migrate.errors import (
    EXIT_USAGE,
    EnvironmentUnavailableError,
    MindportError,
)
from mindport.validate.backend import load_backend
from mindport.validate.capture import Capture
from mindport.validate.case import Run
from mindport.validate.environments.code import isolated
from mindport.validate.environments.finding import backend_python, is_managed
from mindport.validate.worker import failure_path

_LAST_LINES = 8
# Frameworks log on start-up; only an error is of interest, and it is reported by us.
_QUIET = {"GLOG_v": "3", "TF_CPP_MIN_LOG_LEVEL": "3", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True)
class NotRun:
    """Why a side could not run.

    Attributes:
        side: ``reference`` or ``candidate``.
        reason: One sentence.
        hint: What the user can do.
        last_lines: The last output of the worker, if it died.
    """

    side: str
    reason: str
    hint: str = ""
    last_lines: tuple[str, ...] = ()


Outcome = Capture | NotRun


@dataclass(frozen=True)
class Job:
    """One worker to start.

    Attributes:
        side: ``reference`` or ``candidate``.
        runs: What it does, one after the other: importing a framework takes longer than most runs.
        python: Its interpreter.
        folder: Where its run files, log and captures go.
        module: The program; it is given pairs of a run file and the folder to write.
        read: Reads such a folder.
    """

    side: str
    runs: tuple[Run, ...]
    python: Path
    folder: Path
    module: str = "mindport.validate.worker"
    read: Callable[[Path], Any] = Capture

    def run_file(self, number: int) -> Path:
        """Where a run is written for the worker."""
        return self.folder / f"{self.side}-{number}.json"

    def capture(self, number: int) -> Path:
        """Where the capture of a run appears."""
        return self.folder / f"{self.side}-{number}-capture"


def run_jobs(jobs: Iterable[Job], timeout: float) -> dict[str, list[Outcome]]:
    """Run all workers at once and wait for them.

    Args:
        jobs: One per side.
        timeout: Seconds for each.

    Returns:
        By side, for each of its runs a capture, or the reason why there is none. No worker is
        left running.

    Raises:
        MindportError: If a worker found the input to be bad.
    """
    jobs = list(jobs)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    outcome: dict[str, list[Outcome]] = {}
    try:
        for job in jobs:
            started = _start(job)
            if isinstance(started, NotRun):
                outcome[job.side] = [started] * len(job.runs)
            else:
                processes[job.side] = started
        deadline = time.monotonic() + timeout
        for job in jobs:
            if job.side in processes:
                outcome[job.side] = _finish(job, processes[job.side], deadline, timeout)
    finally:
        for process in processes.values():
            _stop(process)
    return outcome


def _start(job: Job) -> subprocess.Popen[bytes] | NotRun:
    command = [str(job.python), "-m", job.module]
    for number, run in enumerate(job.runs):
        run.save(job.run_file(number))
        command += [str(job.run_file(number)), str(job.capture(number))]
    try:
        with _log(job).open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - our own module, in the user's interpreter
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(os.environ, job),
                cwd=job.folder,
                start_new_session=True,
            )
    except OSError as error:
        return NotRun(
            job.side,
            f"The interpreter {job.python} cannot be started: {error.strerror}.",
            "Give --python the path of a Python that has mindport and the framework.",
        )


def _environment(inherited: Mapping[str, str], job: Job) -> dict[str, str]:
    variables = {**_QUIET, **inherited, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return isolated(variables, job.folder) if is_managed(job.python) else variables


def _log(job: Job) -> Path:
    return job.folder / f"{job.side}.log"


def _finish(
    job: Job, process: subprocess.Popen[bytes], deadline: float, timeout: float
) -> list[Outcome]:
    late = False
    try:
        process.wait(max(deadline - time.monotonic(), 0.01))
    except subprocess.TimeoutExpired:
        late = True
        _stop(process)
    outcomes: list[Outcome] = []
    for number, run in enumerate(job.runs):
        failure = failure_path(job.capture(number))
        if failure.is_file():
            said = json.loads(failure.read_text(encoding="utf-8"))
            if said["exit_code"] == EXIT_USAGE:
                raise MindportError(said["message"], said["hint"])
            outcomes.append(NotRun(job.side, said["message"], said["hint"]))
        elif job.capture(number).is_dir():
            outcomes.append(job.read(job.capture(number)))
        elif late:
            outcomes.append(_too_late(job, run, timeout))
        else:
            outcomes.append(_died(job, run, process.returncode))
    return outcomes


def _too_late(job: Job, run: Run, timeout: float) -> NotRun:
    return NotRun(
        job.side,
        f"The {run.backend} worker did not finish within {timeout:g} s and was stopped.",
        "Allow more with --timeout SECONDS, or run a smaller case.",
        _tail(job),
    )


def _died(job: Job, run: Run, code: int) -> NotRun:
    last = _tail(job)
    if any("No module named 'mindport" in line or "No module named mindport" in line
           for line in last):  # fmt: skip
        return NotRun(
            job.side,
            f"The interpreter {job.python} has no mindport.",
            f"Install it there: {job.python} -m pip install mindport.",
        )
    if code < 0:
        name = signal.Signals(-code).name
        memory = " (out of memory, perhaps)" if name == "SIGKILL" else ""
        how = f"was killed by {name}{memory}"
    else:
        how = f"ended with exit code {code}"
    return NotRun(job.side, f"The {run.backend} worker {how}.", "Its last lines follow.", last)


def _tail(job: Job) -> tuple[str, ...]:
    text = _log(job).read_text(encoding="utf-8", errors="replace")
    return tuple(line for line in text.splitlines() if line.strip())[-_LAST_LINES:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def find_python(path: str | None, backend: str = "") -> Path:
    """Return the interpreter to use: the one named, the backend's own, or this one.

    Args:
        path: The one named, or None.
        backend: What will run in it.

    Raises:
        EnvironmentUnavailableError: If the one named, or the backend's own, is not there.
    """
    if path is None:
        own = backend_python(backend, load_backend(backend).FRAMEWORK) if backend else None
        return own or Path(sys.executable)
    python = Path(path)
    if not os.access(python, os.X_OK) or python.is_dir():
        raise EnvironmentUnavailableError(
            f"There is no Python at {path}.", "Give --python the path of an interpreter."
        )
    return python.absolute()
