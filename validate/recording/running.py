"""``validate case`` and ``validate record``: make a case, run one side of it, keep what came out.

Recording a candidate on MindSpore needs no torch: inputs, prompts and the port of the weights are
made without a framework.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mindport.migrate.errors import CheckpointError, EnvironmentUnavailableError
from mindport.migrate.porting import Prepared
from mindport.migrate.progress import OnProgress
from mindport.validate.backend import check_choices, load_backend
from mindport.validate.capture import Capture
from mindport.validate.case import Run
from mindport.validate.checkpoints import (
    Candidate,
)
from mindport.validate.devices import parse_device
from mindport.validate.doctor.absence import ARCHITECTURE
from mindport.validate.launch import Job, NotRun, find_python, run_jobs
from mindport.validate.network import describe_network
from mindport.validate.own.candidate import own_files
from mindport.validate.recording import rounding
from mindport.validate.recording.order import Order, backend_of, prepare_case, side_weights
from mindport.validate.recording.record import (
    CAPTURE,
    CASE,
    Record,
    check_free,
    new_folder,
    seal,
)
from mindport.validate.recording.shared_case import (
    SMALL,
    SharedCase,
    carry_weights,
    copy_case,
    weights_bytes,
)
from mindport.validate.request import Case, check_values, request_for
from mindport.validate.stages import PREPARING, RUN, WRITING, Stages

# The case with its weights, the run, and writing what came out.
RECORD_SHARES = (PREPARING, RUN, WRITING)


def share_case(
    case: Case, output: Path, with_weights: bool | None, stage: Stages | None = None
) -> Path:
    """Make a case folder that several machines can run.

    Args:
        case: What is to be run.
        output: The folder to make.
        with_weights: Whether to carry the weights; None carries small ones.
        stage: Told what is being done; None for nobody.

    Raises:
        MindportError: If the request cannot be met, or the folder exists.
    """
    check_free(output)
    check_values(case)
    stage = stage or Stages()
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch, new_folder(output) as folder:
        stage("case")
        made, prepared = prepare_case(Order(request_for(case)), Path(scratch))
        if prepared is None:
            raise CheckpointError("A case was made without weights.")
        copy_case(made, folder / CASE, weights=False)
        if with_weights or (with_weights is None and weights_bytes(prepared) <= SMALL):
            carry_weights(folder / CASE, prepared)
        for part in list((folder / CASE).iterdir()):
            part.rename(folder / part.name)
        (folder / CASE).rmdir()
    return output


def record(order: Order, output: Path, on_progress: OnProgress | None = None) -> Path:
    """Run one side and write a folder with all that a comparison needs to know of it.

    Args:
        order: What is asked for.
        output: The folder to make.
        on_progress: Called whenever there is news.

    Raises:
        MindportError: If the order cannot be met, or the folder exists.
        EnvironmentUnavailableError: If the side could not run.
    """
    stages = Stages(on_progress, *RECORD_SHARES)
    outcome = try_to_record(order, output, stages)
    if isinstance(outcome, NotRun):
        tail = "".join(f"\n  | {line}" for line in outcome.last_lines)
        hint = outcome.hint.replace(ARCHITECTURE, order.request.architecture)
        raise EnvironmentUnavailableError(f"not run: {outcome.reason}{tail}", hint)
    stages.end()
    return outcome


def try_to_record(order: Order, output: Path, stage: Stages | None = None) -> Path | NotRun:
    """Do as :func:`record`, but return the reason if the side could not run."""
    return record_together([(order, output)], stage)[0]


def record_together(
    orders: Sequence[tuple[Order, Path]], stage: Stages | None = None
) -> list[Path | NotRun]:
    """Record several orders in one worker; importing a framework takes longer than most runs.

    Args:
        orders: What is asked for, each with the folder to make; all of one side, on one backend
            and interpreter.
        stage: Told what is being done; None for nobody.

    Returns:
        For each the folder, or the reason why it could not run.

    Raises:
        MindportError: If one of them cannot be met, or its folder exists.
    """
    first, stage = orders[0][0], stage or Stages()
    side, backend = first.side, backend_of(first)
    given = first.request.reference_python if side == "reference" else first.request.python
    python = find_python(given, backend)
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        stage("case and weights")
        prepared = []
        for number, (order, output) in enumerate(orders):
            check_free(output)
            check_values(order.request)
            if (order.side, backend_of(order)) != (side, backend):
                raise ValueError("these orders cannot share a worker")
            (work / str(number)).mkdir()
            prepared.append(_prepare(order, backend, work / str(number)))
        stage(f"{load_backend(backend).FRAMEWORK} runs")
        runs = tuple(part.run for part in prepared)
        seconds = sum(order.request.timeout for order, _ in orders)
        done = run_jobs([Job(side, runs, python, work)], seconds, stage.watch)[side]
        stage("writing")
        written: list[Path | NotRun] = []
        for (order, output), part, capture in zip(orders, prepared, done, strict=True):
            if isinstance(capture, NotRun):
                written.append(capture)
                continue
            with new_folder(output) as folder:
                _write(folder, order, part, capture)
            written.append(output)
    return written


@dataclass(frozen=True)
class _Part:
    """An order that is ready to run."""

    case: SharedCase
    prepared: Prepared | None
    candidate: Candidate
    run: Run


def _prepare(order: Order, backend: str, work: Path) -> _Part:
    request, reference = order.request, order.side == "reference"
    check_choices(backend, request.mode, request.attention)
    device = parse_device(request.device)
    case, prepared = prepare_case(order, work)
    candidate = side_weights(order, backend, case, prepared, work)
    factory, taps_file = own_files(request.candidate, request.taps_file)
    run = Run(
        backend,
        str(candidate.folder.resolve()),
        str(device),
        request.dtype,
        request.mode,
        str(case.folder.resolve()),
        request.threads,
        oracle=reference,
        gradients=bool(case.case.targets),
        control=reference,
        factory=factory,
        taps_file=taps_file,
        attention=request.attention,
    )
    return _Part(case, prepared, candidate, run)


def _write(folder: Path, order: Order, part: _Part, capture: Capture) -> None:
    case, prepared, candidate, run = part.case, part.prepared, part.candidate, part.run
    reference, carry = order.side == "reference", bool(order.with_weights)
    if order.with_weights is None and reference and prepared is not None:
        carry = weights_bytes(prepared) <= SMALL
    copy_case(case, folder / CASE, weights=carry)
    shutil.copytree(capture.folder, folder / CAPTURE)
    if prepared is not None:
        if carry and case.carried is None:
            carry_weights(folder / CASE, prepared)
        if reference and not carry and case.case.taps:
            network = describe_network(prepared, case.inputs, run.dtype)
            rounding.keep(folder / CAPTURE, case.case.taps, network, run.dtype)
    origin = candidate.origin
    if reference:
        origin = case.origin.checkpoint
    elif order.request.candidate_checkpoint is not None:
        origin = order.request.candidate_checkpoint.name
    seal(
        folder,
        Record(
            side=order.side,
            case=case.digest,
            backend=run.backend,
            dtype=run.dtype,
            gradients=run.gradients,
            own=bool(run.factory),
            origin=origin,
            notices=candidate.notices,
        ),
    )
