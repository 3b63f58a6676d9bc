"""``validate compare``: two recorded sides, one verdict; no framework is needed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from mindport.migrate.errors import MindportError
from mindport.validate.conclusion import Subject, conclude
from mindport.validate.departures.asking import check_accepted
from mindport.validate.devices import parse_device
from mindport.validate.judge import not_run
from mindport.validate.launch import NotRun
from mindport.validate.provenance import option_words, with_provenance
from mindport.validate.recording.order import Order
from mindport.validate.recording.record import Recorded, Side, open_recorded
from mindport.validate.recording.running import RECORD_SHARES, try_to_record
from mindport.validate.recording.sources import find_weights
from mindport.validate.request import Request, check_dtypes
from mindport.validate.stages import CHECKING, COMPARISON, Stages
from mindport.validate.tolerance import choose_policy
from mindport.validate.verdict import Verdict

# Opening and checking both, and comparing them; one of them run before.
COMPARE_SHARES = (CHECKING, COMPARISON)
RUN_SHARES = (*RECORD_SHARES, *COMPARE_SHARES)


@dataclass(frozen=True)
class Yardstick:
    """How two recorded sides are judged.

    Attributes:
        checkpoint: Where the reference's weights lie, or None to look where they may be.
        policy: How the tolerance is chosen.
        atol: Absolute tolerance.
        rtol: Relative tolerance.
        accept: Names of departures of the candidate's platform that are accepted.
    """

    checkpoint: str | None = None
    policy: str | None = None
    atol: float | None = None
    rtol: float | None = None
    accept: tuple[str, ...] = ()


def compare_recorded(
    reference: Path,
    candidate: Path,
    yardstick: Yardstick | None = None,
    stage: Stages | None = None,
) -> Verdict:
    """Judge two recorded sides.

    Args:
        reference: Folder or zip file of the side that is held to be right.
        candidate: Folder or zip file of the other.
        yardstick: How to judge.
        stage: Told what is being done; None for nobody.

    Raises:
        MindportError: If one of them cannot be used, or they did not run the same case.
    """
    yardstick, stage = yardstick or Yardstick(), stage or Stages()
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        stage("checking both sides")
        ours = open_recorded(reference, work / "reference")
        theirs = open_recorded(candidate, work / "candidate")
        _check_pair(ours, theirs)
        policy = choose_policy(
            theirs.record.dtype,
            yardstick.policy,
            yardstick.atol,
            yardstick.rtol,
            reference_dtype=ours.record.dtype,
        )
        ran, gradients = theirs.capture.manifest.identity, ours.record.gradients
        gradients = gradients and theirs.record.gradients
        check_accepted(yardstick.accept, policy, device=ran.device, framework=ran.framework,
                       gradients=gradients)  # fmt: skip
        stage("comparison")
        prepared = find_weights(ours.case, yardstick.checkpoint, work / "weights", [theirs.case])
        subject = Subject(
            case=ours.case.case,
            inputs=ours.case.inputs,
            plan=ours.case.plan if theirs.capture.manifest.prompts else None,
            config=ours.case.config,
            prepared=prepared,
            left_behind=frozenset(ours.case.origin.left_behind),
            backend=theirs.record.backend,
            own=theirs.record.own,
            imported=theirs.record.imported,
            # What rounding does to gradients is measured, in the reference's dtype alone.
            gradients=gradients and not policy.mixed,
            accept=yardstick.accept,
            policy=policy,
            origins={"reference": ours.record.origin, "candidate": theirs.record.origin},
            notices=theirs.record.notices + _unasked(ours, theirs),
        )
        command = ("validate", "compare", str(reference), str(candidate))
        verdict = conclude(subject, ours.capture, theirs.capture)
        return with_provenance(verdict, command + option_words(yardstick, Yardstick()))


def validate_recorded(request: Request, stage: Stages | None = None) -> Verdict:
    """Do as :func:`mindport.validate.pipeline.validate`, with a recorded side instead of a run.

    Args:
        request: With a recorded reference or candidate, or both.
        stage: Told what is being done; None for nobody.

    Raises:
        MindportError: If the request or its files are not usable; nothing was judged.
    """
    if request.emulate is not None:
        raise MindportError(
            "--emulate needs both sides in one run.", "Leave out the recorded side."
        )
    given, stage = request.named_checkpoint, stage or Stages()
    yardstick = Yardstick(given, request.policy, request.atol, request.rtol, request.accept)
    check_dtypes(request)
    # Before anything runs.
    policy = choose_policy(
        request.dtype,
        request.policy,
        request.atol,
        request.rtol,
        reference_dtype=request.reference_dtype,
    )
    check_accepted(request.accept, policy, device=parse_device(request.device).kind,
                   gradients=request.gradients)  # fmt: skip
    reference, candidate = request.reference_capture, request.candidate_capture
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        if reference is None and candidate is not None:
            made = _run_other("reference", request, candidate, given, work, stage)
            if isinstance(made, Verdict):
                return made
            reference = made
        elif candidate is None and reference is not None:
            made = _run_other("candidate", request, reference, given, work, stage)
            if isinstance(made, Verdict):
                return made
            candidate = made
        if reference is None or candidate is None:
            raise MindportError("No side is recorded.", "Name one with --reference-capture.")
        return compare_recorded(reference, candidate, yardstick, stage)


def _run_other(
    side: Side, request: Request, recorded: Path, given: str | None, work: Path, stage: Stages
) -> Path | Verdict:
    """Run the side that is not recorded, and return where it lies, or that it could not run."""
    other = open_recorded(recorded, work / "unpacked")
    if other.record.side == side:
        option = "candidate" if side == "reference" else "reference"
        raise MindportError(
            f"{recorded} was recorded as a {side}.",
            f"It is no {option}: name it with --{side}-capture.",
        )
    ours = request.reference_dtype or request.dtype
    asked, option = (request.dtype, "") if side == "reference" else (ours, "reference-")
    if other.record.dtype != asked:
        raise MindportError(
            f"{recorded} ran in {other.record.dtype}, and {asked} is asked for.",
            f"Add --{option}dtype {other.record.dtype}.",
        )
    if side == "reference":  # what is said of the candidate does not concern it
        request = replace(
            request,
            device=request.reference_device,
            dtype=ours,
            attention=request.reference_attention,
            backend=Request.backend,
            mode=Request.mode,
            candidate=None,
            candidate_checkpoint=None,
            taps_file=None,
        )
    order = Order(request, side, case=recorded, checkpoint=given)
    outcome = try_to_record(order, work / side, stage)
    if isinstance(outcome, NotRun):
        return not_run(other.case.case, [outcome], other.record.notices)
    return outcome


def _unasked(ours: Recorded, theirs: Recorded) -> tuple[str, ...]:
    """Return what the case holds and the candidate was not asked."""
    said = []
    if ours.case.plan is not None and theirs.capture.manifest.prompts is None:
        said.append("the candidate did not answer the case's prompts: they were not compared")
    if ours.record.gradients and not theirs.record.gradients:
        said.append("the candidate has no gradients: they were not compared")
    elif ours.record.gradients and ours.record.dtype != theirs.record.dtype:
        said.append("the gradients were not compared: that takes both sides in one dtype")
    return tuple(said)


def _check_pair(ours: Recorded, theirs: Recorded) -> None:
    if ours.record == theirs.record or ours.path.resolve() == theirs.path.resolve():
        raise MindportError(
            f"{ours.path} and {theirs.path} are the same run: comparing it with itself proves "
            "nothing.",
            "Name the reference first, then the candidate.",
        )
    if ours.record.side != "reference":
        swapped = theirs.record.side == "reference"
        raise MindportError(
            f"{ours.path} was recorded as a candidate: it has no float64 oracle to judge by.",
            "Name the reference first."
            if swapped
            else "Record a reference: validate record ARCHITECTURE --reference -o FOLDER.",
        )
    if ours.record.case != theirs.record.case:
        mine, other = ours.case.parts(), theirs.case.parts()
        apart = [what for what in mine if mine[what] != other[what]]
        raise MindportError(
            f"{ours.path} and {theirs.path} ran different cases: {', '.join(apart)} differ.",
            f"Record both on one case: validate record … --case {ours.path}.",
        )
