"""``prompts compare``: two folders of ``prompts run``, one verdict; no framework is needed."""

from __future__ import annotations

from pathlib import Path

from mindport.migrate.errors import MindportError
from mindport.prompts import PromptParity
from mindport.prompts.parity import Loads
from mindport.validate.capture import Capture
from mindport.validate.prompting.agreement import compare_prompts, usual_tolerance
from mindport.validate.prompting.run import PromptRun


def compare_runs(
    reference: str | Path, candidate: str | Path, *, atol: float | None = None
) -> PromptParity:
    """Compare two runs of the same plan.

    Args:
        reference: Folder of the run that is held to be right.
        candidate: Folder of the other.
        atol: How far a logit may be off; None takes a share of the logits' size that depends on
            the dtype.

    Raises:
        MindportError: If a folder cannot be read, the plans differ, or both sides are the same
            framework on the same device.
    """
    ours, theirs = PromptRun.load(Path(reference)), PromptRun.load(Path(candidate))
    if ours.plan.digest != theirs.plan.digest:
        raise MindportError(
            f"{reference} and {candidate} were asked different things: "
            f"{_difference(ours, theirs)}.",
            "Run both with the same task, checkpoint, demonstrations and limit.",
        )
    sides = ours.capture.manifest.identity, theirs.capture.manifest.identity
    if (sides[0].framework, sides[0].device) == (sides[1].framework, sides[1].device):
        raise MindportError(
            f"Both runs are {sides[0].framework} on {sides[0].device}: that compares a framework "
            "with itself.",
            "Run one of them with another --backend or --device.",
        )
    if atol is None:
        usual = [usual_tolerance(run.capture) for run in (ours, theirs)]
        # In two dtypes the sides err by different amounts, and so do their weights.
        atol = max(usual) if sides[0].dtype == sides[1].dtype else sum(usual)
    return compare_prompts(
        ours.plan, ours.capture, theirs.capture, loads=loads(ours.capture, theirs.capture),
        atol=atol,
    )  # fmt: skip


def loads(reference: Capture, candidate: Capture) -> Loads:
    """Return what became of the weights on both sides."""
    reports = {
        "reference": reference.manifest.load_report,
        "candidate": candidate.manifest.load_report,
    }
    lost = [
        f"the {side} left {len(report.missing) + len(report.mismatched)} parameters at random"
        for side, report in reports.items()
        if report.missing or report.mismatched
    ]
    if lost:
        return Loads(False, "; ".join(lost))
    counts = " and ".join(str(report.loaded) for report in reports.values())
    return Loads(True, f"every parameter was loaded: {counts}")


def _difference(ours: PromptRun, theirs: PromptRun) -> str:
    a, b = ours.plan, theirs.plan
    for name in ("task", "task_version", "template", "tokenizer_hash", "shot_ids", "calibration",
                 "ids", "label_indices", "words"):  # fmt: skip
        if getattr(a, name) != getattr(b, name):
            return f"another {name.replace('_', ' ')}"
    return "other tokens"
