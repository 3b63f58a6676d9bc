"""Pattern-exploiting training: ``{MASK}{textA}`` templates, ``label<TAB>word,word`` verbalizers."""

from __future__ import annotations

import re
from pathlib import Path

from mindport.migrate.errors import MindportError
from mindport.prompts.formats.format import Format
from mindport.prompts.formats.lines import read_lines, refuse_marks, write_lines
from mindport.prompts.formats.spec import Piece, PromptSpec, join_template, split_template

_SLOT = re.compile(r"\{([^{}]*)\}")
_NAMES = {"MASK": Piece("answer"), "textA": Piece("text"), "textB": Piece("field", "text_b")}


def read(path: Path, *, verbalizer: Path | None = None, choice: int = 0) -> PromptSpec:
    r"""Read ``It was {MASK}. {textA}``, and labels such as ``positive\tgood,great``.

    Args:
        path: One template a line.
        verbalizer: One label a line.
        choice: Which template, from 0.

    Raises:
        MindportError: If a file is not so; the message gives the line.
    """
    return read_lines(path, _parse, "\t", verbalizer, choice)


def write(spec: PromptSpec, path: Path, *, verbalizer: Path | None = None) -> tuple[str, ...]:
    """Write each template that differs on its line, and the labels in a file of their own.

    Args:
        spec: What to write.
        path: The templates.
        verbalizer: The labels; by default beside the templates.

    Returns:
        What the files cannot hold, one sentence each.

    Raises:
        DestinationError: If a file exists or cannot be written.
        MindportError: If a template or a word cannot be written so.
    """
    beside = path.with_name(f"{path.stem}_verbalizer.txt")
    return write_lines(spec, path, _write, "\t", verbalizer or beside)


def _parse(line: str) -> str:
    pieces: list[Piece] = []
    end = 0
    for match in _SLOT.finditer(line):
        pieces.append(Piece("words", line[end : match.start()]))
        name = match.group(1).strip()
        if not name.isidentifier():
            raise MindportError(
                f"column {match.start() + 1}: {match.group()!r} is not a slot.",
                "Slots are {MASK}, {textA}, {textB} and names of fields.",
            )
        pieces.append(_NAMES.get(name, Piece("field", name)))
        end = match.end()
    pieces.append(Piece("words", line[end:]))
    for piece in pieces:
        if piece.role == "words" and ("{" in piece.value or "}" in piece.value):
            raise MindportError(f"A brace stands alone in {line!r}.", "Slots are {MASK}, {textA}.")
    return join_template(pieces)


def _write(template: str) -> str:
    written = []
    names = {piece: name for name, piece in _NAMES.items()}
    for piece in split_template(template):
        if piece.role == "words":
            refuse_marks([piece.value], ("{", "}", "\n", "\r"))
            written.append(piece.value)
        else:
            written.append("{" + names.get(piece, piece.value) + "}")
    return "".join(written)


def _looks_like(path: Path, text: str) -> bool:
    return "{MASK}" in text


FORMAT = Format(
    "pet",
    "PET: {MASK}{textA} templates and label<TAB>word,word verbalizers",
    read,
    ("verbalizer", "choice"),
    _looks_like,
    write,
    ("verbalizer",),
)
