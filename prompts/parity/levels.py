"""The rungs of the ladder, each from what it needs; the keys of the figures are stable."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.metrics import classification_metrics
from mindport.prompts.parity.bounds import GapBound, reach
from mindport.prompts.parity.certification import Certification, hardest
from mindport.prompts.parity.evidence import Answers, Floor, Level, Requirements
from mindport.prompts.parity.protocols import PlanLike, ScoresLike
from mindport.prompts.parity.rows import RowFacts, peak_difference, shape_problem
from mindport.prompts.parity.statistics import (
    accuracy_equivalence,
    cohen_kappa,
    marginal_difference,
    mcnemar,
    paired_bootstrap,
    upper_limit,
    wilson_limits,
)

_NAMED = 10  # items in a list that could hold them all


def judge_inputs(plan: PlanLike, reference: Answers, candidate: Answers, bound: GapBound) -> Level:
    """Did both sides answer one plan, and does the plan tell the labels apart?

    Figures: ``digest``; ``items``, ``calibration_inputs``, ``rows_per_item``, ``labels``,
    ``words`` (counts); ``cancelling_rows`` (rows whose normaliser cancels between labels).
    """
    figures = {
        "digest": plan.digest,
        "items": len(plan.ids),
        "calibration_inputs": len(plan.prior_texts),
        "rows_per_item": plan.rows_per_item,
        "labels": len(plan.labels),
        "words": len(plan.words),
        "cancelling_rows": int(bound.cancels.sum()),
    }
    problem = _input_problem(plan, reference, candidate, bound)
    finding = f"both sides answered {len(plan.ids)} items of one plan, {plan.digest[:12]}"
    return Level("inputs", not problem, problem or finding, figures)


def _input_problem(plan: PlanLike, reference: Answers, candidate: Answers, bound: GapBound) -> str:
    for side, answers in (("reference", reference), ("candidate", candidate)):
        scores = answers.scores
        if scores.plan_digest != plan.digest:
            return f"the scores of the {side} belong to another plan"
        if tuple(scores.labels) != tuple(plan.labels):
            return f"the {side} has other labels: {', '.join(scores.labels)}"
        if scores.label_scores.shape != (len(plan.ids), len(plan.labels)):
            return f"the {side} scored {len(scores.label_scores)} of {len(plan.ids)} items"
    owners: dict[tuple[tuple[int, int], ...], Any] = {}
    for word in plan.words:
        other = owners.setdefault(tuple((row, token) for row, token in word.steps), word)
        if other.label != word.label:
            return f"{other.text!r} and {word.text!r} of different labels are the same tokens"
    problem = shape_problem(plan, reference.rows, candidate.rows, bound)
    return problem[:1].lower() + problem[1:].rstrip(".")


def row_limit(facts: RowFacts, requirements: Requirements, floor: float | None) -> float:
    """Return how far a logit may differ: the tolerance, or the floor times its factor."""
    tolerance = requirements.atol + requirements.rtol * float(facts.largest.max())
    return max(tolerance, requirements.floor_factor * (floor or 0.0))


def measure_floor(plan: PlanLike, reference: Answers, floor: Floor | None) -> float | None:
    """Return the greatest difference of the reference's rows to themselves, None without floor.

    Raises:
        MindportError: If the floor's rows do not fit the reference's.
    """
    if floor is None:
        return None
    items = np.asarray(floor.items, np.int64)
    total = len(plan.ids) + len(plan.prior_texts)
    wanted = (len(items), *reference.rows.shape[1:])
    if floor.rows.shape != wanted or not ((items >= 0) & (items < total)).all() or not len(items):
        raise MindportError(
            f"The floor has rows of shape {floor.rows.shape} for {len(items)} items; "
            f"{wanted} is needed, of items from 0 to {total - 1}."
        )
    peak = max(
        peak_difference(reference.rows[item : item + 1], floor.rows[k : k + 1])
        for k, item in enumerate(items)
    )
    if not np.isfinite(peak):
        raise MindportError("The rows of the floor hold NaN or infinity.")
    return peak


def judge_rows(facts: RowFacts, requirements: Requirements, floor: float | None) -> Level:
    """Are the logits within what rounding may do?

    Figures: ``limit``, ``atol``, ``rtol``, ``floor`` (None if not run), ``floor_factor``;
    ``max`` and ``mean`` (|difference| of a logit), ``label_max`` (of what the labels depend on),
    ``min_cosine``, ``top5_overlap`` and ``top5_same_order`` (shares, mean over rows).
    """
    limit, peak = row_limit(facts, requirements, floor), float(facts.peaks.max())
    figures = {
        "limit": limit,
        "atol": requirements.atol,
        "rtol": requirements.rtol,
        "floor": floor,
        "floor_factor": requirements.floor_factor,
        "max": peak,
        "mean": float(facts.means.mean()),
        "label_max": float(facts.errors.max()),
        "min_cosine": float(facts.cosines.min()),
        "top5_overlap": float(facts.overlaps.mean()),
        "top5_same_order": float(facts.same_order.mean()),
    }
    finding = f"logits differ by {peak:.2g} at most, allowed are {limit:.2g}"
    return Level("rows", peak <= limit, finding, figures)


def judge_margins(
    plan: PlanLike, reference: ScoresLike, found: Certification, requirements: Requirements
) -> Level:
    """Of how many items is it certain that no such error can change the label?

    Figures: ``certified`` (share), ``required``; ``median_margin``; ``median_bound`` (twice the
    median of delta); ``worst_use`` (the greatest share of a bound that was used); ``hardest``
    (``items``, ``certified`` (share), ``agreement``, ``largest_margin`` of the items of smallest
    margin, and the ``ids`` of the first ten), None without any.
    """
    share = float(found.certified.mean())
    chosen = hardest(reference, requirements.hardest)
    flipped = {flip.id for flip in found.flips}
    names = [plan.ids[item] for item in chosen]
    figures = {
        "certified": share,
        "required": requirements.certified,
        "median_margin": float(np.median(reference.margins)),
        "median_bound": float(2 * np.median(found.deltas)),
        "worst_use": float(found.used.max()),
        "hardest": {
            "items": len(chosen),
            "certified": float(found.certified[chosen].mean()),
            "agreement": float(np.mean([name not in flipped for name in names])),
            "largest_margin": float(reference.margins[chosen].max()),
            "ids": names[:_NAMED],
        }
        if len(chosen)
        else None,
    }
    reached = upper_limit(int(found.certified.sum()), len(plan.ids)) >= requirements.certified
    finding = f"{share:.1%} of the labels are certain: no error of this size can change them"
    if not reached:
        finding += f"; {requirements.certified:.1%} are required"
    return Level("margins", reached, finding, figures)


def judge_flips(found: Certification) -> Level:
    """Can the rows account for every label that differs, and for every score?

    Figures: ``count``, ``explained``, ``unexplained``; ``contradictions`` (items of which a gap
    moved beyond its bound, flipped or not).
    """
    count, wrong, beyond = len(found.flips), found.unexplained, found.contradictions
    figures = {
        "count": count,
        "explained": count - wrong,
        "unexplained": wrong,
        "contradictions": beyond,
    }
    if wrong:
        finding = f"{wrong} of {count} flipped labels are beyond what the logits explain"
    elif beyond:
        finding = f"the scores of {beyond} items moved beyond what their logits explain"
    elif count:
        finding = f"{count} labels flipped, each within what its logits explain"
    else:
        finding = "no label flipped"
    return Level("flips", not wrong and not beyond, finding, figures)


def judge_distributions(
    plan: PlanLike,
    reference: ScoresLike,
    candidate: ScoresLike,
    found: Certification,
    facts: RowFacts,
    limit: float,
    bound: GapBound,
) -> Level:
    """Are the label distributions as near as the allowed difference of the rows makes them?

    The row level may fail for words that no label uses; this one then tells whether it matters.

    Figures: ``max_kl_allowed`` (what rows at the limit could do); ``kl`` and ``js`` (``mean``,
    ``p95``, ``max``, in nats); ``max_probability_difference``; ``label_shares`` (by label, the
    candidate's share of predictions less the reference's).
    """
    first = reach(plan, np.full_like(facts.errors, limit), slice(0, 1), bound)
    allowed = float((first.max() / 2) ** 2 / 2)
    shares = marginal_difference(reference.predictions, candidate.predictions, len(plan.labels))
    figures = {
        "max_kl_allowed": allowed,
        "kl": _spread(found.kl),
        "js": _spread(found.js),
        "max_probability_difference": float(found.shifts.max()),
        "label_shares": dict(zip(plan.labels, shares.tolist(), strict=True)),
    }
    rounding = 1e-9  # a KL of float64 log-probabilities is no better
    worst = float(found.kl.max())
    finding = f"KL is {worst:.2g} nats at most, allowed are {allowed:.2g}"
    return Level("distributions", worst <= allowed + rounding, finding, figures)


def judge_decisions(
    plan: PlanLike,
    reference: ScoresLike,
    candidate: ScoresLike,
    found: Certification,
    requirements: Requirements,
) -> Level:
    """How often do both sides give the same label?

    Figures: ``agreement``, ``required``; ``kappa`` (None if undefined); ``flip_rate_upper``
    (one-sided 95 % Clopper-Pearson limit).
    """
    count, flips = len(plan.ids), len(found.flips)
    upper = upper_limit(flips, count)
    figures = {
        "agreement": 1 - flips / count,
        "required": requirements.agreement,
        "kappa": cohen_kappa(reference.predictions, candidate.predictions, len(plan.labels)),
        "flip_rate_upper": upper,
    }
    finding = (
        f"{count - flips} of {count} labels agree; at 95 % confidence at most {upper:.2%} of such "
        "items flip"
    )
    enough = upper_limit(count - flips, count) >= requirements.agreement
    if not enough:
        finding += f"; an agreement of {requirements.agreement:.1%} is required"
    return Level("decisions", enough, finding, figures)


def judge_metrics(
    plan: PlanLike, reference: ScoresLike, candidate: ScoresLike, requirements: Requirements
) -> Level:
    """Do both sides do the task equally well?

    Fails if the interval of the difference in accuracy lies wholly beyond the margin.

    Figures: ``reference`` and ``candidate`` (:class:`ClassificationMetrics`, and
    ``accuracy_interval``, Wilson's); ``accuracy_difference`` and ``macro_f1_difference``
    (``estimate``, ``low``, ``high``: paired bootstrap, 95 %); ``equivalence`` (``margin``,
    ``equal``, ``low``, ``high``, ``method``: two one-sided tests at 5 %); ``mcnemar``
    (``only_reference_right``, ``only_candidate_right``, ``p``: an alarm for bias only).
    """
    truth, count = np.asarray(plan.label_indices, np.int64), len(plan.labels)
    ours, theirs = reference.predictions, candidate.predictions
    boot = paired_bootstrap(truth, ours, theirs, count)
    equal = accuracy_equivalence(
        ours == truth, theirs == truth, boot["accuracy"], requirements.metric_margin
    )
    alone = int(((ours == truth) & (theirs != truth)).sum())
    other = int(((theirs == truth) & (ours != truth)).sum())
    figures: dict[str, Any] = {}
    for side, scores in (("reference", reference), ("candidate", candidate)):
        right = int((scores.predictions == truth).sum())
        figures[side] = classification_metrics(
            tuple(plan.labels), truth, scores.predictions, scores.label_log_probabilities
        ).to_dict() | {"accuracy_interval": list(wilson_limits(right, len(truth)))}
    for name, difference in boot.items():
        figures[f"{name}_difference"] = {
            key: getattr(difference, key) for key in ("estimate", "low", "high")
        }
    figures["equivalence"] = asdict(equal)
    figures["mcnemar"] = {
        "only_reference_right": alone,
        "only_candidate_right": other,
        "p": mcnemar(alone, other),
    }
    shift = boot["accuracy"]
    ok = shift.low <= requirements.metric_margin and shift.high >= -requirements.metric_margin
    finding = (
        f"accuracy {figures['reference']['accuracy']:.3f} and "
        f"{figures['candidate']['accuracy']:.3f}, "
        + ("equal" if equal.equal else "not shown to be equal" if ok else "different")
        + f" within {requirements.metric_margin:g}"
    )
    return Level("metrics", ok, finding, figures)


def _spread(values: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "p95": float(np.quantile(values, 0.95)),
        "max": float(values.max()),
    }
