"""Run trials: one worker per side and batch, since starting a framework takes longer than a run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from mindport.migrate.architecture import network_order
from mindport.migrate.architectures import load_architecture
from mindport.migrate.porting import Prepared, port, prepare
from mindport.validate.capture import Capture
from mindport.validate.case import Run, SettledCase, hash_arrays, save_case
from mindport.validate.checkpoints import ReferenceChoice, reference_folder
from mindport.validate.diagnose.diagnosis import diagnose
from mindport.validate.faults import apply_weight_fault
from mindport.validate.inputs import make_inputs
from mindport.validate.launch import Job, NotRun, find_python, run_jobs
from mindport.validate.network import Network, describe_network
from mindport.validate.selftest.trials import Stage, Trial
from mindport.validate.tap_results import compare_captures, first_fault
from mindport.validate.tolerance import choose_policy
from mindport.validate.verdict import Diagnosis, TapResult

_BATCH = 40  # trials of one worker
_TIMEOUT = 1800.0


@dataclass(frozen=True)
class Outcome:
    """What the validator said of a trial.

    Attributes:
        trial: What was tried.
        not_run: Why it could not run; empty if it did.
        tap: The first faulty tap; None if all agreed.
        diagnosis: Of that tap; None likewise.
        used: Largest share of the tolerance that a tap uses.
    """

    trial: Trial
    not_run: str = ""
    tap: str | None = None
    diagnosis: Diagnosis | None = None
    used: float = 0.0

    @property
    def expected_tap(self) -> str | None:
        """Where the fault ought to be found; None for a correct port."""
        fault = self.trial.fault
        return fault.tap_at(self.trial.stage.architecture, self.trial.block) if fault else None

    @property
    def detected(self) -> bool:
        """Whether the validator found something wrong."""
        return self.tap is not None

    @property
    def placed(self) -> bool:
        """Whether it found it at the right tap."""
        return self.detected and self.tap == self.expected_tap

    @property
    def confirmed(self) -> bool:
        """Whether the cause that it gave makes the error vanish."""
        return self.diagnosis is not None and self.diagnosis.confirmed

    @property
    def named(self) -> bool:
        """Whether it found the right cause."""
        fault = self.trial.fault
        if fault is None or self.diagnosis is None:
            return False
        return self.diagnosis.cause in (fault.cause, *fault.also)


def run_trials(
    trials: Sequence[Trial], progress: Callable[[int, int], None] = lambda *_: None
) -> Iterator[Outcome]:
    """Run trials and yield what the validator says of each, in order.

    Args:
        trials: What to try.
        progress: Told how many of how many are done.

    Raises:
        MindportError: If a trial cannot even be set up.
    """
    done = 0
    for batch in _batches(trials):
        with tempfile.TemporaryDirectory(prefix="mindport-selftest-") as scratch:
            for outcome in _run_batch(batch, Path(scratch)):
                done += 1
                progress(done, len(trials))
                yield outcome


def _batches(trials: Sequence[Trial]) -> Iterator[list[Trial]]:
    """Yield what one worker does: MindSpore takes a number of threads once in a process."""
    for _, alike in groupby(trials, lambda trial: trial.stage.threads):
        members = list(alike)
        for start in range(0, len(members), _BATCH):
            yield members[start : start + _BATCH]


@dataclass(frozen=True)
class StageSet:
    """A stage, set up.

    Attributes:
        stage: What it is.
        folder: Where all of it lies.
        case: What is run.
        prepared: The plan of the port.
        network: The mathematics.
        ported: The correct port.
    """

    stage: Stage
    folder: Path
    case: SettledCase
    prepared: Prepared
    network: Network
    ported: Path

    @property
    def case_folder(self) -> Path:
        """Where the case lies."""
        return self.folder / "case"


def _run_batch(trials: Sequence[Trial], work: Path) -> Iterator[Outcome]:
    stages: dict[Any, StageSet] = {}
    for trial in trials:
        key = _key(trial.stage)
        if key not in stages:
            stages[key] = set_up(trial.stage, work / f"stage-{len(stages)}")
    order = list(stages)
    reference = Job(
        "reference", tuple(_reference_run(stages[key]) for key in order), find_python(None), work
    )
    candidate = Job(
        "candidate",
        tuple(_candidate_run(t, stages[_key(t.stage)], work / f"trial-{n}")
              for n, t in enumerate(trials)),
        find_python(None),
        work,
    )  # fmt: skip
    found = run_jobs((reference, candidate), _TIMEOUT)
    references = dict(zip(order, found["reference"], strict=True))
    for trial, capture in zip(trials, found["candidate"], strict=True):
        key = _key(trial.stage)
        yield _judge(trial, stages[key], references[key], capture)


def _key(stage: Stage) -> str:
    # Threads are the candidate's alone.
    return json.dumps({**vars(stage), "threads": None}, sort_keys=True, default=str)


def set_up(stage: Stage, folder: Path) -> StageSet:
    """Make the weights of a stage, port them, and write the case.

    Args:
        stage: What it is.
        folder: The folder to make.
    """
    folder.mkdir()
    architecture = load_architecture(stage.architecture)
    head = architecture.heads[stage.head]
    config_file = None
    if stage.config is not None:
        config_file = folder / "asked.json"
        config_file.write_text(json.dumps(stage.config), encoding="utf-8")
    choice = ReferenceChoice(stage.checkpoint, config_file, None, stage.head, stage.seed)
    source = reference_folder(architecture, choice, folder)
    prepared = prepare(source, stage.architecture, head=stage.head, to="mindspore")
    config = prepared.plan.config
    inputs = make_inputs(
        architecture, head, config, batch=stage.batch, length=stage.length, seed=stage.seed
    )
    taps = tuple(t.name for t in network_order(head.taps, config[architecture.layers]))
    hashes = hash_arrays(inputs)
    case = SettledCase(stage.architecture, stage.head, stage.seed, taps, hashes, prompts=False)
    save_case(folder / "case", case, inputs)
    network = describe_network(prepared, inputs, stage.dtype)
    return StageSet(stage, folder, case, prepared, network, port(prepared, folder / "ported"))


def _reference_run(made: StageSet) -> Run:
    checkpoint = str(made.prepared.source.folder.resolve())
    case = str(made.case_folder)
    return Run("torch", checkpoint, "CPU", made.stage.dtype, "eager", case, oracle=True)


def _candidate_run(trial: Trial, made: StageSet, folder: Path) -> Run:
    fault, checkpoint, asked = trial.fault, made.ported, None
    if fault is not None:
        choice = {"name": fault.name, "block": trial.block, "severity": trial.severity}
        if fault.kind == "weights":
            stage = made.stage
            checkpoint = apply_weight_fault(
                made.ported, folder, stage.architecture, stage.head, choice
            )
        else:
            asked = choice
    return Run(
        "mindspore", str(checkpoint), "CPU", made.stage.dtype, trial.mode,
        str(made.case_folder), trial.stage.threads, fault=asked,
    )  # fmt: skip


def _judge(
    trial: Trial, made: StageSet, reference: Capture | NotRun, candidate: Capture | NotRun
) -> Outcome:
    for capture in (reference, candidate):
        if isinstance(capture, NotRun):
            return Outcome(trial, not_run=f"{capture.side}: {capture.reason}")
    if isinstance(reference, NotRun) or isinstance(candidate, NotRun):
        raise TypeError("a side that did not run was judged")
    policy = choose_policy(made.stage.dtype, None, None, None)
    network = made.network
    taps = tuple(
        compare_captures(
            reference, candidate, network.steps, network.setting, policy,
            required=made.case.taps, details=network.details,
        )
    )  # fmt: skip
    fault = first_fault(taps)
    if fault is None:
        return Outcome(trial, used=max(tap.used or 0.0 for tap in taps))
    return Outcome(trial, tap=fault.name, diagnosis=_why(fault, taps, made, candidate))


def _why(
    fault: TapResult, taps: tuple[TapResult, ...], made: StageSet, candidate: Capture
) -> Diagnosis | None:
    network = made.network
    only = tuple(tap for tap in taps if tap.name == fault.name)
    found = diagnose(
        only, candidate, network.steps, network.setting, made.stage.dtype, network.tied
    )
    return found[0] if found else None
