"""``validate case`` and ``validate record``: make a case, run one side of it, keep what came out.

Recording a candidate on MindSpore needs no torch: inputs, prompts and the port of the weights are
made without a framework.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import CheckpointError, EnvironmentUnavailableError, MindportError
from mindport.migrate.porting import Prepared
from mindport.validate.backend import check_choices, load_backend
from mindport.validate.capture import Capture
from mindport.validate.case import Run
from mindport.validate.checkpoints import (
    Candidate,
    GivenFor,
    candidate_folder,
    given_candidate,
)
from mindport.validate.devices import parse_device
from mindport.validate.doctor.absence import ARCHITECTURE
from mindport.validate.launch import Job, NotRun, find_python, run_jobs
from mindport.validate.making import make_case
from mindport.validate.network import describe_network
from mindport.validate.own.candidate import BACKEND, own_backend, own_files, own_weights
from mindport.validate.recording import rounding
from mindport.validate.recording.record import (
    CAPTURE,
    CASE,
    Record,
    Side,
    check_free,
    find_case,
    new_folder,
    seal,
)
from mindport.validate.recording.shared_case import (
    SMALL,
    SharedCase,
    carry_weights,
    complete_case,
    copy_case,
    weights_bytes,
)
from mindport.validate.recording.sources import find_weights, need_weights, origin_of
from mindport.validate.reference import prepare_reference
from mindport.validate.request import Request

Stage = Callable[[str], None]
# What a case settles; it cannot be chosen again for a case that exists.
SETTLED = ("config_file", "size", "head", "inputs", "batch", "length", "seed", "prompts",
           "prompt_limit", "shots", "allow_missing", "blocks_only", "gradients")  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What ``validate record`` is asked for.

    Attributes:
        request: What runs, and on what.
        side: Which side it is for; the reference writes oracle, noise floor and control too.
        case: A case that exists, or a recorded side whose case is meant; None makes one.
        with_weights: Whether to carry the weights; None carries small ones, for a reference.
        checkpoint: Where the weights of a case that exists lie; None looks for them.
    """

    request: Request
    side: Side = "candidate"
    case: Path | None = None
    with_weights: bool | None = None
    checkpoint: str | None = None


def share_case(
    request: Request, output: Path, with_weights: bool | None, stage: Stage = lambda _: None
) -> Path:
    """Make a case folder that several machines can run.

    Args:
        request: What is to be run.
        output: The folder to make.
        with_weights: Whether to carry the weights; None carries small ones.
        stage: Told what is being done, in a few words.

    Raises:
        MindportError: If the request cannot be met, or the folder exists.
    """
    check_free(output)
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch, new_folder(output) as folder:
        stage("case")
        made, prepared = prepare_case(Order(request), Path(scratch))
        if prepared is None:
            raise CheckpointError("A case was made without weights.")
        copy_case(made, folder / CASE, weights=False)
        if with_weights or (with_weights is None and weights_bytes(prepared) <= SMALL):
            carry_weights(folder / CASE, prepared)
        for part in list((folder / CASE).iterdir()):
            part.rename(folder / part.name)
        (folder / CASE).rmdir()
    return output


def record(order: Order, output: Path, stage: Stage = lambda _: None) -> Path:
    """Run one side and write a folder with all that a comparison needs to know of it.

    Args:
        order: What is asked for.
        output: The folder to make.
        stage: Told what is being done, in a few words.

    Raises:
        MindportError: If the order cannot be met, or the folder exists.
        EnvironmentUnavailableError: If the side could not run.
    """
    outcome = try_to_record(order, output, stage)
    if isinstance(outcome, NotRun):
        tail = "".join(f"\n  | {line}" for line in outcome.last_lines)
        hint = outcome.hint.replace(ARCHITECTURE, order.request.architecture)
        raise EnvironmentUnavailableError(f"not run: {outcome.reason}{tail}", hint)
    return outcome


