"""Choose demonstrations for few-shot prompts: short texts of the training part."""

from __future__ import annotations

import re

import chinese
from data import (
    QUARRELS,
    SEED,
    SENTIMENTS,
    TOPICS,
    Corpus,
    Post,
    Row,
    balanced,
    distinct,
    held_apart,
    is_table,
    normal,
    opening,
    shingles,
    shuffled,
)

EACH = 16  # demonstrations of each label
WORDS = {"sentiment": (4, 15), "topic": (15, 25)}  # fewest and most
CHARACTERS = 30  # at most, of a Chinese one
# A Chinese demonstration says plainly what it is labelled: it holds a word of its own label, none
# of the other, and no negation. (Its words were trained on, so this tells nothing about a score.)
PLAIN = {
    "negative": re.compile(r"差|糟|失望|后悔|郁闷|脏|吵|麻烦|恶心|讨厌|无聊|陈旧|破旧|浪费"),
    "positive": re.compile(r"不错|喜欢|满意|漂亮|舒服|舒适|方便|干净|推荐|精彩|实惠|完美|很好"),
}
NEGATION = re.compile(r"不(?!错)|没|无(?!聊)|难|如果|要是|希望")
SHINGLE = 7  # words in a row that a demonstration may share with no evaluated row


def _chosen(rows: list[Row], labels: tuple[str, ...]) -> list[Row]:
    """Take the first of each label after a seeded shuffle."""
    return shuffled(balanced(shuffled(rows, SEED + 5), labels, EACH * len(labels)), SEED + 6)


def sentiment_shots(corpus: Corpus) -> list[Row]:
    """Choose whole sentences of the UCI set that were trained on."""
    fewest, most = WORDS["sentiment"]
    avoided = set(QUARRELS.split())
    rows = [
        row
        for row in corpus.sentiment.train
        if row.id.startswith("uci-")
        and row.text.endswith((".", "!", "?"))
        and fewest <= len(row.text.split()) <= most
        and not avoided.intersection(normal(row.text).split())
    ]
    task = corpus.sentiment
    seen = shingles((row.text for row in task.held_out + task.development), SHINGLE)
    return _chosen(distinct(held_apart(rows, seen, SHINGLE), SHINGLE), SENTIMENTS)


def topic_shots(corpus: Corpus) -> list[Row]:
    """Choose the first words of posts that were trained on, by the rules of the held-out ones."""
    fewest, most = WORDS["topic"]
    rows: list[Row] = []
    for row in corpus.topic.train:
        words = opening(Post(row.id, row.label, tuple(row.text.split()))).split()[:most]
        text = " ".join(words)
        if len(words) >= fewest and not is_table(text):
            rows.append(Row(row.id, text, row.label))
    task = corpus.topic
    seen = shingles((row.text for row in task.held_out + task.development), SHINGLE)
    return _chosen(distinct(held_apart(rows, seen, SHINGLE), SHINGLE), TOPICS)


def _is_plain(row: Row) -> bool:
    """Tell whether a Chinese row has words of its own label only."""
    told = [label for label, words in PLAIN.items() if words.search(row.text)]
    return told == [row.label] and not NEGATION.search(row.text)


def chinese_shots(corpus: chinese.Corpus) -> list[Row]:
    """Choose short reviews that were trained on, by the rules of the held-out ones."""
    train = corpus.sentiment.train
    rows = [
        row
        for row in train
        if len(row.text) <= CHARACTERS and chinese.is_fit(row.text) and _is_plain(row)
    ]
    return _chosen(distinct(rows, chinese.SHINGLE, chinese.units), SENTIMENTS)
