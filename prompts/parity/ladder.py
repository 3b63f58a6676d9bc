"""The verdict on two sides' answers: level by level, the first that fails in the headline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.parity import levels as judge
from mindport.prompts.parity.bounds import GapBound
from mindport.prompts.parity.certification import Certification, Flip, certify
from mindport.prompts.parity.evidence import (
    LEVELS,
    Answers,
    Control,
    Floor,
    Level,
    Loads,
    Requirements,
)
from mindport.prompts.parity.power import Power, judge_power
from mindport.prompts.parity.protocols import PlanLike, ScoresLike
from mindport.prompts.parity.rows import measure_rows

Status = Literal["pass", "fail", "uninformative"]

_DEGENERATE = 0.95
_ALARM = 0.05
_FLIPS_SHOWN = 10
_ROOM_KEPT = 1000


@dataclass(frozen=True, eq=False)
class PromptParity:
    """What a comparison found.

    Attributes:
        status: ``fail`` if a level fails; otherwise ``uninformative`` if the prompts could not
            have shown a fault, which is no pass; otherwise ``pass``.
        headline: The first level that fails, the first reason against the prompts, or what was
            shown.
        items: How many.
        levels: All of :data:`LEVELS`, in order.
        power: Whether the prompts could have shown a fault; None if they were not looked at.
        flips: The items with different labels.
        notices: What a reader should know although it decides nothing.
        certification: The figures item by item; None if they were not looked at.
        ids: The items' ids, in the order of the certification.
    """

    status: Status
    headline: str
    items: int
    levels: tuple[Level, ...]
    power: Power | None
    flips: tuple[Flip, ...]
    notices: tuple[str, ...]
    certification: Certification | None
    ids: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it is a pass."""
        return self.status == "pass"

    @property
    def failed(self) -> Level | None:
        """The first level that fails."""
        return next((level for level in self.levels if level.ok is False), None)

    def level(self, name: str) -> Level:
        """Return a level by its name."""
        return next(level for level in self.levels if level.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return what was found as plain values for JSON, no NaN among them.

        Keys: ``status``, ``headline``, ``items``; ``levels``: a list of ``name``, ``ok`` (null if
        not reached), ``finding``, ``figures`` (the keys stand at the functions of
        :mod:`mindport.prompts.parity.levels`); ``power``: the attributes of :class:`Power`, or
        null; ``flips``: the attributes of :class:`Flip`; ``room``: how near to losing its label an
        item was, for at most 1000 items, those of least room first; ``notices``.
        """
        return {
            "status": self.status,
            "headline": self.headline,
            "items": self.items,
            "levels": [level.to_dict() for level in self.levels],
            "power": None if self.power is None else self.power.to_dict(),
            "flips": [flip.to_dict() for flip in self.flips],
            "room": list(self._room()),
            "notices": list(self.notices),
        }

    def _room(self) -> Iterator[dict[str, Any]]:
        found = self.certification
        if found is None:
            return
        flipped = {flip.id for flip in self.flips}
        for item in np.argsort(found.spare, kind="stable")[:_ROOM_KEPT]:
            yield {
                "id": self.ids[item],
                "margin": float(found.room.margins[item]),
                "bound": float(found.room.bounds[item]),
                "moved": float(found.room.moves[item]),
                "certified": bool(found.certified[item]),
                "flipped": self.ids[item] in flipped,
            }

    def to_markdown(self) -> str:
        """Return the headline, a table of the levels, and the first flips."""
        words = {True: "ok", False: "**fail**", None: "not reached"}
        lines = [
            f"**{self.status}**: {self.headline}",
            "",
            "| level | | finding |",
            "|---|---|---|",
        ]
        lines += [f"| {x.name} | {words[x.ok]} | {_cell(x.finding)} |" for x in self.levels]
        if self.flips:
            lines += ["", "| flipped item | true | reference | candidate | margin | bound | |"]
            lines += ["|---|---|---|---|---|---|---|"]
            lines += [
                f"| {_cell(flip.id)}: {_cell(flip.text)} | {_cell(flip.label)} | "
                f"{_cell(flip.reference)} | {_cell(flip.candidate)} | {flip.margin:.2g} | "
                f"{flip.bound:.2g} | {'explained' if flip.explained else '**unexplained**'} |"
                for flip in self.flips[:_FLIPS_SHOWN]
            ]
            if len(self.flips) > _FLIPS_SHOWN:
                lines.append(f"\n… and {len(self.flips) - _FLIPS_SHOWN} more.")
        lines += ["", *(f"- {notice}" for notice in self.notices)] if self.notices else []
        return "\n".join(lines) + "\n"


def compare_scores(
    plan: PlanLike,
    reference: Answers,
    candidate: Answers,
    *,
    loads: Loads,
    requirements: Requirements,
    floor: Floor | None = None,
    control: Control | None = None,
) -> PromptParity:
    """Compare two sides' answers to one plan, level by level.

    The levels, each with what makes it fail:

    1. ``load``: a parameter was not set, or left over.
    2. ``inputs``: the sides answered different plans, or two labels have the same tokens. What
       follows is then not looked at.
    3. ``rows``: a logit differs by more than the tolerance or a multiple of the floor.
    4. ``margins``: fewer items are certified than required.
    5. ``flips``: a label flipped, or a score moved, beyond what the rows explain.
    6. ``distributions``: KL is above what rows at their limit could cause.
    7. ``decisions``: the labels agree significantly less than required.
    8. ``metrics``: the accuracies differ significantly beyond the margin.

    Args:
        plan: What both sides ran.
        reference: The side that is held to be right.
        candidate: The other.
        loads: What became of the weights.
        requirements: Tolerance and limits.
        floor: The reference's rows of some items run one by one, if it was.
        control: The answers of random weights, if they were asked.

    Raises:
        MindportError: If the plan is empty, rows hold NaN or infinity, or floor or control do
            not fit.
        AssertionError: If the comparison contradicts itself.
    """
    if not plan.ids:
        raise MindportError("The plan has no items.", "Compare on one item or more.")
    bound = GapBound.of(plan)
    ours, theirs = reference.scores, candidate.scores
    load = Level("load", loads.clean, loads.finding, {"clean": loads.clean})
    inputs = judge.judge_inputs(plan, reference, candidate, bound)
    if not inputs.ok:
        rest = tuple(Level(name, None, "not reached", {}) for name in LEVELS[2:])
        return _conclude(plan, (load, inputs, *rest), None, (), None)
    facts = measure_rows(plan, reference.rows, candidate.rows, bound)
    apart = judge.measure_floor(plan, reference, floor)
    found = certify(plan, ours, theirs, facts, bound)
    limit = judge.row_limit(facts, requirements, apart)
    levels = (
        load,
        inputs,
        judge.judge_rows(facts, requirements, apart),
        judge.judge_margins(plan, ours, found, requirements),
        judge.judge_flips(found),
        judge.judge_distributions(plan, ours, theirs, found, facts, limit, bound),
        judge.judge_decisions(plan, ours, theirs, found, requirements),
        judge.judge_metrics(plan, ours, theirs, requirements),
    )
    power = judge_power(plan, ours, theirs, found, control)
    return _conclude(plan, levels, power, _notices(plan, ours, theirs, levels, power), found)


def _conclude(
    plan: PlanLike,
    levels: tuple[Level, ...],
    power: Power | None,
    notices: tuple[str, ...],
    found: Certification | None,
) -> PromptParity:
    failed = next((level for level in levels if level.ok is False), None)
    status: Status
    if failed is not None:
        status, headline = "fail", f"{failed.name}: {failed.finding}"
    elif power is None or not power.informative:
        status = "uninformative"
        headline = power.reasons[0] if power else "nothing was compared"
    else:
        status = "pass"
        findings = {level.name: level.finding for level in levels}
        headline = f"{findings['flips']}, and {findings['margins']}"
    flips = found.flips if found else ()
    ids = tuple(plan.ids)
    return PromptParity(status, headline, len(ids), levels, power, flips, notices, found, ids)


def _notices(
    plan: PlanLike,
    reference: ScoresLike,
    candidate: ScoresLike,
    levels: tuple[Level, ...],
    power: Power,
) -> tuple[str, ...]:
    notices = list(power.reasons)
    if not power.control_items:
        notices.append("no control with random weights was run")
    for side, scores in (("reference", reference), ("candidate", candidate)):
        counts = np.bincount(scores.predictions, minlength=len(plan.labels))
        if counts.max() > _DEGENERATE * len(plan.ids):
            notices.append(
                f"the {side} gives {plan.labels[int(counts.argmax())]!r} to {counts.max()} of "
                f"{len(plan.ids)} items"
            )
        if scores.ties:
            notices.append(f"{scores.ties} items have two winners or more on the {side}'s side")
    figures = {level.name: level.figures for level in levels}
    if figures["metrics"]["mcnemar"]["p"] < _ALARM:
        notices.append(
            f"the changes lean to one side (McNemar p = {figures['metrics']['mcnemar']['p']:.2g})"
        )
    if not figures["metrics"]["equivalence"]["equal"]:
        notices.append("the accuracies are not shown to be equal within the margin")
    if figures["rows"]["floor"] is None:
        notices.append("no floor was run: the tolerance of the rows stands alone")
    repeated = len(plan.texts) - len(set(plan.texts))
    if repeated:
        notices.append(f"{repeated} items repeat the text of an earlier one")
    truncated = len(getattr(plan, "truncated_items", ()))
    if truncated:
        notices.append(f"{truncated} items were cut to fit")
    return tuple(notices)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
