"""From captures to a verdict: which reason comes first, and what is said of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mindport.prompts import PromptParity
from mindport.validate.backend import LoadReport
from mindport.validate.capture import Capture
from mindport.validate.case import FUSED, SDPA, SettledCase, tap_kinds
from mindport.validate.departures.recognition import Finding
from mindport.validate.departures.telling import (
    accepted_notices,
    accepted_section,
    accepted_words,
)
from mindport.validate.diagnose.causes import CAUSES, UNKNOWN
from mindport.validate.doctor.absence import ARCHITECTURE
from mindport.validate.emulation.prediction import Emulation
from mindport.validate.gradients import GradientCheck
from mindport.validate.launch import NotRun
from mindport.validate.pairs.facts import first_nonfinite
from mindport.validate.tap_results import first_fault
from mindport.validate.tolerance import TolerancePolicy
from mindport.validate.verdict import Diagnosis, Status, TapResult, Verdict

_SHOWN = 3


@dataclass(frozen=True)
class Evidence:
    """All that a judgement rests on.

    Attributes:
        case: What was run.
        inputs: Description of what was fed.
        reference: The reference's capture.
        candidate: The candidate's capture.
        left_behind: Tensors of the reference's checkpoint that its head has no use for; the
            reference may report these as unexpected.
        taps: One result per tap.
        diagnosis: Why the taps at fault are wrong.
        gradients: The gradient check, or None.
        policy: The tolerance used.
        prompt_task: The prompt task's name; empty for none.
        prompts: The prompt check, or None.
        checkpoint: Where the weights came from, by side.
        notices: What a reader should know.
        emulation: What was emulated, if the candidate is an emulation.
        accepted: What became of each accepted departure of the candidate's platform.
    """

    case: SettledCase
    inputs: Mapping[str, Any]
    reference: Capture
    candidate: Capture
    left_behind: Collection[str]
    taps: Sequence[TapResult]
    diagnosis: tuple[Diagnosis, ...]
    gradients: GradientCheck | None
    policy: TolerancePolicy
    prompt_task: str
    prompts: PromptParity | None
    checkpoint: Mapping[str, Any]
    notices: tuple[str, ...]
    emulation: Emulation | None = None
    accepted: tuple[Finding, ...] = ()


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict.

    The first failing level is the headline: identity, load, inputs, taps, gradients, prompts.
    """
    problem = (
        _identity_problem(evidence)
        or _load_problem(evidence)
        or _input_problem(evidence)
        or _tap_problem(evidence)
        or _gradient_problem(evidence.gradients)
        or _prompt_problem(evidence.prompt_task, evidence.prompts)
    )
    fault = first_fault(evidence.taps)
    sides = {"reference": evidence.reference, "candidate": evidence.candidate}
    doubt = _prompt_doubt(evidence.prompt_task, evidence.prompts)
    status: Status = "fail" if problem else "uninformative" if doubt else "pass"
    headline, emulation = problem or doubt or _success(evidence), None
    if evidence.emulation is not None:
        status = "emulated"
        headline = evidence.emulation.headline(
            evidence.taps, problem or doubt, _labels(evidence.prompts)
        )
        emulation = evidence.emulation.section(evidence.taps, within=not (problem or doubt))
    return Verdict(
        verdict=status,
        headline=headline,
        architecture=evidence.case.architecture,
        head=evidence.case.head,
        first_faulty_tap=fault.name if fault else None,
        taps=tuple(evidence.taps),
        diagnosis=evidence.diagnosis,
        gradients=evidence.gradients.to_dict() if evidence.gradients else None,
        first_nonfinite=first_nonfinite({t.name: t.facts for t in evidence.taps if t.facts}),
        policy=asdict(evidence.policy),
        identity={side: asdict(c.manifest.identity) for side, c in sides.items()},
        load={side: asdict(c.manifest.load_report) for side, c in sides.items()},
        checkpoint={
            side: {"origin": evidence.checkpoint[side], "files": dict(c.manifest.weights)}
            for side, c in sides.items()
        },
        inputs={**evidence.inputs, "sha256": dict(evidence.case.inputs)},
        prompts=_prompt_section(evidence.prompt_task, evidence.prompts),
        emulation=emulation,
        accepted=accepted_section(evidence.accepted, evidence.taps),
        notices=evidence.notices
        + accepted_notices(evidence.accepted, evidence.candidate.manifest.identity.version)
        + _tap_notices(evidence)
        + _prompt_notices(evidence.prompts),
        timings={
            side: {**c.manifest.seconds, "peak_memory_bytes": c.manifest.peak_memory_bytes}
            for side, c in sides.items()
        },
        not_compared=_not_compared(evidence),
    )


