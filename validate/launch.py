"""Start workers, watch them, and turn every way to die into a plain reason."""

from __future__ import annotations

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
    CheckpointError,
    EnvironmentUnavailableError,
    MindportError,
)
from mindport.validate.backend import load_backend
from mindport.validate.capture import Capture
from mindport.validate.case import Run
from mindport.validate.environments.code import isolated
from mindport.validate.environments.finding import backend_python, is_managed
from mindport.validate.guard import PARENT, kill_group
from mindport.validate.integrity import DamagedCaptureError, read_capture
from mindport.validate.steps import Watch, looker
from mindport.validate.worker import failure_path

_LAST_LINES, _LINE = 8, 400
_TAIL_BYTES = 1 << 16  # of a log that may be of any size
_POLL = 0.05  # seconds
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


def run_jobs(
    jobs: Iterable[Job], timeout: float, watch: Watch | None = None
) -> dict[str, list[Outcome]]:
    """Run all workers at once and wait for them.

    Args:
        jobs: One per side.
        timeout: Seconds for each.
        watch: Told what each side's worker is doing, whenever that changes.

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
        captures = {j.side: [j.capture(n) for n in range(len(j.runs))] for j in jobs}
        look = looker(captures, watch)
        for job in jobs:
            if job.side in processes:
                process = processes[job.side]
                outcome[job.side] = _finish(job, process, deadline, timeout, look)
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
                env=worker_environment(os.environ, job),
                cwd=job.folder,
                start_new_session=True,
            )
    except OSError as error:
        return NotRun(
            job.side,
            f"The interpreter {job.python} cannot be started: {error.strerror}.",
            "Give --python the path of a Python that has mindport and the framework.",
        )


def worker_environment(inherited: Mapping[str, str], job: Job) -> dict[str, str]:
    """Return the environment of a job's worker: quiet, offline, and told who started it."""
    forced = {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", PARENT: str(os.getpid())}
    variables = {**_QUIET, **inherited, **forced}
    return isolated(variables, job.folder) if is_managed(job.python) else variables


def _log(job: Job) -> Path:
    return job.folder / f"{job.side}.log"


def _finish(
    job: Job,
    process: subprocess.Popen[bytes],
    deadline: float,
    timeout: float,
    look: Callable[[], None],
) -> list[Outcome]:
    late = not _ended(process, deadline, look)
    _stop(process)
    return [_outcome(job, number, process.returncode, timeout if late else None)
            for number in range(len(job.runs))]  # fmt: skip


def _outcome(job: Job, number: int, code: int, timeout: float | None) -> Outcome:
    """Return what became of a run.

    Args:
        job: The worker's.
        number: Of the run.
        code: What the worker ended with.
        timeout: What it was allowed, if that was too little.
    """
    run, folder = job.runs[number], job.capture(number)
    if failure_path(folder).is_file():
        return _failure(job, run, failure_path(folder))
    if folder.is_dir():
        try:
            if job.read is not Capture:
                outcome: Outcome = job.read(folder)
                return outcome
            return read_capture(folder, oracle=run.oracle, gradients=run.gradients)
        except (CheckpointError, DamagedCaptureError) as error:
            return NotRun(
                job.side,
                f"The {run.backend} worker left a damaged capture: {error.message}.",
                "Its last lines follow. Is the disk full, or the framework broken?",
                _tail(job),
            )
    return _too_late(job, run, timeout) if timeout is not None else _died(job, run, code)


def _failure(job: Job, run: Run, path: Path) -> NotRun:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        code, message, hint = said["exit_code"], str(said["message"]), str(said["hint"])
    except (OSError, ValueError, KeyError, TypeError):
        return NotRun(
            job.side,
            f"The {run.backend} worker failed, and what it left to say why cannot be read.",
            "Its last lines follow.",
            _tail(job),
        )
    if code == EXIT_USAGE:
        raise MindportError(message, hint)
    return NotRun(job.side, message, hint)


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
        name = _signal_name(-code)
        memory = " (out of memory, perhaps)" if name == "SIGKILL" else ""
        how = f"was killed by {name}{memory}"
    else:
        how = f"ended with exit code {code}"
        how += " and left no capture" if code == 0 else ""
    return NotRun(job.side, f"The {run.backend} worker {how}.", "Its last lines follow.", last)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _tail(job: Job) -> tuple[str, ...]:
    """Return the last lines of a log that may hold anything."""
    with _log(job).open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
        text = file.read().decode("utf-8", errors="replace")
    lines = ("".join(c if c.isprintable() else " " for c in line) for line in text.splitlines())
    return tuple(line[:_LINE].rstrip() for line in lines if line.strip())[-_LAST_LINES:]


def _ended(process: subprocess.Popen[bytes], deadline: float, look: Callable[[], None]) -> bool:
    """Wait for a process, but leave it to be reaped: until then its number is its own."""
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() >= deadline:
            return False
        look()
        time.sleep(_POLL)
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process with whatever it has started, even if it has ended itself."""
    if process.returncode is None:
        kill_group(process.pid)
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
