"""The whole of ``validate`` as one function: a request in, a verdict out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mindport.migrate.architecture import Architecture, network_order
from mindport.migrate.architectures import load_architecture
from mindport.migrate.computation import Step, network_steps
from mindport.migrate.dialect import DIALECTS, TORCH
from mindport.migrate.errors import MindportError, PlanError
from mindport.migrate.expected import expected_parameters, is_tied
from mindport.migrate.porting import Prepared, prepare
from mindport.prompts import (
    Plan,
    PromptParity,
    PromptTokenizer,
    compare_scores,
    load_task,
    make_plan,
    score_rows,
)
from mindport.validate.backend import check_mode, load_backend
from mindport.validate.capture import Capture
from mindport.validate.case import Case, Run, hash_arrays, prompts_folder, save_case
from mindport.validate.checkpoints import (
    EMBEDDED,
    Candidate,
    ReferenceChoice,
    candidate_folder,
    reference_folder,
)
from mindport.validate.compare import compare_captures
from mindport.validate.diagnose.diagnosis import diagnose
from mindport.validate.formula.operations import Setting
from mindport.validate.formula.weights import Weights
from mindport.validate.gradients import GradientCheck, compare_gradients
from mindport.validate.inputs import describe_inputs, make_inputs, read_inputs
from mindport.validate.judge import Evidence, judge, not_run
from mindport.validate.launch import Job, NotRun, Outcome, find_python, run_jobs
from mindport.validate.metrics import rms
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
from mindport.validate.targets import make_targets
from mindport.validate.tolerance import TolerancePolicy, choose_policy
from mindport.validate.verdict import TapResult, Verdict

Stage = Callable[[str], None]
DEFAULT_LENGTH = 64


@dataclass(frozen=True)
class Request:
    """What the user asks for; every field has the default of the command line.

    Attributes:
        architecture: ``gpt2``, ``bert`` …
        checkpoint: ``embedded``, ``random``, a path, or a model's name.
        candidate_checkpoint: An already ported folder or file; None ports on the fly.
        config_file: ``config.json`` for ``random``, or of weights that lie without one.
        size: A named size for ``random``.
        head: The head; None takes the checkpoint's.
        inputs: A file of inputs; None makes random ones.
        batch: Rows of random inputs.
        length: Tokens of random inputs; None takes 64, or the number of positions if smaller.
        seed: Of random inputs and weights.
        policy: How the tolerance is chosen; None derives it, or takes ``atol`` and ``rtol``.
        atol: Absolute tolerance.
        rtol: Relative tolerance.
        backend: The candidate's backend.
        device: The candidate's device.
        dtype: Of both sides.
        mode: The candidate's mode.
        python: The candidate's interpreter; None takes this one.
        reference_python: The reference's interpreter.
        prompts: A prompt task's name or file, or None.
        prompt_limit: At most so many items of the task.
        timeout: Seconds that a worker may take.
        threads: CPU threads for each side; None leaves it to the frameworks.
        blocks_only: Whether to capture blocks and not the operations inside them.
        candidate: ``FILE.py:FUNCTION`` that builds a network of the user's own; None runs ours.
        taps_file: Where that network's taps are; None, and what it leaves open, is proposed.
        gradients: Whether to compare the loss and the gradient of every parameter too.
    """

    architecture: str
    checkpoint: str = EMBEDDED
    candidate_checkpoint: Path | None = None
    config_file: Path | None = None
    size: str | None = None
    head: str | None = None
    inputs: Path | None = None
    batch: int = 4
    length: int | None = None
    seed: int = 0
    policy: str | None = None
    atol: float | None = None
    rtol: float | None = None
    backend: str = "mindspore"
    device: str = "CPU"
    dtype: str = "float32"
    mode: str = "eager"
    python: str | None = None
    reference_python: str | None = None
    prompts: str | None = None
    prompt_limit: int | None = None
    timeout: float = 900.0
    threads: int | None = None
    blocks_only: bool = False
    candidate: str | None = None
    taps_file: Path | None = None
    gradients: bool = False


def validate(request: Request, stage: Stage = lambda _: None) -> Verdict:
    """Run the case on both sides and judge it.

    Args:
        request: What is asked for.
        stage: Told what is being done, in a few words.

    Raises:
        MindportError: If the request or its files are not usable; nothing was judged.
    """
    architecture = load_architecture(request.architecture)
    name = own_backend(
        request.candidate, request.taps_file, request.backend, request.mode, Request.backend
    )
    backend = load_backend(name)
    check_mode(name, request.mode)
    policy = choose_policy(request.dtype, request.policy, request.atol, request.rtol)
    pythons = find_python(request.reference_python), find_python(request.python)
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        stage("weights")
        prepared = prepare_reference(architecture, request, work)
        if name == BACKEND:
            candidate = own_weights(prepared, request.candidate_checkpoint, request.taps_file, work)
        else:
            candidate = candidate_folder(
                prepared, request.candidate_checkpoint, backend.DIALECT, work
            )
        stage("inputs")
        case, inputs, plan = make_case(architecture, request, prepared, work)
        factory, taps_file = own_files(request.candidate, request.taps_file)
        runs = (
            Run("torch", str(prepared.source.folder.resolve()), "CPU", request.dtype, "eager",
                str(work / "case"), request.threads, oracle=True, gradients=request.gradients),
            Run(name, str(candidate.folder.resolve()), request.device, request.dtype,
                request.mode, str(work / "case"), request.threads, gradients=request.gradients,
                factory=factory, taps_file=taps_file),
        )  # fmt: skip
        jobs = [
            Job(side, (run,), python, work)
            for side, run, python in zip(("reference", "candidate"), runs, pythons, strict=True)
        ]
        stage(f"torch and {backend.FRAMEWORK} run side by side")
        outcome = {side: done[0] for side, done in run_jobs(jobs, request.timeout).items()}
        stage("comparison")
        return _conclude(request, prepared, candidate, case, inputs, plan, policy, outcome)


def prepare_reference(architecture: Architecture, request: Request, work: Path) -> Prepared:
    """Plan the port of the reference's weights.

    Raises:
        PlanError: If they do not fit the architecture and head.
    """
    choice = ReferenceChoice(
        request.checkpoint, request.config_file, request.size, request.head, request.seed
    )
    folder = reference_folder(architecture, choice, work)
    try:
        return prepare(folder, architecture.name, head=request.head, to="mindspore")
    except PlanError as error:
        raise PlanError(
            error.message.partition("\n")[0],
            error.problems,
            "Choose the head that the checkpoint has, or --checkpoint random for any head.",
        ) from None


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
    plan = _plan_prompts(request, prepared) if request.prompts else None
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


def _plan_prompts(request: Request, prepared: Prepared) -> Plan:
    plan, head = prepared.plan, prepared.plan.head
    if not head.prompts:
        able = [h.name for h in plan.architecture.heads.values() if h.prompts]
        raise MindportError(
            f"The head {head.name!r} predicts no words, so it cannot answer prompts.",
            f"Use a checkpoint with the head {' or '.join(map(repr, able))}.",
        )
    tokenizer = PromptTokenizer.from_folder(
        prepared.source.folder, vocab_size=plan.config["vocab_size"]
    )
    return make_plan(
        load_task(str(request.prompts)),
        tokenizer,
        architecture_shape=head.prompts,
        max_length=plan.config[plan.architecture.positions],
        limit=request.prompt_limit,
    )


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
    required = final_taps(prepared) if own else case.taps

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
                taps, judged, network.steps, network.setting, policy.dtype, network.tied
            ),
            gradients=_compare_gradients(request, prepared, reference, judged, policy, taps),
            policy=policy,
            prompt_task=plan.task if plan else "",
            prompts=_compare_prompts(plan, reference, judged, policy, taps) if plan else None,
            checkpoint={"reference": request.checkpoint, "candidate": candidate.origin},
            notices=notices,
        )
    )
    return with_lost_weights(verdict, where)


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


@dataclass(frozen=True)
class Network:
    """The mathematics of a case.

    Attributes:
        steps: Of the head, filled in.
        setting: Config, model inputs and parameters of the reference.
        details: Taps that lie inside a block or head.
        tied: Modules of matrices that are the embeddings'.
    """

    steps: tuple[Step, ...]
    setting: Setting
    details: frozenset[str]
    tied: frozenset[str]


def describe_network(prepared: Prepared, inputs: Mapping[str, np.ndarray], dtype: str) -> Network:
    """Return the mathematics of the network that a plan ports.

    Args:
        prepared: The plan of the reference's port.
        inputs: The model's inputs.
        dtype: Of the run.
    """
    plan = prepared.plan
    layers = plan.config[plan.architecture.layers]
    weights = Weights(plan.architecture, plan.head, plan.config, prepared.source, dtype)
    return Network(
        steps=tuple(network_steps(plan.head.steps, layers)),
        setting=Setting(plan.config, inputs, weights),
        details=frozenset(t.name for t in network_order(plan.head.taps, layers) if t.detail),
        tied=frozenset(t.parameter.module for t in plan.head.tied if is_tied(t, plan.config)),
    )


def _left_behind(prepared: Prepared) -> set[str]:
    # transformers reports these by their proper spelling, whatever the file says.
    names = {e.source for e in prepared.plan.entries if e.action in ("dropped", "ignored")}
    return names | {prepared.plan.source.modern(name) for name in names}


def _compare_prompts(
    plan: Plan,
    reference: Capture,
    candidate: Capture,
    policy: TolerancePolicy,
    taps: Sequence[TapResult],
) -> PromptParity:
    rows = reference.rows()
    atol, rtol = _row_tolerance(rows, policy, taps)
    return compare_scores(
        plan, score_rows(plan, rows), score_rows(plan, candidate.rows()), atol=atol, rtol=rtol
    )


def _row_tolerance(
    rows: np.ndarray, policy: TolerancePolicy, taps: Sequence[TapResult]
) -> tuple[float, float]:
    """Return the tolerance of prompt rows: what the logits of the case may be off, at their size.

    The oracle does not run the prompts; rounding errors are in proportion to the logits.
    """
    if policy.atol is not None and policy.rtol is not None:
        return policy.atol, policy.rtol
    logits = next(tap for tap in taps if tap.name == "logits")
    if logits.accumulated is None or logits.deviation is None or logits.facts is None:
        return 0.0, 0.0  # the verdict has failed already
    size = logits.facts.reference_rms or 1.0
    share = logits.accumulated.candidate.limit_peak * logits.deviation / size
    return share * rms(rows), 0.0
