"""What two captures of one case come to: every comparison that they allow, then the judgement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mindport.migrate.architectures import load_architecture
from mindport.migrate.dialect import TORCH
from mindport.migrate.dialects import DIALECTS
from mindport.migrate.errors import MindportError
from mindport.migrate.expected import expected_parameters
from mindport.migrate.porting import Prepared
from mindport.prompts import Plan, PromptParity
from mindport.validate.backend import load_backend
from mindport.validate.capture import Capture
from mindport.validate.case import SettledCase
from mindport.validate.departures.known import Departure, find_departures
from mindport.validate.departures.recognition import Finding, recognise, with_departures
from mindport.validate.diagnose.diagnosis import diagnose
from mindport.validate.emulation.prediction import Emulation
from mindport.validate.emulation.units import find_unit
from mindport.validate.expectation import Expected, expect
from mindport.validate.gradients import GradientCheck, compare_gradients
from mindport.validate.inputs import describe_inputs
from mindport.validate.judge import Evidence, judge
from mindport.validate.network import Network, describe_network, outline_network
from mindport.validate.own.candidate import (
    compare_own,
    final_taps,
    own_notices,
    whereabouts,
    with_lost_weights,
)
from mindport.validate.own.contents import Whereabouts
from mindport.validate.prompting.agreement import compare_prompts, row_tolerance
from mindport.validate.prompting.compare import loads
from mindport.validate.recording.rounding import recall
from mindport.validate.sample import sample_output
from mindport.validate.tap_results import compare_captures
from mindport.validate.tolerance import TolerancePolicy
from mindport.validate.verdict import TapResult, Verdict

NO_WEIGHTS = (
    "the reference's weights are not at hand: taps were compared with the float64 oracle alone; "
    "recomputing each from its own inputs, and the diagnosis, were not run"
)


@dataclass(frozen=True)
class Subject:
    """What both sides ran, and how it is to be judged.

    Attributes:
        case: What is run.
        inputs: What is fed.
        plan: The prompts; None for none.
        config: The resolved config.
        prepared: The plan of the port of the reference's weights; None if those are not at hand.
        left_behind: Tensors of the reference's checkpoint that its head has no use for.
        backend: The candidate's.
        own: Whether the candidate is a network of the user's own.
        imported: Which tool dumped the candidate; empty if it was recorded.
        gradients: Whether gradients are to be compared.
        policy: The tolerance.
        origins: Where the weights came from, by side.
        notices: What a reader should know.
        emulated: The unit that the candidate emulates; empty for none.
        accept: Names of departures of the candidate's platform that are accepted.
    """

    case: SettledCase
    inputs: Mapping[str, np.ndarray]
    plan: Plan | None
    config: Mapping[str, Any]
    prepared: Prepared | None
    left_behind: frozenset[str]
    backend: str
    own: bool
    imported: str
    gradients: bool
    policy: TolerancePolicy
    origins: Mapping[str, str]
    notices: tuple[str, ...]
    emulated: str = ""
    accept: tuple[str, ...] = ()


def conclude(subject: Subject, reference: Capture, candidate: Capture) -> Verdict:
    """Compare two captures in every way that they allow, and judge.

    Args:
        subject: What was run.
        reference: With the oracle.
        candidate: What is judged.

    Raises:
        MindportError: If a departure is to be accepted that is none of the candidate's platform,
            or without the weights that its effect is computed from.
    """
    case, policy, prepared = subject.case, subject.policy, subject.prepared
    architecture = load_architecture(case.architecture)
    head = architecture.heads[case.head]
    if prepared is not None:
        network = describe_network(prepared, subject.inputs, policy.dtype)
    else:
        network = outline_network(architecture, head, subject.config, subject.inputs)
    judged, notices, where = candidate, subject.notices, Whereabouts()
    layers = subject.config[architecture.layers]
    partial = subject.own or subject.imported
    # What lies inside a block may be out of a backend's reach; a notice says so.
    inner = network.details
    required = final_taps(head, layers) if partial else [t for t in case.taps if t not in inner]

    accepted = _accepted(subject, candidate)

    def look_for(capture: Capture) -> tuple[Finding, ...]:
        return recognise(accepted, capture, network.steps, network.setting, policy.precision)

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
                views=_views(subject, network, reference, capture, look_for(capture)),
            )
        )

    if subject.own:
        taps, judged, set_aside = compare_own(candidate, required, compare)
        if prepared is not None:
            where = whereabouts(prepared, judged, policy.dtype)
        notices = own_notices(judged, case.taps, where, set_aside)
        case = replace(case, taps=judged.manifest.taps)  # what it lacks is said in the notices
    else:
        taps = compare(candidate)
    findings = look_for(judged)
    verdict = judge(
        Evidence(
            case=case,
            inputs=describe_inputs(subject.inputs),
            reference=reference,
            candidate=judged,
            left_behind=subject.left_behind,
            taps=taps,
            diagnosis=diagnose(
                taps,
                judged,
                network.steps,
                with_departures(network.setting, findings) or network.setting,
                policy.dtype,
                network.tied,
                matmul=policy.matmul,
            )
            if prepared
            else (),
            gradients=_compare_gradients(subject, reference, judged, taps),
            policy=policy,
            prompt_task=subject.plan.task if subject.plan else "",
            prompts=_compare_prompts(subject.plan, reference, judged, policy, taps)
            if subject.plan
            else None,
            checkpoint=subject.origins,
            notices=notices if prepared else (*notices, NO_WEIGHTS),
            emulation=_emulation(subject.emulated, judged),
            accepted=findings,
        )
    )
    verdict = with_lost_weights(verdict, where)
    if subject.imported:
        said = (
            f"{verdict.headline} (the candidate was imported from {subject.imported}, not recorded)"
        )
        verdict = replace(verdict, headline=said)
    return replace(verdict, sample=sample_output(reference, judged, taps, subject.inputs))


def _views(
    subject: Subject,
    network: Network,
    reference: Capture,
    candidate: Capture,
    findings: Sequence[Finding],
) -> Iterator[Expected]:
    """Yield what every tap should be.

    Raises:
        MindportError: If that takes weights, and they are not at hand.
    """
    policy, prepared = subject.policy, subject.prepared
    setting, own = network.setting, None
    if prepared is None:
        if policy.mixed:
            raise MindportError(
                f"The reference ran in {policy.reference_dtype}, the candidate in {policy.dtype}; "
                "what rounding the weights does can only be told from the weights.",
                "Name them with --checkpoint, or record both sides in one dtype.",
            )
        return recall(reference, network)
    if policy.mixed:
        own = describe_network(prepared, subject.inputs, policy.reference_dtype).setting
    elif platform := with_departures(setting, findings):
        setting, own = platform, setting
    return expect(reference, candidate, network.steps, setting, policy, own)


def _accepted(subject: Subject, candidate: Capture) -> tuple[Departure, ...]:
    ran = candidate.manifest.identity
    found = find_departures(
        subject.accept, framework=ran.framework, device=ran.device, dtype=ran.dtype
    )
    if found and subject.prepared is None:
        raise MindportError(
            "What an accepted departure does is computed from the reference's weights, and those "
            "are not at hand.",
            "Name the weights with --checkpoint, or leave out --accept.",
        )
    return found


def left_behind(prepared: Prepared) -> frozenset[str]:
    """Return the tensors of a checkpoint that its head has no use for."""
    # transformers reports these by their proper spelling, whatever the file says.
    names = {e.source for e in prepared.plan.entries if e.action in ("dropped", "ignored")}
    return frozenset(names | {prepared.plan.source.modern(name) for name in names})


def _emulation(unit: str, judged: Capture) -> Emulation | None:
    return Emulation(find_unit(unit), judged.notes()["beyond_range"]) if unit else None


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
    subject: Subject, reference: Capture, candidate: Capture, taps: Sequence[TapResult]
) -> GradientCheck | None:
    if not subject.gradients:
        return None
    architecture = load_architecture(subject.case.architecture)
    head = architecture.heads[subject.case.head]
    return compare_gradients(
        reference.gradients(),
        candidate.gradients(),
        expected_parameters(architecture, head, subject.config, TORCH),
        DIALECTS[load_backend(subject.backend).DIALECT],
        subject.policy,
        taps_ok=all(tap.ok for tap in taps),
    )
