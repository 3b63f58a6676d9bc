"""Files of lines: one template on each, or one label's words on each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from mindport.migrate.errors import MindportError
from mindport.prompts.formats.files import publish, read_text
from mindport.prompts.formats.spec import (
    LabelWord,
    PromptSpec,
    by_shape,
    check_text,
    with_words,
)


def read_lines(
    path: Path,
    parse: Callable[[str], str],
    separator: str,
    verbalizer: Path | None,
    choice: int,
) -> PromptSpec:
    """Return a template of a file of lines, with the words of another.

    Args:
        path: One template a line.
        parse: Makes our template of a line.
        separator: What stands between a label and its words.
        verbalizer: One label a line; None for a template alone.
        choice: Which template, from 0.

    Raises:
        MindportError: If a file is not so; the message gives the line.
    """
    number, line = pick_line(path, choice)
    try:
        spec = PromptSpec(safe_name(path), templates=by_shape(parse(line)))
    except MindportError as error:
        raise located(path, number, error) from None
    if verbalizer is None:
        return spec
    words = PromptSpec(str(verbalizer), label_words=read_label_lines(verbalizer, separator))
    return with_words(spec, words)


def write_lines(
    spec: PromptSpec, path: Path, write: Callable[[str], str], separator: str, labels: Path
) -> tuple[str, ...]:
    """Write each template that differs on its line, and the labels in a file of their own.

    Args:
        spec: What to write.
        path: The templates.
        write: Makes a line of our template.
        separator: What stands between a label and its words.
        labels: The file of the labels, written if there are any.

    Returns:
        What the files cannot hold, one sentence each.

    Raises:
        DestinationError: If a file exists or cannot be written.
        MindportError: If a template or a word cannot be written so.
    """
    templates, lost = list_templates(spec)
    files = {path: "".join(f"{write(template)}\n" for template in templates)}
    if spec.label_words:
        files[labels] = label_lines(spec, separator)
    publish(files)
    return (*lost, *lost_settings(spec))


def pick_line(path: Path, choice: int) -> tuple[int, str]:
    """Return the line of a template file that ``choice`` counts to from 0, and its number.

    Raises:
        MindportError: If there is no such line, or it is blank.
    """
    lines = read_text(path).rstrip("\n").split("\n")
    if not 0 <= choice < len(lines):
        raise MindportError(
            f"{path} has {len(lines)} lines, so there is no template {choice}.",
            f"Choose one from 0 to {len(lines) - 1}.",
        )
    number, line = choice + 1, lines[choice].rstrip()
    if not line:
        raise MindportError(f"{path}, line {number}: there is no template on this line.")
    return number, line


def list_templates(spec: PromptSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a spec's templates, each once, and what a list of them loses.

    Raises:
        MindportError: If there is none.
    """
    templates = tuple(dict.fromkeys(spec.templates.values()))
    if not templates:
        raise MindportError("There is no template to write.")
    shapes = ", ".join(f"line {place} is {shape}" for place, shape in enumerate(spec.templates, 1))
    lost = (f"Which template is for which model: {shapes}.",) if len(templates) > 1 else ()
    return templates, lost


def located(path: Path, line: int, error: MindportError) -> MindportError:
    """Return an error with the file and line before its message."""
    return MindportError(f"{path}, line {line}: {error.message}", error.hint)


def read_label_lines(path: Path, separator: str) -> dict[str, tuple[LabelWord, ...]]:
    r"""Read ``label<separator>word,word`` lines; blank ones are skipped.

    Args:
        path: The file.
        separator: Such as ``"\t"``; it stands once, after the label.

    Raises:
        MindportError: If a line is not so, or a label stands twice.
    """
    words: dict[str, tuple[LabelWord, ...]] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        label, found, rest = line.partition(separator)
        label = label.strip()
        try:
            if not found:
                raise MindportError(
                    f"there is no {separator!r} after the label.",
                    f"Write {'label' + separator + 'word,word'!r}.",
                )
            check_text(label, "A label")
            if label in words:
                raise MindportError(f"the label {label!r} stands there twice.")
            words[label] = tuple(
                LabelWord(check_text(word.strip(), f"A word of label {label!r}"))
                for word in rest.split(",")
            )
        except MindportError as error:
            raise located(path, number, error) from None
    if not words:
        raise MindportError(f"{path} holds no labels.")
    return words


def label_lines(spec: PromptSpec, separator: str) -> str:
    """Return the reverse of :func:`read_label_lines`.

    Raises:
        MindportError: If a label or word cannot stand in such a line.
    """
    lines = []
    for label, entry in spec.label_words.items():
        words = [plain_word(word) for word in entry]
        refuse_marks([label], (separator.strip() or separator, "\n"))
        refuse_marks(words, (",", "\n"))
        lines.append(f"{label}{separator}{','.join(words)}\n")
    return "".join(lines)


def plain_word(word: LabelWord) -> str:
    """Return a word's text.

    Raises:
        MindportError: If it is one for each of several ``[Z]``.
    """
    if isinstance(word.text, str):
        return word.text
    raise MindportError(
        f"The word {word.text!r} is one for each [Z], which this format cannot hold.",
        "Write it as openprompt or task.",
    )


def refuse_marks(texts: Iterable[str], marks: Iterable[str]) -> None:
    """Refuse texts that hold what separates them in the file.

    Raises:
        MindportError: If one does.
    """
    for text in texts:
        for mark in marks:
            if mark in text:
                raise MindportError(
                    f"{text!r} holds {mark!r}, which separates words in this format.",
                    "Choose another word, or another format.",
                )


def safe_name(path: Path) -> str:
    """Return a task's name made of a file's."""
    return re.sub(r"[^\w-]+", "_", path.stem).strip("_") or "task"


def lost_settings(spec: PromptSpec, kept: Iterable[str] = ()) -> list[str]:
    """Return what a format of bare templates and words loses of a spec, a sentence each."""
    held = set(kept)
    lost = {
        "instruction": spec.instruction and f"The instruction {spec.instruction!r}.",
        "shot_delimiter": spec.shot_delimiter is not None
        and f"What stands between demonstrations: {spec.shot_delimiter!r}.",
        "aggregate": spec.aggregate != "mean_log" and f"The aggregation {spec.aggregate!r}.",
        "normalize": spec.normalize != "none" and f"The normalisation {spec.normalize!r}.",
        "description": spec.description and "The description.",
        "data": spec.data.file and f"Where the data are: {spec.data.file!r}.",
        "jinja": spec.data.jinja and "The Jinja template that makes the text.",
        "space": any(
            word.space is not None for words in spec.label_words.values() for word in words
        )
        and "Whether a space stands before a word where the template does not say so.",
    }
    return [str(sentence) for name, sentence in lost.items() if sentence and name not in held]
