"""The one neutral form that every format is read into and written from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.aggregate import AGGREGATES, NORMALIZERS

SHAPES = ("prefix", "cloze")

_SLOT = re.compile(r"\[([^\W\d]\w*)\]")
_HOW = 'A template has the text as [X], once, and the answer as [Z]: "[X] It was [Z]".'


@dataclass(frozen=True)
class Piece:
    """A piece of a template.

    Attributes:
        role: ``words``, ``text`` (``[X]``), ``field`` (``[name]``) or ``answer`` (``[Z]``).
        value: The words, or the field's name; empty for the other two.
    """

    role: Literal["words", "text", "field", "answer"]
    value: str = ""


@dataclass(frozen=True)
class LabelWord:
    """A word that stands for a label.

    Attributes:
        text: The word; with several ``[Z]`` one word for each.
        space: Whether a space stands before it: None as the template says, False never
            (OpenPrompt's ``<!>``), True always.
    """

    text: str | tuple[str, ...]
    space: bool | None = None


@dataclass(frozen=True)
class DataSource:
    """Where the rows are and what their fields are called.

    Attributes:
        file: A file or ``hf:`` name; empty if the format does not say.
        text: The field for ``[X]``.
        label: The field with the label.
        label_names: The labels in the order of their index, if the field holds indices.
        jinja: What makes the text of a row, in place of ``text``: a Jinja template.
    """

    file: str = ""
    text: str = "text"
    label: str = "label"
    label_names: tuple[str, ...] = ()
    jinja: str = ""


@dataclass(frozen=True)
class PromptSpec:
    """A prompt as any of the formats has it: perhaps templates alone, perhaps words alone.

    Attributes:
        name: Names the task.
        description: One sentence.
        templates: In our language, by shape.
        label_words: The words of each label, in the labels' order.
        aggregate: How words become a label's score: one of ``AGGREGATES``.
        normalize: What a word's score is divided by: one of ``NORMALIZERS``.
        instruction: What stands before demonstrations and text.
        shot_delimiter: What stands between demonstrations; None if the format does not say.
        data: The rows.
        version: Of the task.
        notes: What the file says and this form cannot hold, one sentence each.

    Raises:
        MindportError: If a template or a word is not one.
    """

    name: str
    description: str = ""
    templates: Mapping[str, str] = field(default_factory=dict)
    label_words: Mapping[str, tuple[LabelWord, ...]] = field(default_factory=dict)
    aggregate: str = "mean_log"
    normalize: str = "none"
    instruction: str = ""
    shot_delimiter: str | None = None
    data: DataSource = field(default_factory=DataSource)
    version: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value, known in (
            ("aggregate", self.aggregate, AGGREGATES),
            ("normalize", self.normalize, NORMALIZERS),
        ):
            if value not in known:
                raise MindportError(f"Unknown {name} {value!r}.{did_you_mean(value, known)}")
        for shape, template in self.templates.items():
            if shape not in SHAPES:
                raise MindportError(f"Unknown shape {shape!r}.{did_you_mean(shape, SHAPES)}")
            _check_template(template)
        for label, words in self.label_words.items():
            check_text(label, "A label")
            if not words:
                raise MindportError(f"The label {label!r} has no words.", "Give it one or more.")
            for word in words:
                parts = (word.text,) if isinstance(word.text, str) else word.text
                for part in parts:
                    check_text(part, f"A word of label {label!r}")
                _check_parts(label, word, len(parts), self.templates)
        object.__setattr__(self, "templates", dict(self.templates))
        frozen = {label: tuple(words) for label, words in self.label_words.items()}
        object.__setattr__(self, "label_words", frozen)

    @property
    def answers(self) -> int:
        """How many ``[Z]`` the templates have at most; 0 without templates."""
        return max((answers(template) for template in self.templates.values()), default=0)


def split_template(text: str) -> tuple[Piece, ...]:
    """Return the pieces of a template in our language."""
    pieces: list[Piece] = []
    end = 0
    for match in _SLOT.finditer(text):
        pieces.append(Piece("words", text[end : match.start()]))
        name = match.group(1)
        special = {"X": Piece("text"), "Z": Piece("answer")}
        pieces.append(special.get(name, Piece("field", name)))
        end = match.end()
    pieces.append(Piece("words", text[end:]))
    return tuple(piece for piece in pieces if piece != Piece("words"))


def join_template(pieces: Iterable[Piece]) -> str:
    """Return the template of pieces; the reverse of :func:`split_template`.

    Raises:
        MindportError: If words would be read as a slot, or a field has a name that no slot can.
    """
    merged: list[Piece] = []
    for piece in pieces:
        if piece.role == "words" and merged and merged[-1].role == "words":
            merged[-1] = Piece("words", merged[-1].value + piece.value)
        elif piece != Piece("words"):
            merged.append(piece)
    slots = {"text": "[X]", "answer": "[Z]"}
    written = [
        slots.get(p.role) or (f"[{p.value}]" if p.role == "field" else p.value) for p in merged
    ]
    text = "".join(written)
    if split_template(text) != tuple(merged):
        raise MindportError(
            f"The template {text!r} cannot be written with [X], [name] and [Z]: words in square "
            "brackets, or a field called so, would be read as another slot.",
            "Rename the field, or write the words without the brackets.",
        )
    return text


def answers(template: str) -> int:
    """Return the number of ``[Z]`` in a template."""
    return sum(piece.role == "answer" for piece in split_template(template))


def ends_with_answer(template: str) -> bool:
    """Return whether nothing but white space follows the one ``[Z]``, as a language model needs."""
    pieces = split_template(template.rstrip())
    return answers(template) == 1 and pieces[-1].role == "answer"


def answers_follow_space(template: str) -> bool:
    """Return whether a space stands before every ``[Z]``."""
    pieces = split_template(template)
    return all(
        place and pieces[place - 1].role == "words" and pieces[place - 1].value.endswith(" ")
        for place, piece in enumerate(pieces)
        if piece.role == "answer"
    )


def by_shape(template: str) -> dict[str, str]:
    """Return a template under every shape that it serves.

    One that ends with the answer serves a language model and a masked one.
    """
    shapes = SHAPES if ends_with_answer(template) else ("cloze",)
    return dict.fromkeys(shapes, template)


def with_words(templates: PromptSpec, words: PromptSpec) -> PromptSpec:
    """Return templates of one file with the label words of another.

    A word that asks for a space asks for nothing where every template gives one.

    Raises:
        MindportError: If a word has not one part for each ``[Z]``.
    """
    given = all(answers_follow_space(template) for template in templates.templates.values())
    label_words = {
        label: tuple(
            replace(word, space=None) if word.space is True and given else word for word in entry
        )
        for label, entry in words.label_words.items()
    }
    notes = tuple(dict.fromkeys((*templates.notes, *words.notes)))
    try:
        return replace(templates, label_words=label_words, notes=notes)
    except MindportError as error:
        raise MindportError(f"{words.name}: {error.message}", error.hint) from None


def check_text(value: object, what: str) -> str:
    """Return a label or word.

    Raises:
        MindportError: If it is none: not text, empty, with space around it or half a character.
    """
    if not isinstance(value, str):
        raise MindportError(f"{what} must be text, not {value!r}.", BOOLEAN_HINT)
    if not value or value != value.strip():
        raise MindportError(
            f"{what} must not be empty or have space around it: {value!r}.",
            "The space before an answer is the template's.",
        )
    check_encodable(value, what)
    return value


def check_encodable(value: str, what: str) -> None:
    """Refuse half a character, which no file can hold.

    Raises:
        MindportError: If there is one.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MindportError(f"{what} holds half a character (a surrogate): {value!r}.") from None


BOOLEAN_HINT = 'YAML reads yes, no, on, off, true and false as booleans: put it in quotes ("yes").'


def _check_parts(label: str, word: LabelWord, parts: int, templates: Mapping[str, str]) -> None:
    for template in templates.values():
        if answers(template) != parts:
            raise MindportError(
                f"The word {word.text!r} of label {label!r} has {parts} parts, but the template "
                f"{template!r} has [Z] {answers(template)} times.",
                "With several [Z] a word is a list: one word for each.",
            )


def _check_template(template: str) -> None:
    check_encodable(template, "A template")
    roles = [piece.role for piece in split_template(template)]
    if "answer" not in roles:
        raise MindportError(f"The template {template!r} has no place for the answer.", _HOW)
    if roles.count("text") > 1:
        raise MindportError(
            f"The template {template!r} has the text {roles.count('text')} times.", _HOW
        )
    if "text" not in roles and "field" not in roles:
        raise MindportError(f"The template {template!r} has no place for a text.", _HOW)
