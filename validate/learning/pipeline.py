"""The whole of ``learn`` as one function: a request in, a verdict out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mindport.migrate.architectures import load_architecture
from mindport.migrate.console import write_report
from mindport.migrate.errors import DestinationError, MindportError
from mindport.migrate.porting import Prepared
from mindport.migrate.positions import longest_sequence
from mindport.prompts import PromptDataset, PromptTokenizer, Task, load_task
from mindport.prompts.learning.batches import make_data
from mindport.prompts.learning.data import LearningData
from mindport.prompts.learning.findings import LearningParity
from mindport.prompts.learning.improvement import measure_improvement
from mindport.prompts.learning.parity import FACTOR, compare_results
from mindport.prompts.learning.result import LearningResult
from mindport.validate.backend import check_choices, load_backend
from mindport.validate.case import Run, SettledCase, save_case
from mindport.validate.checkpoints import candidate_folder
from mindport.validate.launch import Job, NotRun, find_python, run_jobs
from mindport.validate.learning.network import no_words
from mindport.validate.learning.request import LearnRequest
from mindport.validate.learning.verdict import LearningVerdict
from mindport.validate.learning.work import Learned, save_work
from mindport.validate.reference import prepare_reference
from mindport.validate.request import Request

Stage = Callable[[str], None]
_SIDES = ("reference", "candidate")
_WORKER = "mindport.validate.learning.worker"


def learn(request: LearnRequest, stage: Stage = lambda _: None) -> LearningVerdict:
    """Learn a prompt on both sides from the same start, with the same batches, and judge.

    Args:
        request: What is asked for.
        stage: Told what is being done, in a few words.

    Raises:
        MindportError: If the request or its files are not usable; nothing was judged.
    """
    _check_output(request.output)
    architecture = load_architecture(request.architecture)
    backends = [load_backend(name) for name in request.backends]
    check_choices(request.backends[1], request.mode)
    pythons = find_python(request.reference_python), find_python(request.python)
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        stage("weights")
        asked = Request(request.architecture, checkpoint=request.checkpoint)
        prepared = prepare_reference(architecture, asked, work).prepared
        head = prepared.plan.head
        if not head.prompts:
            raise no_words(head)
        folders = [
            candidate_folder(prepared, None, backend.DIALECT, work / side).folder
            for side, backend in _prepared_places(work, backends)
        ]
        stage("prompts")
        tokenizer = PromptTokenizer.from_folder(
            prepared.source.folder, vocab_size=prepared.plan.config["vocab_size"]
        )
        data = _make_data(request, prepared, tokenizer)
        case = work / "case"
        save_case(case, SettledCase(architecture.name, head.name, 0, (), {}, False), {})
        save_work(case, data, request.settings)
        modes, devices = ("eager", request.mode), ("CPU", request.device)
        jobs = [
            Job(
                side,
                (Run(name, str(folder.resolve()), device, "float32", mode, str(case),
                     request.threads, oracle=side == "reference"),),
                python,
                work,
                _WORKER,
                Learned.load,
            )
            for side, name, folder, device, mode, python in zip(
                _SIDES, request.backends, folders, devices, modes, pythons, strict=True
            )
        ]  # fmt: skip
        stage(f"{request.backends[0]} and {request.backends[1]} learn side by side")
        outcome: dict[str, Any] = {
            side: done[0] for side, done in run_jobs(jobs, request.timeout).items()
        }
    stage("comparison")
    verdict, learned = _conclude(request, head.name, data, outcome, tokenizer)
    if request.output is not None:
        _write(request.output, verdict, learned)
    return verdict


def _prepared_places(work: Path, backends: list[Any]) -> list[tuple[str, Any]]:
    places = list(zip(_SIDES, backends, strict=True))
    for side, _ in places:
        (work / side).mkdir()
    return places


def _make_data(
    request: LearnRequest, prepared: Prepared, tokenizer: PromptTokenizer
) -> LearningData:
    plan, task = prepared.plan, load_task(request.task)
    held_out = task.read_data()
    shape = plan.head.prompts
    if shape == "":
        raise no_words(plan.head)
    return make_data(
        task,
        tokenizer,
        request.settings,
        shape=shape,
        positions=longest_sequence(plan.architecture, plan.config),
        train=_train_rows(request, task),
        evaluation=held_out if request.limit is None else held_out.take(request.limit),
    )


def _train_rows(request: LearnRequest, task: Task) -> PromptDataset:
    if request.train is not None:
        return PromptDataset.from_file(
            request.train,
            text=task.data.text,
            label=task.data.label,
            id=task.data.id,
            labels=task.verbalizer.labels,
        )
    if task.shots is None:
        raise MindportError(
            f"The task {task.name!r} has no rows to learn from: its own are held out.",
            "Give some with --train FILE.jsonl.",
        )
    return task.read_shot_pool()


def _conclude(
    request: LearnRequest,
    head: str,
    data: LearningData,
    outcome: dict[str, Any],
    tokenizer: PromptTokenizer,
) -> tuple[LearningVerdict, dict[str, Learned]]:
    base = LearningVerdict(
        verdict="not-run",
        headline="",
        task=data.task,
        architecture=request.architecture,
        head=head,
        settings=request.settings.to_dict(),
        data={
            "train": len(data.train),
            "held_out": len(data.evaluation),
            "template": data.template,
            "labels": list(data.labels),
            "digest": data.digest,
        },
    )
    reasons = [result for result in outcome.values() if isinstance(result, NotRun)]
    learned = {
        side: replace(done, result=_named(done.result, tokenizer))
        for side, done in outcome.items()
        if isinstance(done, Learned)
    }
    if reasons:
        headline = f"The {reasons[0].side} did not learn: {reasons[0].reason}"
        not_run = tuple(asdict(reason) for reason in reasons)
        return replace(base, headline=headline, not_run=not_run), learned
    reference, candidate = (learned[side].result for side in _SIDES)
    parity = compare_results(
        reference,
        candidate,
        learned["reference"].floors,
        factor=FACTOR if request.factor is None else request.factor,
    )
    problem = _identity_problem(reference, candidate) or parity.problem
    improvement = {side: measure_improvement(learned[side].result).to_dict() for side in _SIDES}
    verdict = replace(
        base,
        verdict="fail" if problem else "pass",
        headline=f"Not the same was learned: {problem}." if problem else _passed(parity),
        parity=parity.to_dict(),
        curves={side: learned[side].result.losses.tolist() for side in _SIDES},
        improvement=improvement,
        identity={side: dict(learned[side].result.identity) for side in _SIDES},
        notices=tuple(_notices(parity)),
    )
    return verdict, learned


def _named(result: LearningResult, tokenizer: PromptTokenizer) -> LearningResult:
    nearest = result.identity.get("nearest", [])
    return replace(result, tokens=tuple(tokenizer.pieces(nearest)))


def _identity_problem(reference: LearningResult, candidate: LearningResult) -> str:
    for side, result in zip(_SIDES, (reference, candidate), strict=True):
        load = result.identity["load"]
        lost = [name for key in ("missing", "mismatched") for name in load[key]]
        if lost:
            return f"the {side} lacks weights: {', '.join(lost[:3])}"
    if reference.identity["framework"] == candidate.identity["framework"]:
        return f"both sides ran {reference.identity['framework']}"
    return ""


def _passed(parity: LearningParity) -> str:
    if parity.divergence is not None:
        return (
            f"Both sides learned alike up to step {parity.divergence.step}, where two trigger "
            "tokens are closer than rounding."
        )
    return (
        f"Both sides learned the same in {parity.steps} steps; {parity.agreement:.1%} of the "
        "held-out labels agree."
    )


def _notices(parity: LearningParity) -> list[str]:
    notices = []
    if parity.blurred_from is not None:
        notices.append(
            f"from step {parity.blurred_from} on, correct trainings of the reference part so far "
            "that the loss curve says little; a smaller learning rate keeps them together"
        )
    explained = sum(flip.explained for flip in parity.flips)
    if explained:
        notices.append(f"{explained} held-out labels differ, within what their margins explain")
    return notices


def _check_output(folder: Path | None) -> None:
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DestinationError(f"{folder} exists already.", "Choose another place, or remove it.")


def _write(folder: Path, verdict: LearningVerdict, learned: dict[str, Learned]) -> None:
    """Write verdict and results, whole or not at all."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        for side, done in learned.items():
            done.save(part / side)
        write_report(part / "verdict.json", verdict.to_dict())
        part.rename(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DestinationError(f"{folder} cannot be written: {reason}.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
