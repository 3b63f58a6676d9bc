"""What Python code is offered: both sides in one call, or one at a time. The commands use it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mindport.migrate.architectures import architecture_names
from mindport.migrate.errors import MindportError
from mindport.migrate.progress import OnProgress
from mindport.validate.case import EAGER
from mindport.validate.pipeline import SHARES, carry_out
from mindport.validate.recording.comparing import (
    COMPARE_SHARES,
    RUN_SHARES,
    Yardstick,
    compare_recorded,
)
from mindport.validate.recording.order import Order
from mindport.validate.recording.record import Recorded, Side, find_case, open_recorded
from mindport.validate.recording.running import record, share_case
from mindport.validate.request import Case, Request, request_for
from mindport.validate.stages import Stages
from mindport.validate.verdict import Verdict

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mindport.validate.options import Options

_BACKENDS = {"reference": "torch", "candidate": Request.backend}


def validate(
    asked: str | Case, *, on_progress: OnProgress | None = None, **options: Unpack[Options]
) -> Verdict:
    """Run both sides, each in a process of its own, compare every tap, and judge.

    Args:
        asked: The name of an architecture, a case, or a request, which the options change.
        on_progress: Called with a :class:`Progress` whenever there is news.
        options: The fields of :class:`Request`, as ``validate --help`` describes them.

    Returns:
        The verdict. That a side could not run is one too: ``not-run``.

    Raises:
        MindportError: If what is asked for, or a file of it, is not usable; nothing was judged.
        EnvironmentUnavailableError: If an interpreter or an environment is not there.
    """
    if isinstance(asked, str):
        request = Request(asked, **options)  # type: ignore[arg-type]  # takes text for a path
    else:
        whole = asked if isinstance(asked, Request) else request_for(asked)
        request = replace(whole, **options)  # type: ignore[arg-type]
    recorded = request.reference_capture, request.candidate_capture
    shares = {0: SHARES, 1: RUN_SHARES, 2: COMPARE_SHARES}[sum(map(bool, recorded))]
    stages = Stages(on_progress, *shares)
    verdict = carry_out(request, stages)
    stages.end()
    return verdict


def run(
    case: Case | str | Path,
    *,
    backend: str | None = None,
    side: Side | None = None,
    device: str = "CPU",
    dtype: str = "float32",
    mode: str = "eager",
    attention: str = EAGER,
    threads: int | None = None,
    timeout: float = 900.0,
    python: str | None = None,
    candidate: str | Path | None = None,
    taps_file: str | Path | None = None,
    candidate_checkpoint: str | Path | None = None,
    checkpoint: str | None = None,
    with_weights: bool | None = None,
    output: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Recorded:
    """Run one side of a case in a process of its own, and keep what came out.

    Args:
        case: What to run; or the path of a case that :func:`save_case` wrote, or of a recorded
            side, whose case is run.
        backend: ``torch``, ``mindspore`` …; None takes ``torch`` for the reference, ``mindspore``
            for the candidate.
        side: Which side it is for. The reference also computes oracle and noise floor, without
            which nothing can be judged. None takes the reference for torch, else the candidate.
        device: As ``--device``.
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        mode: ``eager`` or ``graph``.
        attention: As ``--attention``.
        threads: CPU threads; None leaves it to the framework.
        timeout: Seconds that it may take.
        python: Its interpreter; None takes this one, or the backend's own.
        candidate: ``FILE.py:FUNCTION`` that builds a network of your own.
        taps_file: Where that network's taps are.
        candidate_checkpoint: An already ported folder or file; None ports on the fly.
        checkpoint: Where the weights of a case that is named by its path lie.
        with_weights: Whether to keep the weights too; None keeps small ones of a reference.
        output: The folder to make; None keeps it until what is returned is forgotten.
        on_progress: Called with a :class:`Progress` whenever there is news.

    Raises:
        MindportError: If what is asked for is not usable, or the folder exists.
        EnvironmentUnavailableError: If the side could not run.
    """
    side = side or ("reference" if backend == "torch" else "candidate")
    if side == "reference" and backend not in (None, "torch"):
        raise MindportError(f"The reference runs torch, not {backend}.", "Leave out backend.")
    scratch = Path(tempfile.mkdtemp(prefix="mindport-run-"))
    try:
        what, place = _case_of(case, checkpoint, scratch / "case")
        request = request_for(
            what, backend=backend or _BACKENDS[side], device=device, dtype=dtype, mode=mode,
            attention=attention, threads=threads, timeout=timeout, python=python,
            reference_python=python, candidate=candidate, taps_file=taps_file,
            candidate_checkpoint=candidate_checkpoint,
        )  # fmt: skip
        order = Order(request, side, place, with_weights, checkpoint)
        written = record(order, Path(output or scratch / side), on_progress)
        weights = checkpoint or what.named_checkpoint
        done = replace(open_recorded(written, scratch / "unpacked"), weights=weights)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    weakref.finalize(done, shutil.rmtree, scratch, ignore_errors=True)
    return done


def compare(
    reference: Recorded | str | Path,
    candidate: Recorded | str | Path,
    *,
    checkpoint: str | None = None,
    policy: str | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    accept: Sequence[str] = (),
    on_progress: OnProgress | None = None,
) -> Verdict:
    """Judge two recorded sides; no framework is needed.

    Args:
        reference: What :func:`run` gave, or the path of its folder or of a zip file.
        candidate: The other side.
        checkpoint: Where the reference's weights lie; None looks where they may be.
        policy: How the tolerance is chosen; None derives it, or takes ``atol`` and ``rtol``.
        atol: Absolute tolerance.
        rtol: Relative tolerance.
        accept: Names of departures of the candidate's platform that are accepted.
        on_progress: Called with a :class:`Progress` whenever there is news.

    Raises:
        MindportError: If one of them cannot be used, or they did not run the same case.
    """
    if checkpoint is None and isinstance(reference, Recorded):
        checkpoint = reference.weights
    yardstick = Yardstick(checkpoint, policy, atol, rtol, tuple(accept))
    stages = Stages(on_progress, *COMPARE_SHARES)
    verdict = compare_recorded(_path_of(reference), _path_of(candidate), yardstick, stages)
    stages.end()
    return verdict


def save_case(case: Case, folder: str | Path, *, with_weights: bool | None = None,
              on_progress: OnProgress | None = None) -> Path:  # fmt: skip
    """Write a case down, for several places to run it.

    Args:
        case: What is to be run.
        folder: The folder to make.
        with_weights: Whether to carry the weights; None carries small ones.
        on_progress: Called with a :class:`Progress` whenever there is news.

    Raises:
        MindportError: If the case cannot be made, or the folder exists.
    """
    stages = Stages(on_progress, 1.0)
    path = share_case(case, Path(folder), with_weights, stages)
    stages.end()
    return path


def load_run(path: str | Path) -> Recorded:
    """Open a recorded side: a folder, or a zip file of one, which is unpacked meanwhile.

    Raises:
        CheckpointError: If it is none, of another version, or damaged.
    """
    scratch = Path(tempfile.mkdtemp(prefix="mindport-run-"))
    try:
        done = open_recorded(Path(path), scratch / "unpacked")
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    weakref.finalize(done, shutil.rmtree, scratch, ignore_errors=True)
    return done


def _case_of(
    case: Case | str | Path, checkpoint: str | None, work: Path
) -> tuple[Case, Path | None]:
    if isinstance(case, Case):
        if checkpoint is not None:
            raise MindportError(
                "The weights are named by the case.", "Leave out checkpoint, or change the case."
            )
        return case, None
    if isinstance(case, str) and case in architecture_names() and not Path(case).exists():
        raise MindportError(
            f"{case!r} is an architecture, and run() takes a case.",
            f"Write run(Case({case!r})) for one side, validate({case!r}) for both and a verdict.",
        )
    return Case(find_case(Path(case), work).case.architecture), Path(case)


def _path_of(side: Recorded | str | Path) -> Path:
    return side.path if isinstance(side, Recorded) else Path(side)
