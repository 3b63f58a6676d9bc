"""One example to token ids, with the positions where its answer is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mindport.migrate.errors import MindportError
from mindport.prompts.dataset import InputExample
from mindport.prompts.shots import NO_SHOTS, Shots
from mindport.prompts.template import Shape, Template
from mindport.prompts.tokenizer import PromptTokenizer
from mindport.prompts.verbalizer import Verbalizer

# Written into every plan: tokenising the whole text at once can differ where a template joins a
# text without a space, and truncation would then move the template's tokens.
TOKENIZATION = "each segment by itself, with the space before it"

# What stands at each [Z] of a cloze prompt: token ids, with None for a mask.
Fill = tuple[tuple[int | None, ...], ...]


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt in tokens.

    Attributes:
        ids: Token ids without padding.
        rows: The positions whose logits hold the answer: the masks, or the last token.
        truncated: Whether the example's text was cut.
    """

    ids: tuple[int, ...]
    rows: tuple[int, ...]
    truncated: bool


class PromptEncoder:
    """Tokenises examples behind the same instruction and demonstrations.

    What does not fit is cut from the end of the example's text, nothing else; of one example as
    much for every fill, so that all label words are asked behind the same text. Demonstrations may
    take half of the room that everything but texts leaves; their texts are cut to equal shares of
    it, the same for every question, so that what stands before the questions is the same.

    Args:
        template: Its shape must be ``shape``, or anything for ``cloze``.
        verbalizer: A demonstration is answered with the first word of its label.
        tokenizer: The vocabulary.
        shape: ``prefix`` stops before the answer; ``cloze`` is ``[CLS] … [MASK] … [SEP]``.
        max_length: The most tokens that a prompt may have.
        shots: What stands first.
        questions: What will be encoded, as far as it is known: the longest of their fields is
            left room beside the demonstrations.
        answer: The most tokens that a fill will have, over all ``[Z]``.

    Raises:
        MindportError: If prompts of this shape cannot be made, a label of a demonstration has no
            words, or its text has no tokens.
    """

    def __init__(
        self,
        template: Template,
        verbalizer: Verbalizer,
        tokenizer: PromptTokenizer,
        *,
        shape: Shape,
        max_length: int,
        shots: Shots = NO_SHOTS,
        questions: Sequence[InputExample] = (),
        answer: int = 1,
    ) -> None:
        _check_shape(template, tokenizer, shape)
        self._template, self._verbalizer = template, verbalizer
        self._tokenizer, self._shape = tokenizer, shape
        self._max_length = max_length
        # Besides the pieces of its template, a cloze prompt has two ends and an answer.
        self._answer, self._ends = (answer, 2) if shape == "cloze" else (0, 0)
        self.shots_cut = 0
        self._delimiter = shots.delimiter.removesuffix(" ")
        self._space = shots.delimiter[len(self._delimiter) :]
        self._lead = self._encode_shots(shots, questions or shots.examples)

    def encode(
        self, example: InputExample, fill: Fill = ((None,),), allow_empty: bool = False
    ) -> EncodedPrompt:
        """Tokenise one example.

        Args:
            example: Fills the template.
            fill: For each ``[Z]`` of a cloze prompt, what stands there.
            allow_empty: Whether the text may have no tokens.

        Raises:
            MindportError: If the template leaves no room for the text, or the text has no tokens.
        """
        pieces: list[list[int | None]] = [list(self._lead)]
        text_at = 0
        answers = iter(fill)
        for role, ids in self._pieces(example, bool(self._lead)):
            if role == "text":
                text_at = len(pieces)
            if role != "answer":
                pieces.append(list(ids))
            elif self._shape == "cloze":
                pieces.append(list(next(answers)))
        text = pieces[text_at]
        if not text and not allow_empty:
            raise MindportError(f"The text of example {example.id!r} has no tokens.")
        filled = sum(map(len, fill)) if self._shape == "cloze" else 0
        others = sum(map(len, pieces)) - len(text) - filled
        taken = others + max(self._answer, filled) + self._ends
        room = self._max_length - taken
        if room < min(1, len(text)):
            lead = f", {len(self._lead)} of them before it" if self._lead else ""
            raise MindportError(
                f"The template {self._template.text!r} takes {taken} of {self._max_length} tokens"
                f"{lead} and leaves no room for the text of example {example.id!r}.",
                "Allow more tokens, shorten the template or the fields, or give fewer "
                "demonstrations.",
            )
        pieces[text_at] = text[:room]
        flat = [index for piece in pieces for index in piece]
        if self._shape == "prefix":
            ids = tuple(index for index in flat if index is not None)
            if not ids:
                raise MindportError(
                    f"The prompt of example {example.id!r} is empty.",
                    "Let the template begin with words.",
                )
            return EncodedPrompt(ids, (len(ids) - 1,), truncated=len(text) > room)
        mask = _required(self._tokenizer.mask_id)
        rows = tuple(place + 1 for place, index in enumerate(flat) if index is None)
        ids = (
            _required(self._tokenizer.cls_id),
            *(mask if index is None else index for index in flat),
            _required(self._tokenizer.sep_id),
        )
        return EncodedPrompt(ids, rows, truncated=len(text) > room)

    def _pieces(
        self, example: InputExample, follows_delimiter: bool, answer: Sequence[Sequence[int]] = ()
    ) -> Iterable[tuple[str, Sequence[int]]]:
        """Yield role and tokens of each piece of a prompt; ``answer`` has those of each [Z]."""
        space = self._space if follows_delimiter else ""
        answers = iter(answer)
        segments = self._template.segments(example)
        for segment, following in zip(segments, (*segments[1:], None), strict=True):
            if segment.role == "answer":
                yield "answer", next(answers, ())
            elif segment.role == "words" and following and not following.value[:1].isspace():
                yield "words", self._before_word(space + segment.value)
            else:
                yield segment.role, self._tokenizer.encode(space + segment.value)
            space = ""

    def _before_word(self, text: str) -> list[int]:
        """Return the tokens of a text behind which a word stands without a space.

        Byte-level BPE keeps the last character of white space apart there: two line breaks are one
        token at the end of a text, and two tokens before a word.
        """
        if not text[-2:].isspace():
            return self._tokenizer.encode(text)
        return [*self._tokenizer.encode(text[:-1]), *self._tokenizer.encode(text[-1])]

    def _encode_shots(self, shots: Shots, questions: Sequence[InputExample]) -> list[int]:
        """Return instruction and demonstrations, each with the delimiter behind it."""
        lead: list[int] = []
        first = self._template.parts[0]
        spaced = self._space or (first.role == "words" and first.value[0].isspace())
        encode = self._tokenizer.encode if spaced else self._before_word
        delimiter = encode(self._delimiter)
        if shots.instruction.strip():
            lead += [*self._tokenizer.encode(shots.instruction), *delimiter]
        if not shots.examples:
            return lead
        solved = [
            list(self._pieces(example, bool(lead) or place > 0, self._answer_of(example)))
            for place, example in enumerate(shots.examples)
        ]
        if not any(part.role == "field" for part in self._template.parts):
            questions = questions[:1]  # without their texts they are all the same
        sizes = [_without_text(self._pieces(question, True)) for question in questions]
        longest = questions[sizes.index(max(sizes))]
        fixed = (
            len(lead)
            + sum(_without_text(pieces) + len(delimiter) for pieces in solved)
            + (max(sizes) + self._answer + self._ends)
        )
        share = (self._max_length - fixed) // (2 * len(solved))
        if share < 1:
            raise MindportError(
                f"{len(solved)} demonstrations and the question {longest.id!r} take {fixed} of "
                f"{self._max_length} tokens without their texts, which leaves those too few.",
                "Give fewer demonstrations, shorten the fields, or take a checkpoint with more "
                "positions.",
            )
        for pieces, example in zip(solved, shots.examples, strict=True):
            for role, ids in pieces:
                if role == "text" and not ids:
                    raise MindportError(f"The text of demonstration {example.id!r} has no tokens.")
                self.shots_cut += role == "text" and len(ids) > share
                lead += ids[:share] if role == "text" else ids
            lead += delimiter
        return lead

    def _answer_of(self, example: InputExample) -> list[tuple[int, ...]]:
        """Return the tokens of a demonstration's answer, for each [Z]."""
        if example.label not in self._verbalizer.labels:
            raise MindportError(
                f"The demonstration {example.id!r} has the label {example.label!r}, which has no "
                "words.",
                f"The verbalizer has: {', '.join(self._verbalizer.labels)}.",
            )
        return [
            self._tokenizer.tokens_of_word(
                word.text, preceded_by_space=space if word.space is None else word.space
            )
            for word, space in zip(
                self._verbalizer.label_words[example.label][0],
                self._template.answer_follows_space,
                strict=True,
            )
        ]


def _without_text(pieces: Iterable[tuple[str, Sequence[int]]]) -> int:
    return sum(len(ids) for role, ids in pieces if role != "text")


def _check_shape(template: Template, tokenizer: PromptTokenizer, shape: Shape) -> None:
    """Raise if prompts of this shape cannot be made.

    Raises:
        MindportError: If text follows the answer of a prefix prompt, or the vocabulary lacks the
            special tokens of a cloze prompt.
    """
    if shape == "prefix" and template.shape != "prefix":
        raise MindportError(
            f"Text follows [Z] in the template {template.text!r}, and a language model never "
            "reads what follows.",
            "End the template with its only [Z].",
        )
    if shape == "cloze":
        roles = {"mask": tokenizer.mask_id, "cls": tokenizer.cls_id, "sep": tokenizer.sep_id}
        absent = [role for role, index in roles.items() if index is None]
        if absent:
            raise MindportError(
                f"A cloze prompt needs special tokens that this vocabulary lacks: "
                f"{', '.join(absent)}.",
                "Is it the tokenizer of a language model? Use its prefix template.",
            )


def _required(index: int | None) -> int:
    if index is None:
        raise AssertionError("the shape was checked first")
    return index
