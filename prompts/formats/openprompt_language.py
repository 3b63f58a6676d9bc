"""OpenPrompt's template language, scanned and parsed, never evaluated.

Text mixed with dictionaries such as ``{"placeholder": "text_a"}`` and ``{"mask"}``, and the older
``<text_a> ... <mask>``. The course's ``mindprompt`` has the same language. OpenPrompt evaluates a
dictionary as Python; here a call or a lambda is refused where it stands.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.formats.spec import Piece, join_template, split_template

# Names for what people write as lambdas; "strip" is what mindport does to every field.
POST_PROCESSORS = ("strip", "lower", "upper", "capitalize", "rstrip_punct")

_KINDS = ("placeholder", "meta", "mask", "soft", "special", "text")
_ATTRIBUTES = ("shortenable", "post_processing", "add_prefix_space")
_SOFT = ("duplicate", "same", "soft_id")
_OLD = re.compile(r"<(text_a|text_b|mask|soft|meta:[^<>]*|eos|bos|cls|sep|unk|pad)>")
_LONGEST = 2_000  # characters of one dictionary
_SOFT_NOTE = (
    "Soft tokens are vectors that training makes, so they are left out; with their initial words, "
    "if they have some, as plain words. Learnt prompts belong to prompt learning, not a template."
)


def parse_template(line: str) -> tuple[str, tuple[str, ...]]:
    """Return a template in our language, and what could not be carried over.

    Args:
        line: One line of an OpenPrompt template file.

    Raises:
        MindportError: If it is not in OpenPrompt's language, or code stands in it; the message
            gives the column.
    """
    if "{" not in line and _OLD.search(line):
        return _parse_old(line)
    pieces: list[Piece] = []
    notes: list[str] = []
    place = 0
    while place < len(line):
        start = place
        while place < len(line) and line[place] == " ":
            place += 1
        space = " " if place > start else ""
        if place == len(line):
            break
        if line[place] == "{":
            end = _closing(line, place)
            pieces += _pieces(_Entry(line[place:end], place + 1), space, notes)
        else:
            end = line.find("{", place)
            end = len(line) if end < 0 else end
            words = line[place:end].rstrip(" ")
            pieces.append(Piece("words", space + words))
            end = place + len(words)
        place = end
    return join_template(pieces), tuple(dict.fromkeys(notes))


def write_template(template: str) -> str:
    """Return a template of ours in OpenPrompt's language, on one line."""
    written = []
    for piece in split_template(template):
        if piece.role == "text":
            written.append('{"placeholder": "text_a"}')
        elif piece.role == "answer":
            written.append('{"mask"}')
        elif piece.role == "field" and piece.value == "text_b":
            written.append('{"placeholder": "text_b"}')
        elif piece.role == "field":
            written.append(json.dumps({"meta": piece.value}, ensure_ascii=False))
        elif re.search(r"[{}]|  |[^\S ]", piece.value) or not piece.value.isprintable():
            # OpenPrompt ends a dictionary at the first brace, wherever it stands.
            text = (
                json.dumps(piece.value, ensure_ascii=False)
                .replace("{", r"\x7b")
                .replace("}", r"\x7d")
            )
            written.append(f'{{"text": {text}, "add_prefix_space": ""}}')
        else:
            written.append(piece.value)
    return "".join(written)


