"""Where two searches for trigger tokens part, and whether rounding is enough to part them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mindport.prompts.learning.method import Search
    from mindport.prompts.learning.result import StepRecord


@dataclass(frozen=True)
class Divergence:
    """The first step after which the trigger tokens differ.

    Attributes:
        step: Its number.
        explained: Whether the choice was closer than the sides' numbers are.
        reason: The two figures, in words.
    """

    step: int
    explained: bool
    reason: str


def first_divergence(reference: StepRecord, candidate: StepRecord, allowed: float) -> Divergence:
    """Explain a step in which two searches that were alike so far chose different tokens.

    Both sides tried a list of tokens and took the one with the lowest loss. Another choice is
    explained if the two choices' losses, on the reference, are closer than twice what a loss may
    differ by; or if a side did not try the other's choice, as its promise fell just short.

    Args:
        reference: The reference's step.
        candidate: The candidate's step.
        allowed: How far a loss may differ by rounding.
    """
    mine, theirs = reference.search, candidate.search
    if mine is None or theirs is None or mine.position != theirs.position:
        return Divergence(reference.step, False, "the sides looked at different trigger tokens")
    losses, others = _losses(mine), _losses(theirs)
    shared = losses.keys() & others.keys()
    errors = [abs(losses[token] - others[token]) for token in shared]
    errors.append(abs(mine.present - theirs.present))
    if max(errors) > allowed:
        reason = f"a loss differs by {max(errors):.2g}, where rounding allows {allowed:.2g}"
        return Divergence(reference.step, False, reason)
    chosen, other = _loss_of(mine, mine.chosen), _loss_of(mine, theirs.chosen)
    if chosen is not None and other is not None:
        gap = other - chosen
        reason = f"the losses of the two choices are {gap:.2g} apart, the sides up to {allowed:.2g}"
        return Divergence(reference.step, gap <= 2 * allowed, reason)
    return _not_tried(reference.step, mine, theirs)


def _not_tried(step: int, mine: Search, theirs: Search) -> Divergence:
    """Explain a choice that one side did not try."""
    scores = dict(zip(mine.tokens, mine.scores, strict=True))
    others = dict(zip(theirs.tokens, theirs.scores, strict=True))
    error = max((abs(scores[t] - others[t]) for t in scores.keys() & others.keys()), default=0.0)
    short = max(_short(mine, theirs.chosen), _short(theirs, mine.chosen))
    reason = (
        f"a token was not tried that fell {short:.2g} short, and promises differ by {error:.2g}"
    )
    return Divergence(step, short <= 2 * error, reason)


def _short(search: Search, token: int) -> float:
    """Return by how much a token missed being tried: 0 if it was, infinity if it was far off."""
    last = search.scores[search.tried - 1]
    for known, score in zip(search.tokens, search.scores, strict=True):
        if known == token:
            return max(last - score, 0.0)
    return 0.0 if token == search.chosen else float("inf")


def _losses(search: Search) -> dict[int, float]:
    tried: Sequence[int] = search.tokens[: search.tried]
    return dict(zip(tried, search.losses, strict=True))


def _loss_of(search: Search, token: int) -> float | None:
    return search.present if token == search.standing else _losses(search).get(token)
