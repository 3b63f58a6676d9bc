"""Clean, deduplicate and split the labelled English text, always in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

import numpy as np
from sources import Post, Rated, read_lexicon, read_posts, read_uci, read_vader

Kind = TypeVar("Kind", bound="Row")
Split = Callable[[str], Sequence[str]]  # into the normalised units that are compared

SEED = 20260101
SENTIMENTS = ("negative", "positive")
TOPICS = ("computer", "medicine", "religion", "space", "sport")
SHIPPED = 200  # rows in each shipped file
HELD_OUT = {"sentiment": 600, "topic": 650}
DEVELOPMENT = {"sentiment": 300}
APART = 2200  # posts of the training file that only give development rows
MOST = 40  # development rows of one topic
LONGEST, SHORTEST = 75, 40  # words of a post's opening in one evaluated row
LETTERS = 360  # ... and its letters and spaces, so that the prompt fits into 128 tokens
TABLE = 0.2  # share of single letters beyond which a row is not shipped
QUOTING = 30  # words within which "in article ... writes" starts, and within which it ends
MIN_RATING = 0.5
SHINGLE = {"sentiment": 7, "topic": 10}  # words in a row that may not recur in the training text

# Evaluated posts show no address, telephone number, signature or reply header ...
ADDRESSES = """
com edu net org gov mil uucp bitnet uk ca de internet mail email phone fax tel telephone
writes wrote article posting subject lines nntp host reply distribution university inc
"""
# ... and they, and the shipped sentences, keep clear of insults, violence and quarrels.
QUARRELS = """
fuck fucking shit ass bitch bastard pissed damn hell idiot moron sex sexual rape rapist homosexual
homosexuality gay nazi camps kill killed murder suicide abortion bullet groin testes penis breast
war weapons arms islam islamic muslim muslims jew jews jewish
"""


@dataclass(frozen=True)
class Row:
    """One labelled text."""

    id: str
    text: str
    label: str


@dataclass
class Task:
    """The rows of one task; `train` holds the texts before any window is cut from them."""

    labels: tuple[str, ...]
    train: list[Row] = field(default_factory=list)
    development: list[Row] = field(default_factory=list)
    held_out: list[Row] = field(default_factory=list)
    shipped: list[Row] = field(default_factory=list)


@dataclass
class Corpus:
    """Everything the models are trained and measured on."""

    sentiment: Task
    topic: Task
    lexicon: list[Row]
    unlabelled: list[str]


def topic_of(group: str) -> str | None:
    """Name the topic of a newsgroup, or None for a group that no label covers."""
    if group.startswith("comp."):
        return "computer"
    if group.startswith("rec.sport."):
        return "sport"
    return {
        "alt.atheism": "religion",
        "sci.med": "medicine",
        "sci.space": "space",
        "soc.religion.christian": "religion",
        "talk.religion.misc": "religion",
    }.get(group)


def tidy(text: str) -> str:
    """Make every run of white space and stray control characters one space."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())


def normal(text: str) -> str:
    """Reduce a text to its lower-case letters and digits, so that near-equal texts compare."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def units(text: str) -> list[str]:
    """Return the normalised words of an English text."""
    return normal(text).split()


def shingles(texts: Iterable[str], size: int, split: Split = units) -> set[str]:
    """Return every run of `size` normalised words (a shorter text is one run)."""
    found: set[str] = set()
    for text in texts:
        words = split(text)
        for start in range(max(1, len(words) - size + 1)):
            found.add(" ".join(words[start : start + size]))
    return found


def unique(rows: Iterable[Rated], split: Split = units) -> list[Rated]:
    """Drop repeats, and every text that occurs with both polarities."""
    first: dict[str, Rated] = {}
    torn: set[str] = set()
    for row in rows:
        key = " ".join(split(row.text))
        if key in first and (first[key].rating > 0) != (row.rating > 0):
            torn.add(key)
        first.setdefault(key, row)
    return [row for key, row in first.items() if key and key not in torn]


def labelled(row: Rated) -> Row:
    """Turn a rating into a label."""
    return Row(row.id, tidy(row.text), SENTIMENTS[row.rating > 0])


def balanced(rows: list[Row], labels: tuple[str, ...], count: int) -> list[Row]:
    """Take the first `count / len(labels)` rows of each label, in order."""
    each = count // len(labels)
    taken = [row for label in labels for row in [r for r in rows if r.label == label][:each]]
    if len(taken) != count:
        raise ValueError(f"{len(taken)} balanced rows, expected {count}")
    return taken


def shuffled(rows: Sequence[Kind], seed: int) -> list[Kind]:
    """Return the rows in an order that depends on the seed alone."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[index] for index in order]


def without(rows: list[Row], *groups: list[Row]) -> list[Row]:
    """Return the rows whose identifier is in none of the groups."""
    taken = {row.id for group in groups for row in group}
    return [row for row in rows if row.id not in taken]


