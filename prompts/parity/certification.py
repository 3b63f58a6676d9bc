"""Which labels cannot flip, and whether those that did had any right to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.parity.bounds import GapBound, reach
from mindport.prompts.parity.protocols import PlanLike, ScoresLike
from mindport.prompts.parity.rows import RowFacts, blocks

_EPS = float(np.finfo(np.float64).eps)
_TEXT_SHOWN = 80


@dataclass(frozen=True)
class Flip:
    """An item that the two sides label differently.

    Attributes:
        id: The item's id.
        text: Its text, shortened.
        label: Its true label.
        reference: The reference's label.
        candidate: The candidate's label.
        margin: The reference's score of its own label above that of the candidate's label.
        bound: How far that gap may move, given the rows.
        error: The greatest error of the item's rows.
        explained: Whether the candidate's own scores prefer its label, and the gap moved within
            the bound (then so is the margin). If not, the labels contradict the rows: a fault of
            scoring, ordering or tokenisation, not of rounding.
    """

    id: str
    text: str
    label: str
    reference: str
    candidate: str
    margin: float
    bound: float
    error: float
    explained: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Room:
    """How much room a label has: its gap to the rival that comes nearest to taking its place.

    Attributes:
        margins: float64 (N,): the reference's score of its label above that of the rival.
        bounds: float64 (N,): how far that gap may move, given the rows.
        moves: float64 (N,): how far it did move.
    """

    margins: np.ndarray
    bounds: np.ndarray
    moves: np.ndarray


@dataclass(frozen=True, eq=False)
class Certification:
    """What the bounds say of every item; all arrays are in the order of the plan's items.

    Attributes:
        certified: bool (N,): no difference of the size that the rows have can change the
            reference's label.
        spare: float64 (N,): by how much the reference's label is safe, over all rivals; certified
            is above 0.
        deltas: float64 (N,): half of what any gap between labels may move.
        used: float64 (N,): the greatest share of a bound, rounding included, that the gap between
            the reference's label and another did move. Above 1 contradicts the rows.
        kl: float64 (N,): KL(reference || candidate) of the label distributions, in nats.
        js: float64 (N,): their Jensen-Shannon divergence, in nats.
        shifts: float64 (N,): the greatest difference of a label's probability.
        flips: The items with different labels.
        room: Of the reference's label, beside the rival that has the least ``spare``.
    """

    certified: np.ndarray
    spare: np.ndarray
    deltas: np.ndarray
    used: np.ndarray
    kl: np.ndarray
    js: np.ndarray
    shifts: np.ndarray
    flips: tuple[Flip, ...]
    room: Room

    @property
    def unexplained(self) -> int:
        """How many flips the rows cannot account for."""
        return sum(not flip.explained for flip in self.flips)

    @property
    def contradictions(self) -> int:
        """How many items have a gap that moved beyond its bound, flipped or not."""
        return int((self.used > 1).sum())


def certify(
    plan: PlanLike,
    reference: ScoresLike,
    candidate: ScoresLike,
    facts: RowFacts,
    bound: GapBound | None = None,
) -> Certification:
    """Hold two sides' scores against the bounds that follow from their rows.

    An item is certified if the reference's label is ahead of every other by more than the bound
    of that gap and what float64 may round. If no gap moves by more than 2 d, the change of the
    label scores lies, up to a shift that does not count, in [-d, d], and for the label
    distributions p (reference) and q:

    - KL(p || q) <= d^2 / 2. It is log E exp(D) - E D for the change D under p: Hoeffding's lemma
      for an interval of length 2 d.
    - max |p - q| <= tanh(d / 2) <= d / 2. The log odds of a label move by at most 2 d, and the
      logistic function moves farthest around 0, from -d to d.
    - JS(p, q) <= d^2 / 8. The generator of JS has at most an eighth of the second derivative of
      that of KL(p || q) + KL(q || p), x / (2 (x + 1)^2) of it, and the latter is at most d^2.

    All three are checked here, since a violation would be a bug.

    Args:
        plan: What both sides ran.
        reference: The side that is held to be right.
        candidate: The other.
        facts: Their rows against each other.
        bound: ``GapBound.of(plan)``, if it is at hand.

    Raises:
        MindportError: If the scores do not fit the plan.
        AssertionError: If the label distributions contradict the rows.
    """
    for side, scores in (("reference", reference), ("candidate", candidate)):
        if scores.plan_digest != plan.digest:
            raise MindportError(
                f"The scores of the {side} belong to another plan.", "Score both with one plan."
            )
    bound = GapBound.of(plan) if bound is None else bound
    count, labels = len(plan.ids), len(plan.labels)
    rounding = _rounding(plan, facts, bound)
    deltas = np.zeros(count)
    limits = np.zeros((count, labels))  # how far the winner's gap to each label may move
    for part in blocks(count, bound.factors.shape[1] ** 2):
        gaps = reach(plan, facts.errors, part, bound)
        deltas[part] = gaps.max(axis=(1, 2)) / 2
        winners = reference.predictions[part, None, None]
        limits[part] = np.take_along_axis(gaps, winners, axis=1)[:, 0]
    limits += rounding[:, None] + 16 * _EPS * limits
    ahead = _ahead(reference, reference.predictions)
    rivals = np.arange(labels) != reference.predictions[:, None]
    spares = np.where(rivals, ahead - limits, np.inf)
    nearest = spares.argmin(axis=1)[:, None]
    spare = np.take_along_axis(spares, nearest, axis=1)[:, 0]
    after = _ahead(candidate, reference.predictions)
    moved = np.abs(ahead - after)
    used = np.where(rivals, moved / limits, 0).max(axis=1)
    kl, js, shifts = _distances(reference, candidate)
    _check_distances(plan, deltas, rounding, {"KL": kl, "JS": js, "|dp|": shifts})
    flips = tuple(
        Flip(
            id=plan.ids[item],
            text=_shorten(plan.texts[item]),
            label=plan.labels[plan.label_indices[item]],
            reference=plan.labels[reference.predictions[item]],
            candidate=plan.labels[label],
            margin=float(ahead[item, label]),
            bound=float(limits[item, label]),
            error=float(facts.errors[item].max()),
            explained=bool(after[item, label] <= 0 and moved[item, label] <= limits[item, label]),
        )
        for item, label in enumerate(candidate.predictions)
        if label != reference.predictions[item]
    )
    room = Room(*(np.take_along_axis(x, nearest, axis=1)[:, 0] for x in (ahead, limits, moved)))
    return Certification(spare > 0, spare, deltas, used, kl, js, shifts, flips, room)


def hardest(scores: ScoresLike, count: int) -> np.ndarray:
    """Return the items of smallest margin, smallest first: where a small error shows first.

    Args:
        scores: The reference's.
        count: At most so many.

    Returns:
        int64 (count,), or fewer if there are fewer items.
    """
    return np.argsort(scores.margins, kind="stable")[: max(count, 0)].astype(np.int64)


def _ahead(scores: ScoresLike, winners: np.ndarray) -> np.ndarray:
    """Return how far each winner's score is above each label's, (items, labels)."""
    best = np.take_along_axis(scores.label_scores, winners[:, None], axis=1)
    return np.asarray(best - scores.label_scores)


def _rounding(plan: PlanLike, facts: RowFacts, bound: GapBound) -> np.ndarray:
    """Return what float64 may round in the gap of two labels, both sides together; (N,).

    A step of a word is a logit less a normaliser: a few roundings at the size of the logits, and
    one per column in the sum (worst case: they are added one after the other). A word has as
    many steps as the weights say, and sums over words, labels and priors are far shorter.
    """
    count = len(plan.ids)
    largest = facts.largest[:count]
    if len(facts.largest) > count:
        largest = np.maximum(largest, facts.largest[count:].max())
    steps = max(1.0, float(bound.weights.sum(axis=0).max())) + len(plan.prior_texts)
    terms = facts.width + len(plan.words) + len(plan.labels)
    return np.asarray(4 * _EPS * steps * (terms + 8 * (1 + largest)))


def _distances(
    reference: ScoresLike, candidate: ScoresLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return KL, JS and the greatest difference of a probability, item by item."""
    p, q = reference.label_log_probabilities, candidate.label_log_probabilities
    middle = np.logaddexp(p, q) - np.log(2)
    kl = (np.exp(p) * (p - q)).sum(axis=1)
    js = ((np.exp(p) * (p - middle)).sum(axis=1) + (np.exp(q) * (q - middle)).sum(axis=1)) / 2
    # Below 0 only by rounding.
    return np.maximum(kl, 0), np.maximum(js, 0), np.abs(np.exp(p) - np.exp(q)).max(axis=1)


def _check_distances(
    plan: PlanLike, deltas: np.ndarray, rounding: np.ndarray, values: dict[str, np.ndarray]
) -> None:
    limits = {"KL": deltas**2 / 2, "JS": deltas**2 / 8, "|dp|": np.tanh(deltas / 2)}
    for name, value in values.items():
        beyond = np.flatnonzero(~(value <= limits[name] * (1 + 64 * _EPS) + rounding))
        if beyond.size:
            item = beyond[0]
            raise AssertionError(
                f"{name} of item {plan.ids[item]!r} is {value[item]}, above its bound "
                f"{limits[name][item]}: the scores do not follow from the rows"
            )


def _shorten(text: str) -> str:
    return text if len(text) <= _TEXT_SHOWN else f"{text[: _TEXT_SHOWN - 1]}…"
