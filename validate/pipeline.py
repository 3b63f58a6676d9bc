"""Both sides of a request run and judged; :mod:`mindport.validate.api` is the way in."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from mindport.migrate.architectures import load_architecture
from mindport.validate.backend import check_choices, load_backend
from mindport.validate.capture import Capture
from mindport.validate.case import Run
from mindport.validate.checkpoints import candidate_folder
from mindport.validate.conclusion import Subject, conclude, left_behind
from mindport.validate.departures.asking import check_accepted
from mindport.validate.devices import parse_device
from mindport.validate.emulation.asking import BACKEND as EMULATED
from mindport.validate.emulation.asking import check_unit
from mindport.validate.judge import not_run
from mindport.validate.launch import Job, NotRun, find_python, run_jobs
from mindport.validate.making import make_case
from mindport.validate.own.candidate import BACKEND, own_backend, own_files, own_weights
from mindport.validate.provenance import command_of, read_mapping, with_provenance
from mindport.validate.recording.comparing import validate_recorded
from mindport.validate.reference import prepare_reference
from mindport.validate.request import Request, check_dtypes, check_values
from mindport.validate.stages import COMPARISON, PREPARING, RUN, Stages
from mindport.validate.tolerance import choose_policy
from mindport.validate.verdict import Verdict

# The weights, the inputs, both runs, the comparison.
SHARES = (PREPARING, PREPARING, RUN, COMPARISON)


def carry_out(request: Request, stage: Stages) -> Verdict:
    """Run the case on both sides and judge it.

    Args:
        request: What is asked for.
        stage: Told what is being done; has :data:`SHARES`, or those of a request with recorded
            sides.

    Raises:
        MindportError: If the request or its files are not usable; nothing was judged.
    """
    check_values(request)
    if request.reference_capture is not None or request.candidate_capture is not None:
        return with_provenance(validate_recorded(request, stage), command_of(request))
    architecture = load_architecture(request.architecture)
    unit = check_unit(request)
    name = EMULATED if request.emulate else own_backend(
        request.candidate, request.taps_file, request.backend, request.mode, Request.backend
    )  # fmt: skip
    backend = load_backend(name)
    check_choices(name, request.mode, request.attention)
    check_choices("torch", "eager", request.reference_attention)
    check_dtypes(request)
    policy = choose_policy(
        request.dtype, request.policy, request.atol, request.rtol, unit, request.reference_dtype
    )
    pythons = find_python(request.reference_python), find_python(request.python, name)
    check_accepted(request.accept, policy, device=parse_device(request.device).kind,
                   gradients=request.gradients, emulate=request.emulate)  # fmt: skip
    devices = [str(parse_device(text)) for text in (request.reference_device, request.device)]
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        stage("weights")
        origin = prepare_reference(architecture, request, work)
        prepared = origin.prepared
        if name == BACKEND:
            candidate = own_weights(prepared, request.candidate_checkpoint, request.taps_file, work)
        else:
            candidate = candidate_folder(
                prepared, request.candidate_checkpoint, backend.DIALECT, work
            )
        candidate = replace(candidate, notices=origin.notices + candidate.notices)
        stage("inputs")
        case, inputs, plan = make_case(architecture, request, prepared, work)
        factory, taps_file = own_files(request.candidate, request.taps_file)
        runs = (
            Run("torch", str(prepared.source.folder.resolve()), devices[0],
                policy.reference_dtype, "eager", str(work / "case"), request.threads, oracle=True,
                gradients=request.gradients, control=True, attention=request.reference_attention),
            Run(name, str(candidate.folder.resolve()), devices[1], request.dtype,
                request.mode, str(work / "case"), request.threads, gradients=request.gradients,
                factory=factory, taps_file=taps_file, unit=request.emulate or "",
                attention=request.attention),
        )  # fmt: skip
        jobs = [
            Job(side, (run,), python, work)
            for side, run, python in zip(("reference", "candidate"), runs, pythons, strict=True)
        ]
        stage(f"torch and {backend.FRAMEWORK} run side by side")
        outcome = {
            side: done[0] for side, done in run_jobs(jobs, request.timeout, stage.watch).items()
        }
        reasons = [result for result in outcome.values() if isinstance(result, NotRun)]
        if reasons:
            return with_provenance(not_run(case, reasons, candidate.notices), command_of(request))
        sides = {side: result for side, result in outcome.items() if isinstance(result, Capture)}
        stage("comparison")
        subject = Subject(
            case=case,
            inputs=inputs,
            plan=plan,
            config=prepared.plan.config,
            prepared=prepared,
            left_behind=left_behind(prepared),
            backend=name,
            own=request.candidate is not None,
            imported="",
            gradients=request.gradients,
            policy=policy,
            origins={"reference": request.checkpoint, "candidate": candidate.origin},
            notices=candidate.notices,
            emulated=request.emulate or "",
            accept=request.accept,
        )
        verdict = conclude(subject, sides["reference"], sides["candidate"])
        ported = candidate.folder != prepared.source.folder
        mapping = read_mapping(candidate.folder) if ported else None
        return with_provenance(verdict, command_of(request), mapping)