def not_run(case: SettledCase, reasons: Sequence[NotRun], notices: tuple[str, ...]) -> Verdict:
    """Return the verdict of a case that a side could not run."""
    reasons = [replace(r, hint=r.hint.replace(ARCHITECTURE, case.architecture)) for r in reasons]
    first = reasons[0]
    return Verdict(
        verdict="not-run",
        headline=f"the {first.side} could not run: {first.reason}",
        architecture=case.architecture,
        head=case.head,
        notices=notices,
        not_run=tuple(asdict(reason) for reason in reasons),
        not_compared=case.taps,
    )


def _identity_problem(evidence: Evidence) -> str:
    ours = evidence.reference.manifest.identity
    theirs = evidence.candidate.manifest.identity
    if (ours.framework, ours.device) == (theirs.framework, theirs.device):
        return (
            f"both sides ran {ours.framework} {ours.version} on {ours.device}: "
            "that compares a framework with itself"
        )
    policy = evidence.policy
    for side, identity, asked in (
        ("reference", ours, policy.reference_dtype), ("candidate", theirs, policy.dtype)
    ):  # fmt: skip
        if identity.dtype != asked:
            return f"the {side} ran in {identity.dtype}, not in {asked} as it was asked to"
    return ""


def _load_problem(evidence: Evidence) -> str:
    reference = evidence.reference.manifest.load_report
    surplus = [name for name in reference.unexpected if name not in evidence.left_behind]
    allowed = LoadReport(reference.loaded, reference.missing, tuple(surplus), reference.mismatched)
    candidate = evidence.candidate.manifest.load_report
    for side, report in (("reference", allowed), ("candidate", candidate)):
        if not report.clean:
            return f"the {side}'s weights were not all loaded: {_what_was_lost(report)}"
    return ""


def _what_was_lost(report: LoadReport) -> str:
    parts = [
        _some(report.missing, "missing from the checkpoint, so left at random"),
        _some(report.mismatched, "of another shape, so left at random"),
        _some(report.unexpected, "in the checkpoint without a place in the network"),
    ]
    return "; ".join(part for part in parts if part)


def _some(names: Sequence[str], what: str) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    plural = "parameters" if len(names) > 1 else "parameter"
    return f"{len(names)} {plural} {what} ({', '.join(names[:_SHOWN])}{more})"


def _input_problem(evidence: Evidence) -> str:
    case = evidence.case
    for side, capture in (("reference", evidence.reference), ("candidate", evidence.candidate)):
        manifest = capture.manifest
        for what, fed, meant in (
            ("inputs", manifest.inputs, case.inputs),
            ("targets", manifest.targets, case.targets),
        ):
            if fed != meant:
                changed = sorted(n for n in {*fed, *meant} if fed.get(n) != meant.get(n))
                return f"the {side} was fed other {what} than the case holds: {', '.join(changed)}"
    return ""


