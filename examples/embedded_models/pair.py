"""Make pairs of a premise and a hypothesis from reviews whose polarity is known.

The hypotheses are ours. Half of the premises of each polarity are followed by a hypothesis that
agrees and half by one that does not, and every hypothesis stands equally often with either label:
neither the premise nor the hypothesis tells the label by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data import SENTIMENTS, Row

LABELS = ("entailment", "contradiction")
HYPOTHESES = {
    "negative": (
        "The writer is disappointed.",
        "The writer is unhappy with it.",
        "The writer does not like it.",
        "The writer advises against it.",
        "This is a complaint.",
    ),
    "positive": (
        "The writer is pleased.",
        "The writer is happy with it.",
        "The writer likes it.",
        "The writer recommends it.",
        "This is praise.",
    ),
}


@dataclass(frozen=True)
class Pair(Row):
    """A premise (`text`), what is said of it, and whether that follows."""

    hypothesis: str


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """Give each row one hypothesis; the order of the rows stays.

    Args:
        rows: Sentences with their polarity, equally many of each.
    """
    made: list[Pair] = []
    met = dict.fromkeys(SENTIMENTS, 0)
    for row in rows:
        turn = met[row.label]
        met[row.label] += 1
        agrees = turn % 2 == 0
        other = SENTIMENTS[row.label == SENTIMENTS[0]]
        sentences = HYPOTHESES[row.label if agrees else other]
        hypothesis = sentences[turn // 2 % len(sentences)]
        made.append(Pair(f"pair-{row.id}", row.text, LABELS[not agrees], hypothesis))
    return made
