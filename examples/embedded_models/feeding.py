"""Endless streams of training batches: prompts with answers, and plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from data import Row
from prompting import LABEL_WORDS, Batch, Prompter
from torch import Tensor

SENTIMENT_BATCH = 32
TOPIC_BATCH = 20
LEXICON_SHARE = 0.1  # of the sentiment rows: a few words of the lexicon instead of a sentence
JOIN_SHARE = 0.15  # of the sentiment rows: two sentences of the same label
LOWER_SHARE = 0.3  # of the rows: lower case
DROPPED_WORDS = 0.4  # the largest share of words left out; each row draws its own
TOPIC_LENGTHS = (25, 40, 60, 75)  # words of a post in one row
OPENING_SHARE = 0.6  # of the topic rows: from the first word of a post, not from any word


@dataclass(frozen=True)
class Lesson:
    """Prompts, and for each the tokens of its label's words."""

    task: str
    batch: Batch
    targets: Tensor


class Feeder:
    """Draws batches with one seeded generator."""

    def __init__(
        self,
        prompter: Prompter,
        seed: int,
        split: Callable[[str], list[str]] = str.split,
        glue: str = " ",
        dropped: float = DROPPED_WORDS,
    ) -> None:
        self.prompter = prompter
        self.random = np.random.default_rng(seed)
        self.split, self.glue, self.dropped = split, glue, dropped

    def blur(self, text: str) -> str:
        """Leave out some words, and sometimes the capitals."""
        words = self.split(text)
        keep = self.random.random(len(words)) >= self.random.uniform(0, self.dropped)
        kept = [word for word, stays in zip(words, keep, strict=True) if stays] or words
        joined = self.glue.join(kept)
        return joined.lower() if self.random.random() < LOWER_SHARE else joined

    def lesson(self, texts: Sequence[str], labels: Sequence[str], task: str) -> Lesson:
        """Encode texts with their answers."""
        words = self.prompter.words(task)
        names = list(LABEL_WORDS[task])
        targets = words[[names.index(label) for label in labels]]
        return Lesson(task, self.prompter.batch(texts, task), targets)

    def _group(self, rows: Sequence[Row]) -> dict[str, list[Row]]:
        """Sort rows by label."""
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(row.label, []).append(row)
        return groups

    def sentences(
        self, rows: Sequence[Row], task: str, lexicon: Sequence[Row] = ()
    ) -> Iterator[Lesson]:
        """Yield sentences in passes over all rows, each batch of like length."""
        same, words = self._group(rows), self._group(lexicon)
        while True:
            order = [rows[i] for i in self.random.permutation(len(rows))]
            for start in range(0, len(order), SENTIMENT_BATCH * 20):
                chunk = sorted(order[start : start + SENTIMENT_BATCH * 20], key=_length)
                size = SENTIMENT_BATCH
                parts = [chunk[i : i + size] for i in range(0, len(chunk), size)]
                for index in self.random.permutation(len(parts)):
                    part = parts[index]
                    texts = [self._vary(r, same[r.label], words.get(r.label, [])) for r in part]
                    yield self.lesson(texts, [row.label for row in part], task)

    def _vary(self, row: Row, same: list[Row], words: list[Row]) -> str:
        """Return the row's text blurred, joined with another, or words of the lexicon."""
        chance = self.random.random()
        share = LEXICON_SHARE if words else 0.0
        if chance < share:
            picked = self.random.integers(len(words), size=self.random.integers(1, 5))
            return " ".join(words[index].text for index in picked)
        if chance < share + JOIN_SHARE:
            other = same[self.random.integers(len(same))]
            return self.blur(f"{row.text} {other.text}")
        return self.blur(row.text)

    def topic(self, rows: Sequence[Row]) -> Iterator[Lesson]:
        """Yield openings and random windows of posts, every label equally often."""
        groups = self._group(rows)
        names = list(LABEL_WORDS["topic"])
        while True:
            length = TOPIC_LENGTHS[self.random.integers(len(TOPIC_LENGTHS))]
            labels = names * (TOPIC_BATCH // len(names))
            posts = [groups[label][self.random.integers(len(groups[label]))] for label in labels]
            texts = [self.blur(self._window(post.text, length)) for post in posts]
            yield self.lesson(texts, labels, "topic")

    def _window(self, text: str, length: int) -> str:
        """Cut a run of words from a post, often the first."""
        words = text.split()
        start = self.random.integers(max(1, len(words) - length + 1))
        if self.random.random() < OPENING_SHARE:
            start = 0
        return " ".join(words[start : start + length])

    def text(self, stream: Tensor, rows: int, width: int) -> Iterator[Tensor]:
        """Yield random runs of the token stream."""
        while True:
            starts = self.random.integers(len(stream) - width, size=rows)
            yield torch.stack([stream[start : start + width] for start in starts])


def _length(row: Row) -> int:
    """Return a row's length in characters."""
    return len(row.text)


def token_stream(prompter: Prompter, texts: Sequence[str], separator: int) -> Tensor:
    """Encode all texts as one run of tokens with a separator between them."""
    ids: list[int] = []
    for text in texts:
        ids.extend(prompter.pieces(text))
        ids.append(separator)
    return torch.tensor(ids)


def mask_tokens(ids: Tensor, size: int, mask: int, special: int) -> tuple[Tensor, Tensor]:
    """Hide 15% of the tokens the BERT way; return the input and which tokens to predict.

    Of the chosen tokens 80% become the mask, 10% a random token and 10% stay; ids below
    `special` are never chosen.
    """
    chosen = (torch.rand(ids.shape) < 0.15) & (ids >= special)
    kind = torch.rand(ids.shape)
    hidden = torch.where(chosen & (kind < 0.8), torch.full_like(ids, mask), ids)
    noise = torch.randint(special, size, ids.shape)
    return torch.where(chosen & (kind >= 0.9), noise, hidden), chosen