def held_apart(rows: list[Row], seen: set[str], size: int, split: Split = units) -> list[Row]:
    """Keep the rows that share no run of `size` words with the training text."""
    return [row for row in rows if not shingles([row.text], size, split) & seen]


def build_sentiment(folder: Path) -> Task:
    """Split the UCI sentences; add the Hutto and Gilbert snippets to the training part."""
    size = SHINGLE["sentiment"]
    uci = shuffled([labelled(row) for row in unique(read_uci(folder))], SEED)
    rated = [row for row in unique(read_vader(folder)) if abs(row.rating) >= MIN_RATING]
    extra = [labelled(row) for row in rated]
    short = [row for row in uci if 3 <= len(row.text.split()) <= 60]
    clean = held_apart(short, shingles((row.text for row in extra), size), size)
    held_out = balanced(clean, SENTIMENTS, HELD_OUT["sentiment"])
    rest = without(clean, held_out)
    development = balanced(rest, SENTIMENTS, DEVELOPMENT["sentiment"])
    seen = shingles((row.text for row in held_out + development), size)
    train = held_apart(without(uci, held_out, development) + extra, seen, size)
    avoided = set(QUARRELS.split())
    polite = [row for row in held_out if not avoided.intersection(normal(row.text).split())]
    shipped = balanced(shuffled(polite, SEED + 1), SENTIMENTS, SHIPPED)
    return Task(SENTIMENTS, train, development, held_out, shipped)


def without_quoting(words: Sequence[str]) -> tuple[str, ...]:
    """Leave out the line "in article <address> <name> writes" near the start of a reply."""
    for start in range(min(QUOTING, len(words) - 1)):
        if words[start] == "in" and words[start + 1] == "article":
            for end in range(start + 2, min(start + QUOTING, len(words))):
                if words[end] in {"writes", "wrote"}:
                    return (*words[:start], *words[end + 1 :])
            break
    return tuple(words)


def opening(post: Post) -> str:
    """Return a post's first words, subject first, up to one that is not fit to be shown."""
    avoided = {*ADDRESSES.split(), *QUARRELS.split()}
    words = list(takewhile(lambda w: w not in avoided, without_quoting(post.words)[:LONGEST]))
    while len(" ".join(words)) > LETTERS:
        words.pop()
    return " ".join(words)


def evaluation_rows(posts: Iterable[Post], seen: set[str]) -> list[Row]:
    """Take the opening of each post that has one of a fit length that training does not hold."""
    rows: list[Row] = []
    for post in posts:
        label, text = topic_of(post.group), opening(post)
        if label is not None and len(text.split()) >= SHORTEST:
            rows.append(Row(post.id, text, label))
    return held_apart(rows, seen, SHINGLE["topic"])


def distinct(rows: list[Row], size: int, split: Split = units) -> list[Row]:
    """Drop every row that shares a run of words with an earlier one (quoted replies)."""
    seen: set[str] = set()
    kept: list[Row] = []
    for row in rows:
        runs = shingles([row.text], size, split)
        if not runs & seen:
            kept.append(row)
        seen |= runs
    return kept


def is_table(text: str) -> bool:
    """Tell box scores and the like, which the source left as single letters, from prose."""
    words = text.split()
    return sum(len(word) == 1 for word in words) > TABLE * len(words)


def build_topic(folder: Path) -> tuple[Task, list[str]]:
    """Return the topic task, and the words of every training post whatever its group."""
    posts = read_posts(folder, "train")
    order = np.random.default_rng(SEED + 2).permutation(len(posts))
    apart, used = [posts[i] for i in order[:APART]], [posts[i] for i in order[APART:]]
    texts = [" ".join(post.words) for post in used]
    train = [
        Row(post.id, " ".join(without_quoting(post.words)), label)
        for post in used
        if (label := topic_of(post.group)) and len(post.words) >= 12
    ]
    size = SHINGLE["topic"]
    seen = shingles([*texts, *(row.text for row in train)], size)
    rows = distinct(evaluation_rows(apart, seen), size)
    development = [r for label in TOPICS for r in [r for r in rows if r.label == label][:MOST]]
    seen |= shingles((row.text for row in development), size)
    tested = distinct(shuffled(evaluation_rows(read_posts(folder, "test"), seen), SEED + 3), size)
    held_out = balanced(tested, TOPICS, HELD_OUT["topic"])
    prose = [row for row in shuffled(held_out, SEED + 4) if not is_table(row.text)]
    shipped = balanced(prose, TOPICS, SHIPPED)
    return Task(TOPICS, train, development, held_out, shipped), texts


def build(folder: Path) -> Corpus:
    """Read the archives in `folder` and return all the splits."""
    sentiment = build_sentiment(folder)
    topic, posts = build_topic(folder)
    lexicon = [labelled(row) for row in read_lexicon(folder) if abs(row.rating) >= 1.0]
    return Corpus(sentiment, topic, lexicon, [row.text for row in sentiment.train] + posts)
