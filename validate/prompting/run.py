"""``prompts run``: one model, one task, and a folder with what it answered."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import (
    CheckpointError,
    DestinationError,
    EnvironmentUnavailableError,
)
from mindport.migrate.porting import Prepared
from mindport.migrate.progress import OnProgress
from mindport.prompts import Plan, PromptTokenizer, Scores, load_task, score_rows
from mindport.prompts.metrics import classification_metrics
from mindport.prompts.render import render_prompt
from mindport.prompts.samples import sample_lines
from mindport.validate.backend import check_choices, load_backend
from mindport.validate.capture import Capture
from mindport.validate.case import Run, SettledCase, prompts_folder, save_case
from mindport.validate.checkpoints import EMBEDDED, candidate_folder
from mindport.validate.launch import Job, NotRun, find_python, run_jobs
from mindport.validate.prompting.asking import Question, draw, plan_prompts
from mindport.validate.reference import prepare_reference
from mindport.validate.request import Request
from mindport.validate.stages import PREPARING, RUN, WRITING, Stages

SCHEMA = 1


@dataclass(frozen=True)
class PromptRequest:
    """What ``prompts run`` is asked for.

    Attributes:
        architecture: ``gpt2``, ``bert`` …
        question: The task and how much of it.
        checkpoint: ``embedded``, a path, or a model's name; ported if the backend needs it.
        backend: ``torch``, ``mindspore`` …
        head: The head; None takes the checkpoint's.
        device: ``CPU``, ``GPU`` or ``Ascend``.
        dtype: Of weights and computation.
        mode: ``eager`` or ``graph``.
        threads: CPU threads; None leaves it to the framework.
        python: The interpreter; None takes this one.
        timeout: Seconds that the worker may take.
    """

    architecture: str
    question: Question
    checkpoint: str = EMBEDDED
    backend: str = "torch"
    head: str | None = None
    device: str = "CPU"
    dtype: str = "float32"
    mode: str = "eager"
    threads: int | None = None
    python: str | None = None
    timeout: float = 900.0


@dataclass(frozen=True)
class PromptRun:
    """A folder with a plan, the rows that answered it, and what they mean.

    Attributes:
        folder: Where it lies.
        plan: What was asked.
        capture: What came back.
        summary: The contents of ``run.json``.
    """

    folder: Path
    plan: Plan
    capture: Capture
    summary: dict[str, Any]

    @cached_property
    def scores(self) -> Scores:
        """What the rows mean.

        Raises:
            MindportError: If a row holds NaN or infinity.
        """
        return score_rows(self.plan, self.capture.rows())

    @classmethod
    def load(cls, folder: Path) -> PromptRun:
        """Read what :func:`run_prompts` wrote.

        Raises:
            MindportError: If it is no such folder, is damaged, or was changed since.
        """
        try:
            summary: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            if summary.get("schema") != SCHEMA:
                raise ValueError("it was written by another version of mindport")
            plan = Plan.load(folder / "plan")
            capture = Capture(folder / "capture")
            record = capture.manifest.prompts
            if record is None or record.plan != plan.digest:
                raise ValueError("its rows answer another plan")
            _check_rows(plan, capture.rows())
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(
                f"{folder} is not a folder of `prompts run` that can be read: {error}.",
                "Run it again: mindport prompts run TASK ARCHITECTURE -o FOLDER.",
            ) from None
        return cls(folder, plan, capture, summary)


def _check_rows(plan: Plan, rows: np.ndarray) -> None:
    if rows.shape[:2] != (plan.items, plan.rows_per_item):
        raise ValueError(f"its rows have shape {rows.shape}")


def run_prompts(
    asked: Sequence[tuple[PromptRequest, str | Path]], on_progress: OnProgress | None = None
) -> list[PromptRun]:
    """Ask models, and write a folder for each; runs of one interpreter share a process.

    Args:
        asked: The requests, each with the folder to make.
        on_progress: Called with a :class:`Progress` whenever there is news.

    Returns:
        One run for each request, in order.

    Raises:
        MindportError: If a request or its files are not usable, or a folder exists.
        EnvironmentUnavailableError: If a worker could not run.
    """
    requests = [(request, Path(folder)) for request, folder in asked]
    stage = Stages(on_progress, PREPARING, RUN, WRITING)
    for request, folder in requests:
        check_choices(request.backend, request.mode)
        _check_destination(folder)
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        stage("prompts")
        prepared = [
            _prepare(request, work / str(number)) for number, (request, _) in enumerate(requests)
        ]
        jobs: dict[str, list[int]] = {}
        for number, (request, _) in enumerate(requests):
            key = f"{request.backend}-{request.threads}-{request.python or ''}"
            jobs.setdefault(key, []).append(number)
        stage(f"{len(requests)} runs")
        done: dict[int, Capture] = {}
        started = [
            Job(
                f"side{place}",
                tuple(prepared[number].run for number in numbers),
                find_python(requests[numbers[0]][0].python, requests[numbers[0]][0].backend),
                work,
            )
            for place, numbers in enumerate(jobs.values())
        ]
        outcomes = run_jobs(started, max(request.timeout for request, _ in requests))
        for place, numbers in enumerate(jobs.values()):
            for number, outcome in zip(numbers, outcomes[f"side{place}"], strict=True):
                if isinstance(outcome, NotRun):
                    tail = "".join(f"\n  | {line}" for line in outcome.last_lines)
                    raise EnvironmentUnavailableError(
                        f"not run: {outcome.reason}{tail}", outcome.hint
                    )
                done[number] = outcome
        stage("scores")
        published = [
            _publish(request, prepared[number], done[number], folder)
            for number, (request, folder) in enumerate(requests)
        ]
        stage.end()
        return published


@dataclass(frozen=True)
class _Ready:
    """A run that only has to be started."""

    run: Run
    plan: Plan
    prepared: Prepared
    origin: str


def _prepare(request: PromptRequest, work: Path) -> _Ready:
    architecture = load_architecture(request.architecture)
    work.mkdir()
    choice = Request(request.architecture, checkpoint=request.checkpoint, head=request.head)
    prepared = prepare_reference(architecture, choice, work).prepared
    plan = plan_prompts(request.question, prepared)
    candidate = candidate_folder(prepared, None, load_backend(request.backend).DIALECT, work)
    case = SettledCase(
        architecture=architecture.name,
        head=prepared.plan.head.name,
        seed=request.question.seed,
        taps=(),
        inputs={},
        prompts=True,
    )
    save_case(work / "case", case, {})
    plan.save(prompts_folder(work / "case"))
    run = Run(
        request.backend,
        str(candidate.folder.resolve()),
        request.device,
        request.dtype,
        request.mode,
        str(work / "case"),
        request.threads,
        control=True,
    )
    return _Ready(run, plan, prepared, candidate.origin)


def _check_destination(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DestinationError(f"{folder} exists already.", "Choose another place, or remove it.")


def _publish(request: PromptRequest, ready: _Ready, capture: Capture, folder: Path) -> PromptRun:
    """Write the folder under another name, then rename it."""
    rows = capture.rows()
    scores = score_rows(ready.plan, rows)
    report = capture.manifest.load_report
    summary = {
        "schema": SCHEMA,
        "architecture": request.architecture,
        "head": ready.prepared.plan.head.name,
        "checkpoint": request.checkpoint,
        "weights": ready.origin,
        "question": asdict(request.question),
        "identity": asdict(capture.manifest.identity),
        "load": {**asdict(report), "clean": report.clean},
        "plan": ready.plan.digest,
        "items": len(ready.plan),
        "truncated": ready.plan.truncated,
        "duplicates": ready.plan.duplicates,
        "scores": scores.to_dict(),
        "metrics": classification_metrics(
            ready.plan.labels,
            np.array(ready.plan.label_indices),
            scores.predictions,
            scores.label_log_probabilities,
        ).to_dict(),
    }
    task = load_task(request.question.task)
    tokenizer = PromptTokenizer.from_folder(ready.prepared.source.folder)
    data = task.read_data()
    data = data if request.question.limit is None else data.take(request.question.limit)
    template, shots = task.templates[ready.plan.shape], draw(request.question, task)
    prompts = [render_prompt(template, task.verbalizer, shots, example) for example in data]
    work = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        ready.plan.save(work / "plan")
        with (work / "samples.jsonl").open("w", encoding="utf-8") as file:
            for line in sample_lines(ready.plan, scores, rows, prompts, tokenizer):
                file.write(f"{line}\n")
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        (work / "run.json").write_text(text + "\n", encoding="utf-8")
        shutil.move(capture.folder, work / "capture")  # last: rows may be of any size
        work.chmod(0o755)
        work.rename(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DestinationError(f"{folder} cannot be written: {reason}.") from None
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
    return PromptRun.load(folder)
