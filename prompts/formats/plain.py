"""Our own template language in plain text files: one template a line, one label a line."""

from __future__ import annotations

from pathlib import Path

from mindport.prompts.formats.format import Format
from mindport.prompts.formats.lines import read_lines, refuse_marks, write_lines
from mindport.prompts.formats.spec import PromptSpec

_SEPARATOR = ": "


def read(path: Path, *, verbalizer: Path | None = None, choice: int = 0) -> PromptSpec:
    """Read ``[X] It was [Z]``, and labels such as ``positive: good, great``.

    Args:
        path: One template a line.
        verbalizer: One label a line.
        choice: Which template, from 0.

    Raises:
        MindportError: If a file is not so; the message gives the line.
    """
    return read_lines(path, str, _SEPARATOR, verbalizer, choice)


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
        MindportError: If a template has several lines, or a word cannot be written.
    """
    beside = path.with_name(f"{path.stem}.labels.txt")
    return write_lines(spec, path, _checked, _SEPARATOR, verbalizer or beside)


def _checked(template: str) -> str:
    refuse_marks((template,), ("\n", "\r"))
    return template


def _looks_like(path: Path, text: str) -> bool:
    return path.suffix not in (".yaml", ".yml") and "[Z]" in text


FORMAT = Format(
    "plain",
    "text files: [X] It was [Z], one a line; and label: word, word",
    read,
    ("verbalizer", "choice"),
    _looks_like,
    write,
    ("verbalizer",),
)
