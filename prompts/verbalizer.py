"""Which words stand for which label, and how their logits become one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.tokenizer import PromptTokenizer


def mean_logit(logits: np.ndarray) -> np.ndarray:
    """Return the mean of the words' logits.

    Between labels it differs by as much as the mean of log-probabilities, the rule of OpenPrompt's
    ``ManualVerbalizer``: the normaliser is the same for every word and cancels.

    Args:
        logits: float64 (items, words of one label).

    Returns:
        float64 (items,).
    """
    mean: np.ndarray = logits.mean(axis=1)
    return mean


# Every entry moves by at most e when each logit moves by at most e; parity relies on it.
AGGREGATES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"mean_logit": mean_logit}


@dataclass(frozen=True)
class Verbalizer:
    """Label words, as in ``Verbalizer({"negative": ["bad"], "positive": ["good", "great"]})``.

    Attributes:
        label_words: The words of each label; the labels keep the order given.
        aggregate: How the logits of a label's words become the label's: a key of ``AGGREGATES``.

    Raises:
        MindportError: If there are fewer than two labels, a label has no words, or a word is not
            a word or stands twice.
    """

    label_words: Mapping[str, Sequence[str]]
    aggregate: str = "mean_logit"

    def __post_init__(self) -> None:
        if len(self.label_words) < 2:
            raise MindportError(
                f"A verbalizer needs two labels or more, not {len(self.label_words)}."
            )
        if self.aggregate not in AGGREGATES:
            raise MindportError(
                f"Unknown aggregate {self.aggregate!r}.{did_you_mean(self.aggregate, AGGREGATES)}"
            )
        owners: dict[str, str] = {}
        for label, words in self.label_words.items():
            _check_word(label, "A label")
            if isinstance(words, str) or not isinstance(words, Sequence):
                raise MindportError(
                    f"The words of label {label!r} must be a list, not {words!r}.",
                    f"Write {label!r}: [{words!r}].",
                )
            if not words:
                raise MindportError(f"The label {label!r} has no words.", "Give it one or more.")
            for word in words:
                _check_word(word, f"A word of label {label!r}")
                if word in owners:
                    raise MindportError(
                        f"The word {word!r} stands for {owners[word]!r} and {label!r}."
                        if owners[word] != label
                        else f"The label {label!r} has the word {word!r} twice.",
                        "Each word may stand for one label, once.",
                    )
                owners[word] = label
        frozen = {label: tuple(words) for label, words in self.label_words.items()}
        object.__setattr__(self, "label_words", frozen)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in order; a label's place is its index everywhere."""
        return tuple(self.label_words)

    def token_ids(
        self, tokenizer: PromptTokenizer, *, after_space: bool
    ) -> tuple[tuple[int, ...], ...]:
        """Return the token of every word, label by label.

        Args:
            tokenizer: The vocabulary.
            after_space: Whether a space stands before the answer.

        Raises:
            MindportError: If a word is not exactly one known token, or two words are the same
                token; every such word is listed.
        """
        problems: list[str] = []
        owners: dict[int, tuple[str, str]] = {}
        ids: list[tuple[int, ...]] = []
        for label, words in self.label_words.items():
            tokens = []
            for word in words:
                try:
                    token = tokenizer.token_of_word(word, preceded_by_space=after_space)
                except MindportError as error:
                    problems.append(f"label {label!r}: {error.message}")
                    continue
                if token in owners:
                    other, other_label = owners[token]
                    problems.append(
                        f"{word!r} of label {label!r} and {other!r} of label {other_label!r} are "
                        f"the same token {tokenizer.pieces([token])[0]!r} ({token})."
                    )
                owners[token] = (word, label)
                tokens.append(token)
            ids.append(tuple(tokens))
        if problems:
            listing = "\n".join(f"  - {problem}" for problem in problems)
            raise MindportError(
                f"The label words do not fit this vocabulary:\n{listing}",
                "Choose words that are one token each, all different; `mindport prompts show` "
                "prints them.",
            )
        return tuple(ids)


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