def _tap_problem(evidence: Evidence) -> str:
    taps = evidence.taps
    if not taps:
        return "no tap was captured, so nothing was compared"
    fault = first_fault(taps)
    if fault is None:
        return ""
    faulty = sum(1 for tap in taps if not tap.ok)
    said = accepted_words(evidence.accepted, taps)
    said += f"{fault.name} is the first of {faulty} faulty taps: {fault.problem}"
    cause = next(
        (d for d in evidence.diagnosis if d.tap == fault.name and d.cause != UNKNOWN), None
    )
    if cause is not None:
        how = "confirmed" if cause.confirmed else "suspected"
        said += f"; {how} cause: {CAUSES[cause.cause]} ({cause.detail})"
    return said


def _tap_notices(evidence: Evidence) -> tuple[str, ...]:
    notices = []
    hidden = [tap.name for tap in evidence.taps if tap.ok and tap.own_fault]
    if hidden:
        more = f" and {len(hidden) - 1} more taps" if len(hidden) > 1 else ""
        notices.append(
            f"the policy {evidence.policy.name} lets pass what rounding does not explain: "
            f"{hidden[0]}{more}; --policy derived fails there"
        )
    for side, capture in (("reference", evidence.reference), ("candidate", evidence.candidate)):
        if capture.manifest.unstable:
            first = capture.manifest.unstable[0]
            notices.append(
                f"the {side} is not deterministic: the same inputs gave {first} otherwise when run "
                "again"
            )
    absent = _not_compared(evidence)
    if evidence.taps and absent:
        notices.append(
            f"{len(absent)} of {len(evidence.case.taps)} taps were not captured and not compared: "
            f"{tap_kinds(absent)}{_kept_inside(evidence)}"
        )
    return tuple(notices)


def _not_compared(evidence: Evidence) -> tuple[str, ...]:
    compared = {tap.name for tap in evidence.taps}
    return tuple(name for name in evidence.case.taps if name not in compared)


def _kept_inside(evidence: Evidence) -> str:
    """Say which side computes attention in one kernel, which shows nothing of its inside."""
    sides = {"reference": evidence.reference, "candidate": evidence.candidate}
    used = {side: capture.manifest.identity.attention for side, capture in sides.items()}
    found = [f"the {side}'s is {name}" for side, name in used.items() if name in (SDPA, FUSED)]
    if not found:
        return ""
    return f" (attention in one kernel shows no scores and weights; {', '.join(found)})"


def _gradient_problem(gradients: GradientCheck | None) -> str:
    return gradients.problem if gradients is not None else ""


def _prompt_problem(task: str, prompts: PromptParity | None) -> str:
    if prompts is None or prompts.status != "fail":
        return ""
    return f"the prompts of the task {task!r} fail at {prompts.headline}"


def _prompt_doubt(task: str, prompts: PromptParity | None) -> str:
    if prompts is None or prompts.status != "uninformative":
        return ""
    return f"the prompts of the task {task!r} prove nothing: {prompts.headline}"


def _prompt_section(task: str, prompts: PromptParity | None) -> dict[str, Any] | None:
    if prompts is None:
        return None
    return {"task": task, **prompts.to_dict()}


def _prompt_notices(prompts: PromptParity | None) -> tuple[str, ...]:
    return () if prompts is None else prompts.notices


def _success(evidence: Evidence) -> str:
    used = max(tap.used or 0.0 for tap in evidence.taps)
    last = evidence.taps[-1]
    apart = last.facts.max_abs if last.facts else None
    said = accepted_words(evidence.accepted, evidence.taps)
    said += (
        f"all {len(evidence.taps)} taps agree, at {last.name} to {apart:.2g}; "
        f"no tap uses more than {used:.0%} of its tolerance"
    )
    if evidence.gradients is not None:
        said += f"; {evidence.gradients.summary}"
    return said + _labels(evidence.prompts)


def _labels(prompts: PromptParity | None) -> str:
    if prompts is None:
        return ""
    same = prompts.items - len(prompts.flips)
    return f"; {same} of {prompts.items} prompts get the same label"
