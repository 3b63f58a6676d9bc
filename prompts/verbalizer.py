"""Which words stand for which label, and how their scores become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.aggregate import AGGREGATES, NORMALIZERS
from mindport.prompts.tokenizer import PromptTokenizer

MaskScoring = Literal["joint", "pseudo"]
MASK_SCORINGS: tuple[MaskScoring, ...] = ("joint", "pseudo")


@dataclass(frozen=True)
class Word:
    """A label word.

    Attributes:
        text: Without space around it; it may hold spaces.
        space: Whether a space stands before it; None takes what the template has there. In
            byte-level BPE ``" good"`` and ``"good"`` are different tokens; in WordPiece not.
    """

    text: str
    space: bool | None = None


Answer = tuple[Word, ...]  # one word for each [Z] of the template


@dataclass(frozen=True)
class Verbalizer:
    """Label words, as in ``Verbalizer({"negative": ["bad"], "positive": ["good", "great"]})``.

    A word may be several tokens: its score is the sum of their log-probabilities, each given the
    ones before it. With several ``[Z]`` an entry is a list of words, one for each.

    Attributes:
        label_words: The words of each label; the labels keep the order given.
        aggregate: How the scores of a label's words become the label's: a key of ``AGGREGATES``.
        normalize: What the score of a word is divided by: a key of ``NORMALIZERS``.
        masks: How a masked model scores a word of several tokens: ``joint`` masks all of them at
            once, ``pseudo`` one at a time with the others in place (J. Salazar et al., *Masked
            Language Model Scoring*, ACL 2020).

    Raises:
        MindportError: If there are fewer than two labels, a label has no words, or a word is not
            a word or stands twice.
    """

    label_words: Mapping[str, Sequence[Any]]
    aggregate: str = "mean_log"
    normalize: str = "none"
    masks: MaskScoring = "joint"

    def __post_init__(self) -> None:
        if len(self.label_words) < 2:
            raise MindportError(
                f"A verbalizer needs two labels or more, not {len(self.label_words)}."
            )
        for name, value, known in (
            ("aggregate", self.aggregate, tuple(AGGREGATES)),
            ("normalize", self.normalize, tuple(NORMALIZERS)),
            ("masks", self.masks, MASK_SCORINGS),
        ):
            if value not in known:
                raise MindportError(f"Unknown {name} {value!r}.{did_you_mean(str(value), known)}")
        owners: dict[tuple[str, ...], str] = {}
        frozen: dict[str, tuple[Answer, ...]] = {}
        for label, words in self.label_words.items():
            _check_word(label, "A label")
            frozen[label] = tuple(_answers(label, words))
            for answer in frozen[label]:
                key = tuple(word.text for word in answer)
                if key in owners:
                    raise MindportError(
                        f"The word {_shown(key)} stands for {owners[key]!r} and {label!r}."
                        if owners[key] != label
                        else f"The label {label!r} has the word {_shown(key)} twice.",
                        "Each word may stand for one label, once.",
                    )
                owners[key] = label
        object.__setattr__(self, "label_words", frozen)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in order; a label's place is its index everywhere."""
        return tuple(self.label_words)

    @property
    def answers(self) -> tuple[tuple[int, Answer], ...]:
        """All words with the index of their label, label by label."""
        return tuple(
            (index, answer)
            for index, words in enumerate(self.label_words.values())
            for answer in words
        )

    def token_ids(
        self, tokenizer: PromptTokenizer, *, after_space: Sequence[bool]
    ) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """Return the tokens of every entry of :attr:`answers`, for each ``[Z]``.

        Args:
            tokenizer: The vocabulary.
            after_space: For each ``[Z]``, whether a space stands before it.

        Raises:
            MindportError: If a word is unknown, two words are the same tokens, or a word has not
                one part for each ``[Z]``; every such word is listed.
        """
        problems: list[str] = []
        owners: dict[tuple[tuple[int, ...], ...], tuple[str, str]] = {}
        ids: list[tuple[tuple[int, ...], ...]] = []
        for index, answer in self.answers:
            label, text = self.labels[index], _shown([word.text for word in answer])
            if len(answer) != len(after_space):
                problems.append(
                    f"label {label!r}: {text} has {len(answer)} parts, but the template has "
                    f"{len(after_space)} [Z]."
                )
                continue
            try:
                tokens = tuple(
                    tokenizer.tokens_of_word(
                        word.text, preceded_by_space=space if word.space is None else word.space
                    )
                    for word, space in zip(answer, after_space, strict=True)
                )
            except MindportError as error:
                problems.append(f"label {label!r}: {error.message}")
                continue
            if tokens in owners:
                other, other_label = owners[tokens]
                flat = [token for part in tokens for token in part]
                problems.append(
                    f"{text} of label {label!r} and {other} of label {other_label!r} are the same "
                    f"tokens {tokenizer.pieces(flat)} ({', '.join(map(str, flat))})."
                )
            owners[tokens] = (text, label)
            ids.append(tokens)
        if problems:
            listing = "\n".join(f"  - {problem}" for problem in problems)
            raise MindportError(
                f"The label words do not fit this vocabulary:\n{listing}",
                "Choose words that it knows, all different; `mindport prompts show` prints them.",
            )
        return tuple(ids)


def _answers(label: str, words: object) -> list[Answer]:
    if isinstance(words, str | Word) or not isinstance(words, Sequence):
        raise MindportError(
            f"The words of label {label!r} must be a list, not {words!r}.",
            f"Write {label!r}: [{words!r}].",
        )
    if not words:
        raise MindportError(f"The label {label!r} has no words.", "Give it one or more.")
    answers = []
    for entry in words:
        parts = [entry] if isinstance(entry, str | Word) or not _is_list(entry) else list(entry)
        if not parts:
            raise MindportError(f"A word of label {label!r} has no parts.")
        for part in parts:
            _check_word(part.text if isinstance(part, Word) else part, f"A word of label {label!r}")
        answers.append(tuple(p if isinstance(p, Word) else Word(p) for p in parts))
    return answers


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence)


def _shown(texts: Sequence[str]) -> str:
    return " + ".join(repr(text) for text in texts)


def _check_word(word: object, what: str) -> None:
    if not isinstance(word, str):
        raise MindportError(
            f"{what} must be text, not {word!r}.",
            'YAML reads yes, no, on, off, true and false as booleans: put it in quotes ("yes").',
        )
    if not word or word != word.strip():
        raise MindportError(
            f"{what} must have no space around it: {word!r}.",
            "The space before an answer is the template's; the tokenizer gets it from there.",
        )
