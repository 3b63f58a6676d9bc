"""Did two sides learn the same? Curves, prompts and labels, held against what rounding does.

Two correct trainings do not stay together: each gradient is off by rounding, Adam passes that on
(where a gradient is next to nothing even its sign is), and every step starts from what the one
before left. How fast they part depends on network, method and rate, so no fixed tolerance is
right. It is measured: the reference is trained again in ways that are as correct as the first (in
float64; in another order of summation; with learned numbers a unit in the last place off; see
:mod:`mindport.prompts.learning.variants`), and how far these part from the first is the *floor*.
The candidate may part by ``FACTOR`` times as much.

The factor: the floor is the largest of three random departures, none of which knows the
candidate's kernels. Correct candidates were up to about six times as far, and a learning rate that
is wrong by a thousandth is caught with room to spare; ``docs/learning.md`` has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.learning.findings import LabelFlip, LearningParity, Measure
from mindport.prompts.learning.result import LearningResult
from mindport.prompts.learning.triggers import Divergence, first_divergence

FACTOR = 32.0
# Before anything has parted: a few units in the last place of float32 numbers of this size.
_UNITS = 64 * float(np.finfo(np.float32).eps)
# Beyond this share of what the curve moves by, a tolerance says nothing any more.
_BLURRED = 0.2


def compare_results(
    reference: LearningResult,
    candidate: LearningResult,
    floors: Sequence[tuple[str, LearningResult]],
    *,
    factor: float = FACTOR,
) -> LearningParity:
    """Compare two trainings that began alike.

    Args:
        reference: The side that is held to be right.
        candidate: The other.
        floors: Other correct trainings of the reference, with what was done otherwise.
        factor: What the floor is multiplied by.

    Raises:
        MindportError: If there is no floor, or the trainings were not fed the same.
    """
    if not floors:
        raise MindportError("There is no floor to judge two trainings by.", "Train the reference "
                            "in another order, or in float64, as well.")  # fmt: skip
    for side in (candidate, *(floor for _, floor in floors)):
        if side.data_digest != reference.data_digest or side.settings != reference.settings:
            raise MindportError(
                "The trainings were not given the same data and settings.",
                "Compare results of one `learn`.",
            )
    comparison = _Comparison(reference, candidate, [floor for _, floor in floors], factor)
    parity = comparison.judge()
    return replace(parity, floors=tuple(name for name, _ in floors))


class _Comparison:
    def __init__(
        self,
        reference: LearningResult,
        candidate: LearningResult,
        floors: Sequence[LearningResult],
        factor: float,
    ) -> None:
        self._reference, self._candidate = reference, candidate
        self._floors, self._factor = floors, factor

    def judge(self) -> LearningParity:
        reference, candidate = self._reference, self._candidate
        compared = self._comparable(candidate)
        difference, allowed, floor = self._curves(compared)
        divergence = None
        if compared < min(len(reference.losses), len(candidate.losses)):
            at = compared - 1
            divergence = first_divergence(
                reference.records[at], candidate.records[at], float(allowed[at])
            )
        use = difference / allowed
        worst = int(np.nanargmax(np.where(np.isnan(use), np.inf, use)))
        measures = [
            self._gradients(),
            Measure("loss curve", *(float(f[worst]) for f in (difference, floor, allowed))),
        ]
        blurred = np.flatnonzero(allowed > _BLURRED * np.ptp(reference.losses))
        flips: tuple[LabelFlip, ...] = ()
        if divergence is None:
            measures.append(self._prompts())
            measures.append(self._answers())
            flips = self._flips(measures[-1].allowed)
        problem = self._problem(measures, worst, divergence, flips)
        same = reference.after.predictions == candidate.after.predictions
        a, b = _flat(reference), _flat(candidate)
        norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
        return LearningParity(
            ok=not problem,
            problem=problem,
            steps=len(reference.losses),
            compared=compared,
            informative=not len(blurred) or int(blurred[0]) * 2 >= len(reference.losses),
            blurred_from=int(blurred[0]) + 1 if len(blurred) else None,
            measures=tuple(measures),
            worst_step=worst + 1,
            cosine=float(a @ b / (norms[0] * norms[1])),
            norm_ratio=norms[1] / norms[0],
            divergence=divergence,
            agreement=float(same.mean()),
            flips=flips,
            reference=_summary(reference),
            candidate=_summary(candidate),
            floors=(),
            factor=self._factor,
        )

    def _comparable(self, other: LearningResult) -> int:
        """Return how many steps began with the same trigger tokens: all, but for AutoPrompt."""
        count = min(len(self._reference.records), len(other.records))
        pairs = zip(self._reference.triggers(), other.triggers(), strict=False)
        for step, (mine, theirs) in enumerate(pairs):
            if mine != theirs:
                return step + 1
        return count

    def _curves(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return, by step, how far the curves are apart, may be apart, and correct ones are."""
        mine = self._reference.losses
        floor = np.zeros(len(mine))
        for other in self._floors:
            steps = self._comparable(other)
            apart = np.abs(other.losses[:steps] - mine[:steps])
            floor[:steps] = np.maximum(floor[:steps], apart)
        floor = np.maximum.accumulate(floor)  # noise that has been made is not unmade
        allowed = self._factor * floor + _UNITS * (1 + np.abs(mine))
        difference = np.abs(self._candidate.losses[:count] - mine[:count])
        return difference, allowed[:count], floor[:count]

    def _gradients(self) -> Measure:
        """Compare the first step, where both sides are still at the very same place."""
        mine = self._reference.first_gradients
        size = float(np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in mine.values())))

        def apart(other: LearningResult) -> float:
            theirs = other.first_gradients
            if {k: v.shape for k, v in theirs.items()} != {k: v.shape for k, v in mine.items()}:
                return float("inf")
            squares = (((mine[k].astype(np.float64) - theirs[k]) ** 2).sum() for k in mine)
            return float(np.sqrt(sum(squares))) / (size or 1.0)

        floor = max(apart(other) for other in self._floors)
        allowed = self._factor * floor + _UNITS
        return Measure("first gradient", apart(self._candidate), floor, allowed)

    def _prompts(self) -> Measure:
        """Compare what was learned, beside its own size."""
        mine = _flat(self._reference)
        size = float(np.linalg.norm(mine))

        def apart(other: LearningResult) -> float:
            theirs = _flat(other)
            if theirs.shape != mine.shape:
                return float("inf")
            return float(np.linalg.norm(theirs - mine)) / size

        floor = max(map(apart, self._same_triggers()), default=0.0)
        allowed = self._factor * floor + _UNITS
        return Measure("learned prompt", apart(self._candidate), floor, allowed)

    def _answers(self) -> Measure:
        """Compare the label logits of the held-out rows."""
        mine = self._reference

        def apart(other: LearningResult) -> float:
            return float(np.abs(other.after.logits - mine.after.logits).max())

        same = self._same_triggers()
        floor = max(float(np.abs(other.before.logits - mine.before.logits).max())
                    for other in self._floors)  # fmt: skip
        floor = max([floor, *map(apart, same)])
        allowed = self._factor * floor + _UNITS * float(np.abs(mine.after.logits).max())
        return Measure("label logits", apart(self._candidate), floor, allowed)

    def _same_triggers(self) -> list[LearningResult]:
        mine = self._reference.triggers()
        return [other for other in self._floors if other.triggers() == mine]

    def _flips(self, allowed: float) -> tuple[LabelFlip, ...]:
        mine, theirs = self._reference.after, self._candidate.after
        labels, ids = self._reference.labels, self._reference.item_ids
        return tuple(
            LabelFlip(
                id=ids[item],
                reference=labels[mine.predictions[item]],
                candidate=labels[theirs.predictions[item]],
                margin=float(mine.margins[item]),
                explained=bool(mine.margins[item] <= 2 * allowed),
            )
            for item in np.flatnonzero(mine.predictions != theirs.predictions)
        )

    def _problem(
        self,
        measures: Sequence[Measure],
        worst: int,
        divergence: Divergence | None,
        flips: Sequence[LabelFlip],
    ) -> str:
        for measure in measures:
            if not measure.ok:
                where = f" in step {worst + 1}" if measure.name == "loss curve" else ""
                return (
                    f"the {measure.name} differs by {measure.difference:.2g}{where}, where "
                    f"rounding allows {measure.allowed:.2g}"
                )
        if divergence is not None and not divergence.explained:
            return f"the trigger tokens part in step {divergence.step}: {divergence.reason}"
        unexplained = sum(not flip.explained for flip in flips)
        if unexplained:
            return f"{unexplained} labels differ by more than their margins explain"
        if divergence is None and not self._ends_alike():
            return (
                f"the reference ends with step {self._reference.best_step}, the candidate with "
                f"step {self._candidate.best_step}"
            )
        return ""

    def _ends_alike(self) -> bool:
        """Return whether both took the prompt of the same step, or correct runs do not either."""
        steps = {self._reference.best_step, *(other.best_step for other in self._floors)}
        return self._candidate.best_step in steps


def _flat(result: LearningResult) -> np.ndarray:
    return np.concatenate(
        [array.astype(np.float64).ravel() for _, array in sorted(result.learned.items())]
    )


def _summary(result: LearningResult) -> dict[str, Any]:
    return {
        "first_loss": result.records[0].loss,
        "last_loss": result.records[-1].loss,
        "best_step": result.best_step,
        "before": result.before.to_dict(),
        "after": result.after.to_dict(),
        "tokens": list(result.tokens),
    }
