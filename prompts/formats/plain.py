"""Our own template language in plain text files: one template a line, one label a line."""

from __future__ import annotations

from pathlib import Path

from mindport.migrate.errors import MindportError
from mindport.prompts.formats.files import publish
from mindport.prompts.formats.format import Format
from mindport.prompts.formats.lines import (
    label_lines,
    list_templates,
    located,
    lost_settings,
    pick_line,
    read_label_lines,
    refuse_marks,
    safe_name,
)
from mindport.prompts.formats.spec import PromptSpec, by_shape, with_words

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
    number, line = pick_line(path, choice)
    try:
        spec = PromptSpec(safe_name(path), templates=by_shape(line))
    except MindportError as error:
        raise located(path, number, error) from None
    if verbalizer is None:
        return spec
    words = PromptSpec(str(verbalizer), label_words=read_label_lines(verbalizer, _SEPARATOR))
    return with_words(spec, words)


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
    templates, lost = list_templates(spec)
    refuse_marks(templates, ("\n", "\r"))
    files = {path: "".join(f"{template}\n" for template in templates)}
    if spec.label_words:
        target = verbalizer or path.with_name(f"{path.stem}.labels.txt")
        files[target] = label_lines(spec, _SEPARATOR)
    publish(files)
    return (*lost, *lost_settings(spec))


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
