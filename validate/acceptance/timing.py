"""How long a forward of both sides takes, in turn, and whether the ratio is below the floor.

Both sides stay alive and take turns on the same inputs, so a busy moment of the machine meets both.
What is timed is a forward to the outputs, with the plain formula of attention on the reference's
side, as it is compared.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.acceptance.task import Clock, Performance
from mindport.validate.backend import load_backend
from mindport.validate.case import Run, load_case, save_case
from mindport.validate.checkpoints import candidate_folder
from mindport.validate.devices import parse_device
from mindport.validate.guard import kill_group
from mindport.validate.launch import Job, find_python, worker_environment
from mindport.validate.making import make_case
from mindport.validate.own.candidate import (
    BACKEND,
    final_taps,
    own_backend,
    own_files,
    own_weights,
)
from mindport.validate.reference import prepare_reference
from mindport.validate.request import Request

SCHEMA = 1
SIDES = ("reference", "candidate")


def measure(request: Request, floor: Performance, work: Path) -> dict[str, Any]:
    """Time both sides of a request.

    Args:
        request: What runs, and on what; its prompts and gradients play no part.
        floor: How many rounds.
        work: A folder to write to.

    Returns:
        What ``timing.json`` holds: identities and seconds by side, or why there are none.

    Raises:
        MindportError: If the request cannot be met.
    """
    runs = _prepare(replace(request, prompts=None, gradients=False), work)
    sides: dict[str, _Side] = {}
    try:
        for side, run in runs.items():
            python = find_python(None, run.backend)
            sides[side] = _Side(Job(side, (run,), python, work), request.timeout)
        identities = {side: process.ready() for side, process in sides.items()}
        seconds: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for number in range(floor.rounds):
            # Who goes first alternates: what the first leaves in the caches is no one's gain.
            for side in SIDES if number % 2 == 0 else reversed(SIDES):
                seconds[side].append(sides[side].forward())
    except EnvironmentUnavailableError as error:
        return {"schema": SCHEMA, "not_run": error.message, "hint": error.hint}
    finally:
        for process in sides.values():
            process.close()
    return {"schema": SCHEMA, "identity": identities, "seconds": seconds, "cores": os.cpu_count()}


def ratios_of(timing: Mapping[str, Any], clock: Clock) -> tuple[float, float, float]:
    """Return candidate / reference of the rounds: the median, the least and the greatest."""
    seconds = timing["seconds"]
    pairs = zip(seconds["candidate"], seconds["reference"], strict=True)
    each = [mine[clock] / other[clock] for mine, other in pairs]
    return float(statistics.median(each)), min(each), max(each)


def _prepare(request: Request, work: Path) -> dict[str, Run]:
    architecture = load_architecture(request.architecture)
    name = own_backend(request.candidate, request.taps_file, request.backend, request.mode,
                       Request.backend)  # fmt: skip
    work.mkdir(parents=True, exist_ok=True)
    prepared = prepare_reference(architecture, request, work).prepared
    given = request.candidate_checkpoint
    if name == BACKEND:
        weights = own_weights(prepared, given, request.taps_file, work)
    else:
        weights = candidate_folder(prepared, given, load_backend(name).DIALECT, work)
    make_case(architecture, request, prepared, work)
    case, inputs = load_case(work / "case")
    final = final_taps(prepared.plan.head, prepared.plan.config[architecture.layers])
    save_case(work / "case", replace(case, taps=final), inputs)
    factory, taps_file = own_files(request.candidate, request.taps_file)
    folder = str((work / "case").resolve())
    return {
        "reference": Run("torch", str(prepared.source.folder.resolve()),
                         str(parse_device(request.reference_device)),
                         request.reference_dtype or request.dtype, "eager", folder,
                         request.threads, attention=request.reference_attention),
        "candidate": Run(name, str(weights.folder.resolve()), str(parse_device(request.device)),
                         request.dtype, request.mode, folder, request.threads, factory=factory,
                         taps_file=taps_file, attention=request.attention),
    }  # fmt: skip


class _Side:
    """A worker that stays alive; it never outlives this program."""

    def __init__(self, job: Job, timeout: float) -> None:
        job.runs[0].save(job.run_file(0))
        self._job, self._deadline = job, time.monotonic() + timeout
        self._rest = b""
        with (job.folder / f"{job.side}-timing.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [str(job.python), "-m", "mindport.validate.acceptance.stopwatch",
                 str(job.run_file(0))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Threads that wait do not spin: they would take the other side's processor.
                env={"OMP_WAIT_POLICY": "PASSIVE", **worker_environment(os.environ, job)},
                cwd=job.folder,
                start_new_session=True,
            )  # fmt: skip

    def ready(self) -> dict[str, Any]:
        """Return what runs, when it is loaded."""
        said = self._read()
        if "ready" not in said:
            raise EnvironmentUnavailableError(str(said.get("failed", said)), said.get("hint", ""))
        found: dict[str, Any] = said["ready"]
        return found

    def forward(self) -> dict[str, float]:
        """Run once and return the seconds that it took, by clock."""
        if self._process.stdin is None:
            raise AssertionError("it was opened")
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._gone("ended") from None
        return {clock: float(value) for clock, value in self._read().items()}

    def _read(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise AssertionError("it was opened")
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise self._gone("took too long")
            piece = os.read(pipe, 1 << 16)
            if not piece:
                raise self._gone("ended")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _gone(self, how: str) -> EnvironmentUnavailableError:
        log = self._job.folder / f"{self._job.side}-timing.log"
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        said = f": {last[0][:200]}" if last else ""
        return EnvironmentUnavailableError(
            f"the {self._job.side} {how} while it was timed{said}", "Run the cell again."
        )

    def close(self) -> None:
        """End the process with whatever it has started."""
        if self._process.poll() is None:
            kill_group(self._process.pid)
        self._process.communicate()
