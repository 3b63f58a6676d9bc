"""The whole of ``validate`` as one function: a request in, a verdict out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mindport.migrate.architecture import Architecture, network_order
from mindport.migrate.architectures import load_architecture
from mindport.migrate.dialect import DIALECTS, TORCH
from mindport.migrate.errors import MindportError
from mindport.migrate.expected import expected_parameters
from mindport.migrate.porting import Prepared
from mindport.prompts import Plan, PromptParity
from mindport.validate.backend import check_mode, load_backend
from mindport.validate.capture import Capture
from mindport.validate.case import Case, Run, hash_arrays, prompts_folder, save_case
from mindport.validate.checkpoints import Candidate, candidate_folder
from mindport.validate.compare import compare_captures
from mindport.validate.devices import parse_device
from mindport.validate.diagnose.diagnosis import diagnose
from mindport.validate.emulation.asking import BACKEND as EMULATED
from mindport.validate.emulation.asking import check_unit
from mindport.validate.emulation.prediction import Emulation
from mindport.validate.emulation.units import find_unit
from mindport.validate.gradients import GradientCheck, compare_gradients
from mindport.validate.inputs import describe_inputs, make_inputs, read_inputs
from mindport.validate.judge import Evidence, judge, not_run
from mindport.validate.launch import Job, NotRun, Outcome, find_python, run_jobs
from mindport.validate.network import describe_network
from mindport.validate.own.candidate import (
    BACKEND,
    compare_own,
    final_taps,
    own_backend,
    own_files,
    own_notices,
    own_weights,
    whereabouts,
    with_lost_weights,
)
from mindport.validate.own.contents import Whereabouts
from mindport.validate.prompting.agreement import compare_prompts, row_tolerance
from mindport.validate.prompting.asking import Question, plan_prompts
from mindport.validate.prompting.compare import loads
from mindport.validate.reference import prepare_reference
from mindport.validate.request import Request
from mindport.validate.targets import make_targets
from mindport.validate.tolerance import TolerancePolicy, choose_policy
from mindport.validate.verdict import TapResult, Verdict

Stage = Callable[[str], None]
DEFAULT_LENGTH = 64


def validate(request: Request, stage: Stage = lambda _: None) -> Verdict:
    """Run the case on both sides and judge it.

    Args:
        request: What is asked for.
        stage: Told what is being done, in a few words.

    Raises:
        MindportError: If the request or its files are not usable; nothing was judged.
    """
    architecture = load_architecture(request.architecture)
    unit = check_unit(request)
    name = EMULATED if request.emulate else own_backend(
        request.candidate, request.taps_file, request.backend, request.mode, Request.backend
    )  # fmt: skip
    backend = load_backend(name)
    check_mode(name, request.mode)
    policy = choose_policy(request.dtype, request.policy, request.atol, request.rtol, unit)
    pythons = find_python(request.reference_python), find_python(request.python, name)
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
            Run("torch", str(prepared.source.folder.resolve()), devices[0], request.dtype, "eager",
                str(work / "case"), request.threads, oracle=True, gradients=request.gradients,
                control=True),
            Run(name, str(candidate.folder.resolve()), devices[1], request.dtype,
                request.mode, str(work / "case"), request.threads, gradients=request.gradients,
                factory=factory, taps_file=taps_file, unit=request.emulate or ""),
        )  # fmt: skip
        jobs = [
            Job(side, (run,), python, work)
            for side, run, python in zip(("reference", "candidate"), runs, pythons, strict=True)
        ]
        stage(f"torch and {backend.FRAMEWORK} run side by side")
        outcome = {side: done[0] for side, done in run_jobs(jobs, request.timeout).items()}
        stage("comparison")
        return _conclude(request, prepared, candidate, case, inputs, plan, policy, outcome)


def make_case(
    architecture: Architecture, request: Request, prepared: Prepared, work: Path
) -> tuple[Case, dict[str, np.ndarray], Plan | None]:
    """Write the case folder; return the case, its inputs and the prompt plan.

    Raises:
        MindportError: If the inputs that are asked for cannot be had.
    """
    config, head = prepared.plan.config, prepared.plan.head
    if request.inputs is not None:
        inputs = read_inputs(request.inputs, architecture, head, config, prepared.source.folder)
    else:
        if request.batch < 1 or (request.length is not None and request.length < 1):
            raise MindportError("--batch and --length must be at least 1.")
        length = request.length or min(DEFAULT_LENGTH, config[architecture.positions])
        inputs = make_inputs(
            architecture, head, config, batch=request.batch, length=length, seed=request.seed
        )
    if len(inputs["input_ids"]) > 1 and head.pools_last_token and config["pad_token_id"] is None:
        raise MindportError(
            f"{head.class_name} finds each row's last token by pad_token_id, which the config "
            "does not have.",
            "Use --batch 1, or set pad_token_id in config.json.",
        )
    plan = None
    if request.prompts:
        question = Question(request.prompts, request.prompt_limit, request.shots, request.seed)
        plan = plan_prompts(question, prepared)
    taps = network_order(head.taps, config[architecture.layers])
    targets = {}
    if request.gradients:
        targets = make_targets(architecture, head, config, inputs, request.seed)
    case = Case(
        architecture=architecture.name,
        head=head.name,
        seed=request.seed,
        taps=tuple(t.name for t in taps if not (t.detail and request.blocks_only)),
        inputs=hash_arrays(inputs),
        prompts=plan is not None,
        targets=hash_arrays(targets),
    )
    save_case(work / "case", case, inputs, targets)
    if plan is not None:
        plan.save(prompts_folder(work / "case"))
    return case, inputs, plan


def _conclude(
    request: Request,
    prepared: Prepared,
    candidate: Candidate,
    case: Case,
    inputs: dict[str, np.ndarray],
    plan: Plan | None,
    policy: TolerancePolicy,
    outcome: dict[str, Outcome],
) -> Verdict:
    reasons = [result for result in outcome.values() if isinstance(result, NotRun)]
    if reasons:
        return not_run(case, reasons, candidate.notices)
    sides = {side: result for side, result in outcome.items() if isinstance(result, Capture)}
    reference, judged = sides["reference"], sides["candidate"]
    network = describe_network(prepared, inputs, policy.dtype)
    own = request.candidate is not None
    # What lies inside a block may be out of a backend's reach; a notice says so.
    inner = network.details
    required = final_taps(prepared) if own else [t for t in case.taps if t not in inner]

    def compare(capture: Capture) -> tuple[TapResult, ...]:
        return tuple(
            compare_captures(
                reference,
                capture,
                network.steps,
                network.setting,
                policy,
                required=required,
                details=network.details,
            )
        )

    if own:
        taps, judged, set_aside = compare_own(judged, required, compare)
        where = whereabouts(prepared, judged, request.dtype)
        notices = own_notices(judged, case.taps, where, set_aside)
        case = replace(case, taps=judged.manifest.taps)  # what it lacks is said in the notices
    else:
        taps, where, notices = compare(judged), Whereabouts(), candidate.notices
    verdict = judge(
        Evidence(
            case=case,
            inputs=describe_inputs(inputs),
            reference=reference,
            candidate=judged,
            left_behind=_left_behind(prepared),
            taps=taps,
            diagnosis=diagnose(
                taps,
                judged,
                network.steps,
                network.setting,
                policy.dtype,
                network.tied,
                matmul=policy.matmul,
            ),
            gradients=_compare_gradients(request, prepared, reference, judged, policy, taps),
            policy=policy,
            prompt_task=plan.task if plan else "",
            prompts=_compare_prompts(plan, reference, judged, policy, taps) if plan else None,
            checkpoint={"reference": request.checkpoint, "candidate": candidate.origin},
            notices=notices,
            emulation=_emulation(request, judged),
        )
    )
    return with_lost_weights(verdict, where)


def _emulation(request: Request, judged: Capture) -> Emulation | None:
    if request.emulate is None:
        return None
    return Emulation(find_unit(request.emulate), judged.notes()["beyond_range"])


def _compare_prompts(
    plan: Plan,
    reference: Capture,
    candidate: Capture,
    policy: TolerancePolicy,
    taps: Sequence[TapResult],
) -> PromptParity:
    atol, rtol = row_tolerance(reference, policy, taps)
    return compare_prompts(
        plan, reference, candidate, loads=loads(reference, candidate), atol=atol, rtol=rtol
    )


def _compare_gradients(
    request: Request,
    prepared: Prepared,
    reference: Capture,
    candidate: Capture,
    policy: TolerancePolicy,
    taps: Sequence[TapResult],
) -> GradientCheck | None:
    if not request.gradients:
        return None
    plan = prepared.plan
    return compare_gradients(
        reference.gradients(),
        candidate.gradients(),
        expected_parameters(plan.architecture, plan.head, plan.config, TORCH),
        DIALECTS[load_backend(request.backend).DIALECT],
        policy,
        taps_ok=all(tap.ok for tap in taps),
    )


def _left_behind(prepared: Prepared) -> set[str]:
    # transformers reports these by their proper spelling, whatever the file says.
    names = {e.source for e in prepared.plan.entries if e.action in ("dropped", "ignored")}
    return names | {prepared.plan.source.modern(name) for name in names}
