"""What is likely wrong with label words, as texts and as tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from mindport.migrate.errors import MindportError
from mindport.prompts.finding import Finding
from mindport.prompts.formats.spec import BOOLEAN_HINT, Piece
from mindport.prompts.tokenizer import PromptTokenizer


@dataclass(frozen=True)
class LintWord:
    """A label word on its way through the checks.

    Attributes:
        label: Whose word it is.
        parts: Its text, or one for each ``[Z]``.
        space: Whether a space stands before it; None as the template says.
        tokens: Of each part, once they are known.
    """

    label: str
    parts: tuple[str, ...]
    space: bool | None
    tokens: tuple[tuple[int, ...], ...] = ()

    @property
    def text(self) -> str:
        """The word as a message shows it."""
        return " … ".join(self.parts)


def boolean_findings(label_words: Mapping[Any, Sequence[Any]]) -> Iterator[Finding]:
    """Find labels and words that YAML has read as booleans."""
    for label, entry in label_words.items():
        for value in (label, *([entry] if isinstance(entry, bool | str) else entry)):
            if isinstance(getattr(value, "text", value), bool):
                said = f"{value!r} is no word but a boolean (label {label!r})."
                yield Finding("error", "boolean", said, BOOLEAN_HINT)


def list_words(label_words: Mapping[Any, Any]) -> Iterator[LintWord]:
    """Give every word, however it is written; what is no text is left out."""
    for label, entry in label_words.items():
        for value in [entry] if isinstance(entry, str) else entry:
            text = getattr(value, "text", value)
            space = getattr(value, "space", None)
            if isinstance(text, str):
                yield LintWord(str(label), (text,), space)
            elif isinstance(text, Sequence):
                yield LintWord(str(label), tuple(str(part) for part in text), space)


def word_findings(words: Sequence[LintWord], label_words: Mapping[Any, Any]) -> Iterator[Finding]:
    """Find what is wrong with words as texts."""
    if len(label_words) < 2:
        yield Finding("error", "one-label", "There are words for fewer than two labels.")
    for word in words:
        if any(part != part.strip() or not part for part in word.parts):
            yield Finding(
                "error",
                "space-around-word",
                f"Space stands around the word {word.text!r} of label {word.label!r}.",
                "The space before an answer is the template's.",
            )
    for one, other in combinations(words, 2):
        if (one.parts, one.space) == (other.parts, other.space):
            same = one.label == other.label
            where = (
                f"of label {one.label!r} twice" if same else f"{one.label!r} and {other.label!r}"
            )
            yield Finding(
                "error", "duplicate-word", f"The word {one.text!r} stands for {where}.", "Keep one."
            )
    counts = Counter(word.label for word in words)
    if len(set(counts.values())) > 1:
        numbers = ", ".join(f"{label} {count}" for label, count in counts.items())
        yield Finding(
            "info",
            "unequal-words",
            f"The labels have different numbers of words: {numbers}.",
            "A mean of logs goes down with each unlikely word, a sum of probabilities up.",
        )


def encode_words(
    words: Sequence[LintWord], pieces: Sequence[Piece], tokenizer: PromptTokenizer
) -> tuple[list[LintWord], list[Finding]]:
    """Return the words with their tokens at each ``[Z]``, and what kept others from having any."""
    spaced = [
        place > 0 and pieces[place - 1].role == "words" and pieces[place - 1].value.endswith(" ")
        for place, piece in enumerate(pieces)
        if piece.role == "answer"
    ]
    encoded, findings = [], []
    for word in words:
        if len(word.parts) != len(spaced):
            said = f"The word {word.text!r} has {len(word.parts)} parts for {len(spaced)} [Z]."
            findings.append(Finding("error", "parts", said, "With several [Z], one part for each."))
            continue
        try:
            tokens = tuple(
                tuple(tokenizer.encode(_spelt(part, word.space, space, tokenizer)))
                for part, space in zip(word.parts, spaced, strict=True)
            )
        except MindportError as error:
            findings.append(Finding("error", "special-token", error.message, error.hint))
            continue
        if any(not part or tokenizer.unk_id in part for part in tokens):
            findings.append(
                Finding(
                    "error",
                    "unknown-word",
                    f"The word {word.text!r} of label {word.label!r} is unknown to the vocabulary.",
                    "Choose another word.",
                )
            )
            continue
        encoded.append(LintWord(word.label, word.parts, word.space, tokens))
    return encoded, findings


def _spelt(part: str, wanted: bool | None, given: bool, tokenizer: PromptTokenizer) -> str:
    space = given if wanted is None else wanted
    return f" {part}" if space and tokenizer.family == "byte-bpe" else part


def token_findings(
    words: Sequence[LintWord], tokenizer: PromptTokenizer, shape: str
) -> Iterator[Finding]:
    """Find words that the model cannot tell apart, or not at the first token."""
    for word in words:
        count = sum(map(len, word.tokens))
        if count > len(word.parts):
            read = " + ".join(repr(p) for part in word.tokens for p in tokenizer.pieces(part))
            yield Finding(
                "info",
                "several-tokens",
                f"The word {word.text!r} of label {word.label!r} is {count} tokens: {read}.",
                "Its score is that of all of them; a sum favours short words: see normalize."
                if shape == "prefix"
                else "Each of them needs a mask, so labels are scored with different prompts.",
            )
    for one, other in combinations(words, 2):
        pair = f"{one.text!r} of {one.label!r} and {other.text!r} of {other.label!r}"
        if one.tokens == other.tokens:
            if (one.parts, one.space) != (other.parts, other.space):
                yield Finding(
                    "error",
                    "token-collision",
                    f"The words {pair} are the same tokens.",
                    "The model cannot tell them apart: choose another word.",
                )
        elif one.label != other.label and one.tokens[0][0] == other.tokens[0][0]:
            shorter, longer = sorted((one.tokens[-1], other.tokens[-1]), key=len)
            contained = one.tokens[:-1] == other.tokens[:-1] and longer[: len(shorter)] == shorter
            if contained and shape == "prefix":
                yield Finding(
                    "warning",
                    "contained-word",
                    f"Of the words {pair} one begins with the other, so it is never likelier.",
                    "Choose another word, or normalise by length.",
                )
            else:
                yield Finding(
                    "warning",
                    "first-token-tie",
                    f"The words {pair} begin with the same token "
                    f"{tokenizer.pieces(one.tokens[0][:1])[0]!r}.",
                    "Tools that look at the first token alone see a tie; here the rest decides.",
                )