def try_to_record(order: Order, output: Path, stage: Stage = lambda _: None) -> Path | NotRun:
    """Do as :func:`record`, but return the reason if the side could not run."""
    request, reference = order.request, order.side == "reference"
    check_free(output)
    backend = backend_of(order)
    check_choices(backend, request.mode, request.attention)
    python = find_python(request.reference_python if reference else request.python, backend)
    device = parse_device(request.device)
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        stage("case and weights")
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
        stage(f"{load_backend(backend).FRAMEWORK} runs")
        outcome = run_jobs([Job(order.side, (run,), python, work)], request.timeout)
        done = outcome[order.side][0]
        if isinstance(done, NotRun):
            return done
        stage("writing")
        with new_folder(output) as folder:
            _write(folder, order, case, prepared, candidate, run, done)
    return output


def backend_of(order: Order) -> str:
    """Return which backend an order runs.

    Raises:
        MindportError: If it is not fit for the side.
    """
    request = order.request
    if order.side == "candidate":
        return own_backend(
            request.candidate, request.taps_file, request.backend, request.mode, Request.backend
        )
    if request.backend not in (Request.backend, "torch"):
        raise MindportError(
            f"The reference runs torch, not {request.backend}.", "Leave out --reference."
        )
    if request.candidate is not None or request.candidate_checkpoint is not None:
        raise MindportError("The reference runs its own network and weights.",
                            "Leave out --candidate and --candidate-checkpoint.")  # fmt: skip
    return "torch"


def prepare_case(order: Order, work: Path) -> tuple[SharedCase, Prepared | None]:
    """Make the case of an order, or open the one that it names.

    Returns:
        The case, and its weights unless they are not needed and not at hand.

    Raises:
        MindportError: If neither can be done.
    """
    request = order.request
    architecture = load_architecture(request.architecture)
    if order.case is None:
        found = prepare_reference(architecture, request, work)
        make_case(architecture, request, found.prepared, work)
        origin = origin_of(found, request)
        return complete_case(work / "case", found.prepared, origin), found.prepared
    case = find_case(order.case, work / "unpacked")
    if case.case.architecture != architecture.name:
        raise MindportError(
            f"{order.case} is a case of {case.case.architecture}, not of {architecture.name}.",
            f"Use the architecture {case.case.architecture}.",
        )
    _check_settled(request, case)
    where = work / "weights"
    if request.candidate_checkpoint is not None and request.candidate is None:
        return case, find_weights(case, order.checkpoint, where)
    return case, need_weights(case, order.checkpoint, where)


def _check_settled(request: Request, case: SharedCase) -> None:
    defaults = {field.name: field.default for field in fields(Request)}
    fixed = {"head": case.case.head, "seed": case.case.seed, "gradients": bool(case.case.targets)}
    for name in SETTLED:
        asked = getattr(request, name)
        if asked != defaults[name] and asked != fixed.get(name, defaults[name]):
            option = {"config_file": "config"}.get(name, name).replace("_", "-")
            raise MindportError(
                f"--{option} is settled by the case.",
                "Leave it out, or make another case with it.",
            )


def side_weights(
    order: Order, backend: str, case: SharedCase, prepared: Prepared | None, work: Path
) -> Candidate:
    """Return the weights that a side loads, in its layout.

    Raises:
        MindportError: If those that are given cannot be used.
    """
    request, given = order.request, order.request.candidate_checkpoint
    notices = case.origin.notices
    if backend == BACKEND and prepared is not None:
        found = own_weights(prepared, given, request.taps_file, work)
    elif prepared is not None:
        found = candidate_folder(prepared, given, load_backend(backend).DIALECT, work)
    elif given is not None:
        against = GivenFor(
            load_architecture(request.architecture),
            case.config,
            case.folder / "config.json",
            set(case.origin.files.values()),
        )
        found = given_candidate(given, load_backend(backend).DIALECT, against, work)
    else:
        raise CheckpointError("There are no weights for this side.", "Give --checkpoint PATH.")
    return Candidate(found.folder, notices + found.notices, found.origin)


def _write(
    folder: Path,
    order: Order,
    case: SharedCase,
    prepared: Prepared | None,
    candidate: Candidate,
    run: Run,
    capture: Capture,
) -> None:
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
