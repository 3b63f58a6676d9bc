"""How far label scores may move when logits move: the bounds that certify a label.

Let x be a row of logits, and e the greatest difference between the two sides in it. For a word w
let k(w, r) be the weight with which log-probabilities of row r enter its score: the number of its
tokens there, divided by its divisor. A token that two words both take from r adds the same to
both; o(w, v, r) is the weight that they have in common in this way.

**Words.** The gap of two words moves by at most

    G(w, v) = sum over r of 2 e_r (max(k(w, r), k(v, r)) - o(w, v, r)).

Proof. In the gap, row r stands as a sum of token logits with weights c_t, less (k_w - k_v) times
the row's normaliser log sum exp x. Let k_w >= k_v. The positive c_t add up to k_w - o and the
negative ones to k_v - o; each token's logit moves by at most e. The normaliser moves by at most
e as well, for log sum exp is monotone and moves by s if all logits do. Together that is
(k_w - o) + (k_v - o) + (k_w - k_v) = 2 (k_w - o) times e. It is reached as the words' own
probabilities go to 0. If k_w = k_v the normaliser is not there at all, and e need only cover the
tokens that words take; such a row is called *cancelling* if this holds for every pair.

So: 2e for one token per label; for T tokens at most 2e at the first row, which all words share,
and 2e at each further row of either word, (4T - 2) e together; and 4e for sums divided by T.
Words that begin alike cost nothing for what they share.

**Labels.** The gap of two labels moves by at most

- ``mean_log``, ``first``: G again, with the mean of the words' weights (or the first word) for a
  label, since the score is linear in the words' scores;
- ``max``, ``sum_prob``: the greatest G(w, v) over a word w of the one and v of the other.
  Proof for the sum: exp(s'_w) exp(s_v) <= exp(G) exp(s_w) exp(s'_v) for every such pair; add up
  over w and v and take logarithms. For the maximum: the winner w of the one label before, and
  the winner v of the other after, bound the gap from both ends.

**Calibration** adds what the prior inputs may move:

- ``pmi``: every word's score has a second such sum subtracted, so e_r + e'_r stands for e_r;
- ``contextual``, ``domain``: the log of the mean over prior inputs c of the label's share p_c is
  subtracted. Let B_c(a, b) be the bound of the labels' gap at c.

  - One input: that log is the label's score at c up to a shift, so B_c(a, b) is added.
  - Two labels: max over c of B_c(a, b). Proof: p_c is a logistic function of the gap z_c. Move
    all gaps by t; the derivative of logit(mean p_c) is mean(p (1 - p)) / (P (1 - P)) with P =
    mean p_c, at most 1 since x (1 - x) is concave (Jensen).
  - Three labels or more, several inputs: M(a) + M(b), where M(a) is the greatest B_c(a, j) over
    c and j. Proof: log p_c(a) = -log sum over j of exp(gap of j and a) moves by at most
    max over j of B_c(a, j), and the log of a mean no farther than the greatest of its terms. For
    one-token labels it is 4e. It is nearly reached when a has its share at one input and b at
    another, and a third label most of both (``tests/prompts/parity/test_bounds.py``).

Every statement is about the exact score; :mod:`mindport.prompts.parity.certification` adds what
float64 may round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.parity.protocols import PlanLike, WordLike

# The two of 2e: a gap's two logits move against each other, or a logit and its normaliser do.
GAP = 2.0
# Several prior inputs and three labels: how much of M(a) + M(b) is added.
PRIORS = 1.0

_LINEAR = ("mean_log", "first")
_AGGREGATES = (*_LINEAR, "max", "sum_prob")

# A token's weight in the score of a word or label, by row and token.
_Weights = dict[tuple[int, int], Fraction]


@dataclass(frozen=True, eq=False)
class GapBound:
    """A plan's bounds, as factors of the errors of an item's rows.

    A unit is what the score is linear in: a label for ``mean_log`` and ``first``, otherwise a
    word. Units stand label by label.

    Attributes:
        factors: float64 (rows, units, units): by how many times its error a row may move the gap
            of two units.
        starts: int64 (labels,): each label's first unit.
        cancels: bool (rows,): whether the row's normaliser cancels between all units.
        columns: For each row, the tokens that units take from it, int64, ascending.
        weights: float64 (rows, units): k of the module's text.
    """

    factors: np.ndarray
    starts: np.ndarray
    cancels: np.ndarray
    columns: tuple[np.ndarray, ...]
    weights: np.ndarray

    @classmethod
    def of(cls, plan: PlanLike) -> GapBound:
        """Read a plan's words.

        Raises:
            MindportError: If the aggregate is unknown, a label has no words, a divisor is not
                above 0, or a step is outside the item's rows.
        """
        units, starts = _units(plan)
        rows = plan.rows_per_item
        factors = np.zeros((rows, len(units), len(units)))
        weights = np.zeros((rows, len(units)))
        cancels = np.zeros(rows, bool)
        columns = []
        for row in range(rows):
            takers: dict[int, list[tuple[int, Fraction]]] = {}
            for unit, tokens in enumerate(units):
                for (place, token), weight in tokens.items():
                    if place == row:
                        takers.setdefault(token, []).append((unit, weight))
            totals = [Fraction(0)] * len(units)
            common = np.zeros((len(units), len(units)))
            for taker in takers.values():
                for unit, weight in taker:
                    totals[unit] += weight
                who = [unit for unit, _ in taker]
                sizes = np.array([float(weight) for _, weight in taker])
                common[np.ix_(who, who)] += np.minimum.outer(sizes, sizes)
            weights[row] = [float(total) for total in totals]
            # Below 0 only by rounding.
            apart = np.maximum(np.maximum.outer(weights[row], weights[row]) - common, 0)
            np.fill_diagonal(apart, 0)
            factors[row] = GAP * apart
            cancels[row] = len(set(totals)) == 1
            columns.append(np.array(sorted(takers), np.int64))
        return cls(factors, starts, cancels, tuple(columns), weights)

    def errors(self, differences: np.ndarray) -> np.ndarray:
        """Return the error of each row: what its factor is to be multiplied by.

        Args:
            differences: (items, rows, vocabulary), of any sign.

        Returns:
            float64 (items, rows): the greatest |difference| among the tokens that units take
            where the row cancels, of the whole row where it does not.
        """
        result = np.zeros(differences.shape[:2])
        for row, columns in enumerate(self.columns):
            if columns.size:
                part = differences[:, row, columns if self.cancels[row] else slice(None)]
                result[:, row] = np.abs(part).max(axis=1)
        return result

    def label_gaps(self, errors: np.ndarray) -> np.ndarray:
        """Return how far the gap of any two labels may move, before calibration.

        Args:
            errors: float64 (items, rows).

        Returns:
            float64 (items, labels, labels), symmetric, 0 on the diagonal.
        """
        gaps = np.tensordot(errors, self.factors, axes=1)
        if len(self.starts) < self.factors.shape[1]:
            gaps = np.maximum.reduceat(gaps, self.starts, axis=1)
            gaps = np.maximum.reduceat(gaps, self.starts, axis=2)
            gaps[:, np.arange(len(self.starts)), np.arange(len(self.starts))] = 0
        return np.asarray(gaps)


def prior_gaps(gaps: np.ndarray) -> np.ndarray:
    """Return how far the prior's part of a calibrated gap may move (contextual and domain).

    Args:
        gaps: float64 (..., inputs, labels, labels), :meth:`GapBound.label_gaps` of the prior
            inputs.

    Returns:
        float64 (..., labels, labels).
    """
    inputs, labels = gaps.shape[-3:-1]
    worst = np.asarray(gaps.max(axis=-3))
    if inputs == 1 or labels == 2:
        return worst
    alone = worst.max(axis=-1)  # M(a)
    both = PRIORS * (alone[..., :, None] + alone[..., None, :])
    both[..., range(labels), range(labels)] = 0
    return np.asarray(both)


def reach(
    plan: PlanLike, errors: np.ndarray, items: slice = slice(None), bound: GapBound | None = None
) -> np.ndarray:
    """Return how far the gap of any two label scores may move, item by item.

    An item that one side gives to label a cannot go to label b on the other side if its score of
    a is above that of b by more than the bound of (a, b).

    Args:
        plan: What both sides ran.
        errors: float64 (N + C, rows), of :func:`mindport.prompts.parity.row_errors`.
        items: Which of the N items.
        bound: ``GapBound.of(plan)``, if it is at hand.

    Returns:
        float64 (items, labels, labels), symmetric, 0 on the diagonal.

    Raises:
        MindportError: If the errors do not fit the plan, or the calibration is unknown or lacks
            its inputs.
    """
    count, priors = len(plan.ids), len(plan.prior_texts)
    if errors.shape != (count + priors, plan.rows_per_item):
        raise MindportError(
            f"The errors have shape {errors.shape}, but the plan has {count} items, {priors} "
            f"calibration inputs and {plan.rows_per_item} rows each."
        )
    bound = GapBound.of(plan) if bound is None else bound
    own, prior = errors[:count][items], errors[count:]
    if plan.calibration == "none":
        return bound.label_gaps(own)
    if plan.calibration == "pmi" and priors == 1:
        return bound.label_gaps(own + prior)
    if plan.calibration in ("contextual", "domain") and priors:
        both: np.ndarray = bound.label_gaps(own) + prior_gaps(bound.label_gaps(prior))
        return both
    raise MindportError(
        f"No bound is known for the calibration {plan.calibration!r} with {priors} inputs.",
        "Known: none; pmi with one input; contextual and domain with one or more.",
    )


def _units(plan: PlanLike) -> tuple[list[_Weights], np.ndarray]:
    if plan.aggregate not in _AGGREGATES:
        raise MindportError(
            f"No bound is known for the aggregate {plan.aggregate!r}.",
            f"Known: {', '.join(_AGGREGATES)}.",
        )
    _check_words(plan)
    units: list[_Weights] = []
    starts = []
    for label in range(len(plan.labels)):
        words = [word for word in plan.words if word.label == label]
        starts.append(len(units))
        if plan.aggregate == "first":
            words = words[:1]
        together = [words] if plan.aggregate in _LINEAR else [[word] for word in words]
        units += [_mean(part) for part in together]
    return units, np.array(starts, np.int64)


def _check_words(plan: PlanLike) -> None:
    labels: Mapping[int, str] = dict(enumerate(plan.labels))
    without = [name for k, name in labels.items() if all(w.label != k for w in plan.words)]
    if without:
        raise MindportError(f"Labels without a word: {', '.join(map(repr, without))}.")
    for word in plan.words:
        if not 0 < word.divisor < float("inf") or not word.steps or word.label not in labels:
            raise MindportError(
                f"The word {word.text!r} cannot be scored: divisor {word.divisor}, "
                f"{len(word.steps)} tokens, label {word.label}."
            )
        for row, token in word.steps:
            if not 0 <= row < plan.rows_per_item or token < 0:
                raise MindportError(
                    f"The word {word.text!r} takes token {token} from row {row}, but an item has "
                    f"{plan.rows_per_item} rows."
                )


def _mean(words: Sequence[WordLike]) -> _Weights:
    """Return the weights of the words' mean; exact, so that equal weights are found equal."""
    weights: _Weights = {}
    for word in words:
        share = 1 / (Fraction(word.divisor) * len(words))
        for step in word.steps:
            weights[step] = weights.get(step, Fraction(0)) + share
    return weights
