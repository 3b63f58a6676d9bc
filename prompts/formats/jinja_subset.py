"""The part of Jinja that is a template of ours in other words: read without Jinja.

``{{field}}``, ``{{answer_choices[label]}}`` and words. Loops, conditions, filters and the rest
are the business of :mod:`mindport.prompts.formats.jinja`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mindport.migrate.errors import MindportError
from mindport.prompts.formats.spec import Piece

_MARK = re.compile(r"\{\{(.*?)\}\}|(\{%.*|\{\{.*|\{#.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*")
_CHOICE = re.compile(r"answer_choices\s*\[\s*(.+?)\s*\]", re.DOTALL)
_JOINED = re.compile(r"answer_choices\s*\|\s*join\s*\(\s*('[^'\\]*'|\"[^\"\\]*\")\s*\)")
_INDEX = re.compile(r"(\[.*\])\s*\.\s*index\s*\(\s*([A-Za-z_]\w*)\s*\)", re.DOTALL)


@dataclass(frozen=True)
class Beyond:
    """Why a text is not of the subset.

    Attributes:
        what: Such as ``the filter in {{ text | upper }}``.
    """

    what: str


@dataclass(frozen=True)
class Choice:
    """Which choice is right.

    Attributes:
        field: The data's field that says so.
        names: What the field holds, in the order of the choices; empty if it is their index.
    """

    field: str
    names: tuple[str, ...] = ()


def scan(text: str, choices: Sequence[str] = ()) -> tuple[Piece, ...] | Beyond:
    """Return the pieces of a Jinja text; every field has the role ``field``.

    Args:
        text: Jinja.
        choices: What ``answer_choices`` is, for a text that names them.
    """
    pieces: list[Piece] = []
    end = 0
    for match in _MARK.finditer(text):
        pieces.append(Piece("words", text[end : match.start()]))
        end = match.end()
        if match.group(1) is None:
            return Beyond(f"{match.group().splitlines()[0][:60]!r}")
        inner = match.group(1).strip()
        if _NAME.fullmatch(inner):
            pieces.append(Piece("field", inner))
        elif (words := _known_words(inner, choices)) is not None:
            pieces.append(Piece("words", words))
        else:
            return Beyond(f"'{{{{{inner[:60]}}}}}'")
    pieces.append(Piece("words", text[end:]))
    return tuple(piece for piece in pieces if piece != Piece("words"))


def parse_choice(expression: str) -> Choice | None:
    """Return what picks a choice: ``label``, or ``['no', 'yes'].index(label)``; else None."""
    expression = expression.strip()
    if _NAME.fullmatch(expression):
        return Choice(expression)
    match = _INDEX.fullmatch(expression)
    if not match:
        return None
    try:
        names = ast.literal_eval(match.group(1))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    if len(set(names)) < len(names):
        return None
    return Choice(match.group(2), tuple(names))


def parse_answer(text: str) -> Choice | None:
    """Return what ``{{answer_choices[…]}}`` picks by; None if the text is anything else."""
    inner = re.fullmatch(r"\s*\{\{(.*)\}\}\s*", text, re.DOTALL)
    match = inner and _CHOICE.fullmatch(inner.group(1).strip())
    return parse_choice(match.group(1)) if match else None


def write_choice(choice: Choice) -> str:
    """Return the expression that :func:`parse_choice` reads."""
    return f"{list(choice.names)!r}.index({choice.field})" if choice.names else choice.field


def name_text(pieces: Sequence[Piece], text: str | None) -> tuple[tuple[Piece, ...], str]:
    """Return pieces in which one field is ``[X]``, and that field's name.

    Args:
        pieces: Of :func:`scan`.
        text: The field; None for the first.

    Raises:
        MindportError: If no field is there, or not this one.
    """
    fields = [piece.value for piece in pieces if piece.role == "field"]
    if not fields or (text is not None and text not in fields):
        raise MindportError(
            f"The prompt does not show {f'the field {text!r}' if text else 'any field'}.",
            f"Its fields: {', '.join(fields)}." if fields else "A prompt shows the text.",
        )
    chosen = text if text is not None else fields[0]
    if fields.count(chosen) > 1:
        raise MindportError(
            f"The prompt shows the field {chosen!r} {fields.count(chosen)} times; as [X] it can "
            "stand there once.",
            "Choose another field as the text.",
        )
    return tuple(
        Piece("text") if piece == Piece("field", chosen) else piece for piece in pieces
    ), chosen


def write_words(words: str) -> str:
    """Return words as they stand in Jinja.

    Raises:
        MindportError: If they hold a mark of Jinja's.
    """
    for mark in ("{{", "{%", "{#", "}}", "%}", "#}"):
        if mark in words:
            raise MindportError(f"The words {words!r} hold {mark!r}, a mark of Jinja's.")
    return words


def _known_words(expression: str, choices: Sequence[str]) -> str | None:
    joined = _JOINED.fullmatch(expression)
    if joined and choices:
        return str(joined.group(1)[1:-1].join(choices))
    match = _CHOICE.fullmatch(expression)
    if match and match.group(1).isascii() and match.group(1).isdigit() and len(match.group(1)) < 4:
        place = int(match.group(1))
        return choices[place] if place < len(choices) else None
    return None
