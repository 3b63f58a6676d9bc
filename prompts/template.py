"""The text around an example: ``[X]`` is its text, ``[Z]`` the place of the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.dataset import InputExample, tidy

Shape = Literal["prefix", "cloze"]
SHAPES: tuple[Shape, ...] = ("prefix", "cloze")

_SLOT = re.compile(r"\[([^\W\d]\w*)\]")
_HOW = 'Write the text as [X] and the answer as [Z], for example "[X] It was [Z]".'


@dataclass(frozen=True)
class Part:
    """A piece of a template, or of a rendered prompt.

    Attributes:
        role: ``words`` (of the template), ``text`` (of the example), ``field`` (of its meta) or
            ``answer``.
        value: The words, or the name of the slot; in a rendered prompt the text that stands there.
    """

    role: Literal["words", "text", "field", "answer"]
    value: str


@dataclass(frozen=True)
class Template:
    """A pattern such as ``"[X] It was [Z]"``.

    ``[name]`` stands for the field ``name`` of the example's meta. ``[Z]`` may stand several times
    in a cloze template; a label word then has one part for each.

    Attributes:
        text: As written.
        parts: Its pieces in order.

    Raises:
        MindportError: If ``[X]`` does not occur exactly once, or ``[Z]`` not at all.
    """

    text: str
    parts: tuple[Part, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise MindportError(f"A template must be text, not {self.text!r}.", _HOW)
        object.__setattr__(self, "parts", _parse(self.text))
        texts = sum(part.role == "text" for part in self.parts)
        if texts != 1:
            raise MindportError(
                f"The template {self.text!r} has [X] {texts} times; exactly one is needed.", _HOW
            )
        if not self.answers:
            raise MindportError(
                f"The template {self.text!r} has [Z] 0 times; one or more are needed.", _HOW
            )

    @property
    def answers(self) -> int:
        """How many ``[Z]`` there are."""
        return sum(part.role == "answer" for part in self.parts)

    @property
    def shape(self) -> Shape:
        """``prefix`` if there is one ``[Z]`` and only white space follows it, else ``cloze``."""
        rest = self.parts[self._last_answer + 1 :]
        blank = all(part.role == "words" and not part.value.strip() for part in rest)
        return "prefix" if blank and self.answers == 1 else "cloze"

    @property
    def answer_follows_space(self) -> tuple[bool, ...]:
        """For each ``[Z]``, whether a space stands before it.

        Byte-level BPE gives that space to the word.
        """
        before = [Part("words", ""), *self.parts]
        return tuple(
            before[place].role == "words" and before[place].value.endswith(" ")
            for place, part in enumerate(self.parts)
            if part.role == "answer"
        )

    def render(self, example: InputExample, answer: str | Sequence[str] = "[Z]") -> str:
        """Return the prompt as one text.

        Args:
            example: Fills the slots.
            answer: What to put at ``[Z]``: one text for all, or one for each.

        Raises:
            MindportError: If the example lacks a field.
        """
        answers = iter([answer] * self.answers if isinstance(answer, str) else answer)
        values = (self._fill(part, example) for part in self.parts)
        return "".join(next(answers) if value is None else value for value in values)

    def segments(self, example: InputExample) -> tuple[Part, ...]:
        """Return the filled pieces that are tokenised one by one.

        One space at the end of a piece moves to the front of the next, where byte-level BPE
        expects it; before an answer it goes, as the label word brings it. White space after the
        answer of a prefix template goes too.

        Raises:
            MindportError: If the example lacks a field.
        """
        segments: list[Part] = []
        space = ""
        prefix = self.shape == "prefix"
        for part in self.parts[: self._last_answer + 1] if prefix else self.parts:
            value = self._fill(part, example)
            if value is None:
                segments.append(part)
                space = ""
                continue
            value = space + value
            space = " " if part.role == "words" and value.endswith(" ") else ""
            value = value.removesuffix(" ") if space else value
            if value or part.role == "text":
                segments.append(Part(part.role, value))
        return tuple(segments)

    @property
    def _last_answer(self) -> int:
        return max(i for i, part in enumerate(self.parts) if part.role == "answer")

    def _fill(self, part: Part, example: InputExample) -> str | None:
        if part.role == "answer":
            return None
        if part.role == "words":
            return part.value
        if part.role == "text":
            return tidy(example.text)
        if part.value not in example.meta:
            known = did_you_mean(part.value, example.meta) if example.meta else ""
            raise MindportError(
                f"The template {self.text!r} asks for the field {part.value!r}, which example "
                f"{example.id!r} does not have.{known}",
                "Fields hold words or numbers. Special tokens are added for you: use [Z] where "
                "a mask belongs.",
            )
        value = tidy(example.meta[part.value])
        if not value and example.text.strip():  # a content-free input is empty on purpose
            raise MindportError(f"The field {part.value!r} of example {example.id!r} is empty.")
        return value


def _parse(text: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    end = 0
    for match in _SLOT.finditer(text):
        if match.start() > end:
            parts.append(Part("words", text[end : match.start()]))
        name = match.group(1)
        slots = {"X": Part("text", name), "Z": Part("answer", name)}
        parts.append(slots.get(name, Part("field", name)))
        end = match.end()
    if end < len(text):
        parts.append(Part("words", text[end:]))
    return tuple(parts)
