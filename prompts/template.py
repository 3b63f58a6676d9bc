"""The text around an example: ``[X]`` is its text, ``[Z]`` the place of the answer."""

from __future__ import annotations

import re
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

    ``[name]`` stands for the field ``name`` of the example's meta.

    Attributes:
        text: As written.
        parts: Its pieces in order.

    Raises:
        MindportError: If ``[X]`` or ``[Z]`` does not occur exactly once.
    """

    text: str
    parts: tuple[Part, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise MindportError(f"A template must be text, not {self.text!r}.", _HOW)
        object.__setattr__(self, "parts", _parse(self.text))
        for slot, role in (("[X]", "text"), ("[Z]", "answer")):
            count = sum(part.role == role for part in self.parts)
            if count != 1:
                raise MindportError(
                    f"The template {self.text!r} has {slot} {count} times; exactly one is needed.",
                    _HOW,
                )

    @property
    def shape(self) -> Shape:
        """``prefix`` if nothing but white space follows ``[Z]``, else ``cloze``."""
        rest = self.parts[self._answer + 1 :]
        blank = all(part.role == "words" and not part.value.strip() for part in rest)
        return "prefix" if blank else "cloze"

    @property
    def answer_follows_space(self) -> bool:
        """Whether a space stands before ``[Z]``, so that byte-level BPE gives it to the word."""
        before = self.parts[self._answer - 1] if self._answer else Part("words", "")
        return before.role == "words" and before.value.endswith(" ")

    def render(self, example: InputExample, answer: str = "[Z]") -> str:
        """Return the prompt as one text.

        Args:
            example: Fills the slots.
            answer: What to put at ``[Z]``.

        Raises:
            MindportError: If the example lacks a field.
        """
        values = (self._fill(part, example) for part in self.parts)
        return "".join(answer if value is None else value for value in values)

    def segments(self, example: InputExample) -> tuple[Part, ...]:
        """Return the filled pieces that are tokenised one by one.

        One space at the end of a piece moves to the front of the next, where byte-level BPE
        expects it; before the answer it goes, as the label word brings it. White space after the
        answer of a prefix template goes too.

        Raises:
            MindportError: If the example lacks a field.
        """
        segments: list[Part] = []
        space = ""
        prefix = self.shape == "prefix"
        for part in self.parts[: self._answer + 1] if prefix else self.parts:
            value = self._fill(part, example)
            if value is None:
                segments.append(part)
                space = ""
                continue
            value = space + value
            space = " " if part.role == "words" and value.endswith(" ") else ""
            value = value.removesuffix(" ") if space else value
            if value:
                segments.append(Part(part.role, value))
        return tuple(segments)

    @property
    def _answer(self) -> int:
        return next(i for i, part in enumerate(self.parts) if part.role == "answer")

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
        if not value:
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
