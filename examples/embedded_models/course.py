"""What the models of each language learn: the data, the lessons, and how long they last."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import chinese
import data
from data import SEED, Row, Task
from feeding import Feeder, Lesson
from prompting import LABEL_WORDS, Prompter
from sources import CHINESE, ENGLISH, Archive, fetch

WEIGHT = 6  # how often the sentiment text is added again, so that its words get tokens too
REPEATS = 3000  # how often the words of the prompts are added, so that each becomes one token
# A Chinese vocabulary has no token beyond a character, so that a label word is one token whatever
# stands before it.
PIECES = re.compile(r"[a-z]+|[0-9]+|\s*\S|\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """How large a model is, and how long and how fast it is trained."""

    prompt_steps: int
    layers: int = 4
    text_steps: int = 300
    text_every: int = 6
    text_rows: int = 16
    rate: float = 1.2e-3
    warmup: int = 100
    decay: float = 0.3
    dropout: float = 0.2
    average: float = 0.995


class Course(ABC):
    """What differs between the languages."""

    language: str
    suffix: str  # of the models' names
    archives: tuple[Archive, ...]
    plans: Mapping[str, Plan]
    size: int  # of a vocabulary
    tasks: Mapping[str, Task]
    unlabelled: Sequence[str]

    @abstractmethod
    def __init__(self, folder: Path) -> None: ...

    @abstractmethod
    def texts(self) -> Iterator[str]:
        """Yield what the vocabularies are trained on."""

    @abstractmethod
    def feeder(self, prompter: Prompter) -> Feeder:
        """Return what draws the batches."""

    @abstractmethod
    def lessons(self, feeder: Feeder) -> dict[str, Iterator[Lesson]]:
        """Return the endless lessons of each task."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Count the training rows by source, for the card."""

    def words(self) -> list[str]:
        """Return the label words of all tasks."""
        return [w for task in self.tasks for words in LABEL_WORDS[task].values() for w in words]


class English(Course):
    """Reviews and newsgroups."""

    language, suffix = "en", ""
    archives = ENGLISH
    size = 4800

    def __init__(self, folder: Path) -> None:
        self.plans = {"gpt2": Plan(prompt_steps=1000), "bert": Plan(prompt_steps=1500)}
        fetch(folder, self.archives)
        corpus = data.build(folder)
        self.tasks = {"sentiment": corpus.sentiment, "topic": corpus.topic}
        self.unlabelled = corpus.unlabelled
        self.lexicon: list[Row] = corpus.lexicon

    def texts(self) -> Iterator[str]:
        """Yield the training text, the lexicon, and the words of the prompts many times over."""
        yield from self.unlabelled
        for row in self.lexicon + self.tasks["sentiment"].train:  # few words beside the newsgroups
            yield from [f" {row.text}"] * WEIGHT
        words = [*self.words(), "Topic:", "It was", "topic:", "it was"]
        for word in islice(cycle(words), REPEATS * 13):
            yield f" {word}"

    def feeder(self, prompter: Prompter) -> Feeder:
        """Blur by words."""
        return Feeder(prompter, SEED)

    def lessons(self, feeder: Feeder) -> dict[str, Iterator[Lesson]]:
        """Return sentences (those of the UCI twice), and passages of posts."""
        rows = self.tasks["sentiment"].train
        twice = [*rows, *(row for row in rows if row.id.startswith("uci-"))]
        return {
            "sentiment": feeder.sentences(twice, "sentiment", self.lexicon),
            "topic": feeder.topic(self.tasks["topic"].train),
        }

    def counts(self) -> dict[str, int]:
        """Count the training rows by source."""
        sentiment = [row.id for row in self.tasks["sentiment"].train]
        return {
            "uci": sum(name.startswith("uci-") for name in sentiment),
            "movie": sum(name.startswith("vader-movie-") for name in sentiment),
            "amazon": sum(name.startswith("vader-amazon-") for name in sentiment),
            "lexicon": len(self.lexicon),
            "posts": len(self.unlabelled) - len(sentiment),
            "topic": len(self.tasks["topic"].train),
            "longest": data.LONGEST,
            "shortest": data.SHORTEST,
        }


class Chinese(Course):
    """Reviews of hotels, books and notebook computers."""

    language, suffix = "zh", "-zh"
    archives = CHINESE
    size = 2400

    def __init__(self, folder: Path) -> None:
        self.plans = {
            "gpt2": Plan(prompt_steps=2000, layers=2, text_steps=400),
            "bert": Plan(prompt_steps=1000, layers=2),
        }
        fetch(folder, self.archives)
        corpus = chinese.build(folder)
        self.tasks = {"sentiment-zh": corpus.sentiment}
        self.unlabelled = corpus.unlabelled

    def texts(self) -> Iterator[str]:
        """Yield the training text and the words of the prompts, characters one by one."""
        for text in self.unlabelled:
            yield from PIECES.findall(text)
        yield from islice(cycle([*self.words(), *"总的来说很。"]), REPEATS * 10)

    def feeder(self, prompter: Prompter) -> Feeder:
        """Blur by characters, and fewer of them."""
        return Feeder(prompter, SEED, split=list, glue="", dropped=0.2)

    def lessons(self, feeder: Feeder) -> dict[str, Iterator[Lesson]]:
        """Return the reviews."""
        return {"sentiment-zh": feeder.sentences(self.tasks["sentiment-zh"].train, "sentiment-zh")}

    def counts(self) -> dict[str, int]:
        """Count the training rows, for the card."""
        rows = self.tasks["sentiment-zh"].train
        return {
            "reviews": len(rows),
            "negative": sum(row.label == "negative" for row in rows),
            "positive": sum(row.label == "positive" for row in rows),
            "characters": sum(len(row.text) for row in rows),
            "longest": chinese.LONGEST,
            "shortest": chinese.SHORTEST,
            "shingle": chinese.SHINGLE,
        }


COURSES: dict[str, type[Course]] = {kind.language: kind for kind in (English, Chinese)}