class _Entry:
    """A dictionary of the language: constants only.

    Args:
        source: From brace to brace.
        column: Of the first brace, from 1.
    """

    def __init__(self, source: str, column: int) -> None:
        self.column = column
        if len(source) > _LONGEST:
            raise self._error(f"an entry of {len(source)} characters is too long")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes that Python dislikes
                node = ast.parse(source, mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else "too deeply nested"
            raise self._error(f"{_shown(source)} is not an entry: {reason}") from None
        self.values: dict[str, Any] = {}
        if isinstance(node, ast.Set):
            for key in node.elts:
                self._add(source, self._constant(source, key), None)
        elif isinstance(node, ast.Dict):
            for name, value in zip(node.keys, node.values, strict=True):
                if name is None:
                    raise self._error("'**' is not allowed here")
                self._add(source, self._constant(source, name), self._constant(source, value))
        else:
            raise self._error(f"{_shown(source)} is not an entry")
        kinds = [kind for kind in _KINDS if kind in self.values]
        if len(kinds) != 1:
            raise self._error(f"{_shown(source)} must have just one of {', '.join(_KINDS)}")
        self.kind = kinds[0]

    def _add(self, source: str, name: Any, value: Any) -> None:
        known = (*_KINDS, *_ATTRIBUTES, *_SOFT)
        if not isinstance(name, str) or name not in known:
            raise self._error(f"unknown key {name!r}.{did_you_mean(str(name), known).rstrip('.')}")
        if name in self.values:
            raise self._error(f"the key {name!r} stands twice in {_shown(source)}")
        self.values[name] = value

    def _constant(self, source: str, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | None):
            return node.value
        # The parser counts bytes; an entry may hold other characters before the code.
        before = source.encode()[: node.col_offset].decode(errors="ignore")
        what = {ast.Lambda: "a lambda", ast.Call: "a call"}.get(type(node), "more than a constant")
        raise MindportError(
            f"column {self.column + len(before)}: {what} stands in {_shown(source)}; code in a "
            "template is never run.",
            f'Name a step instead: "post_processing": one of {", ".join(POST_PROCESSORS)}; '
            "or process the data beforehand.",
        )

    def text(self, name: str) -> str:
        value = self.values[name]
        if not isinstance(value, str) or not value:
            raise self._error(f"{name!r} must be text, not {value!r}")
        return value

    def _error(self, problem: str) -> MindportError:
        return MindportError(
            f"column {self.column}: {problem}.",
            'An entry is {"placeholder":"text_a"}, {"meta":"key"}, {"mask"} or {"text":"words"}.',
        )


def _pieces(entry: _Entry, space: str, notes: list[str]) -> list[Piece]:
    given = entry.values.get("add_prefix_space")
    if given is not None:
        space = " " if given in (True, " ") else ""
    words = Piece("words", space)
    if entry.kind == "placeholder":
        field = entry.text("placeholder")
        _note_attributes(entry, field, field == "text_a", notes)
        return [words, Piece("text") if field == "text_a" else Piece("field", field)]
    if entry.kind == "meta":
        field = entry.text("meta")
        _note_attributes(entry, field, False, notes)
        return [words, Piece("field", field)]
    if entry.kind == "mask":
        return [words, Piece("answer")]
    if entry.kind == "special":
        notes.append(
            f"The special token {entry.text('special')!r} is left out: those that the model needs "
            "are added for it."
        )
        return []
    if entry.kind == "soft":
        notes.append(_SOFT_NOTE)
        initial = entry.values["soft"]
        return [Piece("words", space + initial)] if isinstance(initial, str) else []
    return [words, Piece("words", entry.text("text"))]


def _note_attributes(entry: _Entry, field: str, shortened: bool, notes: list[str]) -> None:
    wanted = entry.values.get("shortenable", entry.kind == "placeholder")
    if bool(wanted) != shortened:
        notes.append(
            f"Whether {field!r} may be shortened: here only text_a is, when a prompt is too long."
        )
    step = entry.values.get("post_processing")
    if step is None or step == "strip":
        return
    if step not in POST_PROCESSORS:
        known = did_you_mean(str(step), POST_PROCESSORS)
        raise MindportError(f"column {entry.column}: unknown post_processing {step!r}.{known}")
    notes.append(f"The step {step!r} on {field!r}: apply it to the data beforehand.")


def _parse_old(line: str) -> tuple[str, tuple[str, ...]]:
    pieces: list[Piece] = []
    notes: list[str] = []
    end = 0
    for match in _OLD.finditer(line):
        pieces.append(Piece("words", line[end : match.start()]))
        name = match.group(1)
        if name == "text_a":
            pieces.append(Piece("text"))
        elif name == "mask":
            pieces.append(Piece("answer"))
        elif name == "text_b" or name.startswith("meta:"):
            pieces.append(Piece("field", name.removeprefix("meta:")))
        elif name == "soft":
            notes.append(_SOFT_NOTE)
        else:
            notes.append(f"The special token <{name}> is left out: those needed are added.")
        end = match.end()
    pieces.append(Piece("words", line[end:]))
    return re.sub(" {2,}", " ", join_template(pieces)).strip(" "), tuple(dict.fromkeys(notes))


def _closing(line: str, start: int) -> int:
    """Return the place after the brace that closes the one at ``start``, quotes respected."""
    depth, quote, place = 0, "", start
    while place < len(line):
        mark = line[place]
        if quote:
            place += mark == "\\"
            quote = "" if mark == quote else quote
        elif mark in "\"'":
            quote = mark
        elif mark in "{}":
            depth += 1 if mark == "{" else -1
            if depth == 0:
                return place + 1
        place += 1
    raise MindportError(
        f"column {start + 1}: this brace is never closed.",
        'Write braces that are meant as text as {"text": "{"}.',
    )


def _shown(source: str) -> str:
    return source if len(source) <= 80 else f"{source[:77]}…"
