"""OpenPrompt's template and verbalizer files, which the course's ``mindprompt`` shares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.formats.files import publish, read_text
from mindport.prompts.formats.format import Format
from mindport.prompts.formats.json_file import json_text, parse_json
from mindport.prompts.formats.lines import (
    list_templates,
    located,
    lost_settings,
    pick_line,
    safe_name,
)
from mindport.prompts.formats.openprompt_language import parse_template, write_template
from mindport.prompts.formats.spec import LabelWord, PromptSpec, by_shape, check_text, with_words

_NO_SPACE = "<!>"
_VERBALIZERS = (".json", ".jsonl", ".txt", ".csv")


def read(
    path: Path,
    *,
    verbalizer: Path | None = None,
    classes: Sequence[str] | None = None,
    choice: int = 0,
    verbalizer_choice: int = 0,
) -> PromptSpec:
    """Read a template file, and the words of a verbalizer file.

    Args:
        path: One template a line.
        verbalizer: ``.json`` or ``.jsonl`` (label to words, or a list of such), or ``.txt`` or
            ``.csv`` (words with commas, one line a class, a blank line between sets).
        classes: The labels in order; needed where the verbalizer does not name them.
        choice: Which line, from 0.
        verbalizer_choice: Which set of words, from 0.

    Raises:
        MindportError: If a file is not so, or code stands in it; the message gives line and column.
    """
    number, line = pick_line(path, choice)
    try:
        template, notes = parse_template(line)
        spec = PromptSpec(safe_name(path), templates=by_shape(template), notes=notes)
    except MindportError as error:
        raise located(path, number, error) from None
    if verbalizer is None:
        return spec
    return with_words(spec, read_verbalizer(verbalizer, classes, verbalizer_choice, spec.answers))


def read_verbalizer(
    path: Path, classes: Sequence[str] | None = None, choice: int = 0, answers: int = 1
) -> PromptSpec:
    """Read a verbalizer file alone.

    A word is put after a space, as OpenPrompt does by default, unless ``<!>`` stands before it.

    Args:
        path: As for :func:`read`.
        classes: The labels in order.
        choice: Which set of words, from 0.
        answers: How many ``[Z]`` the template has: with several, a label's list is one word each.

    Raises:
        MindportError: If the file is not so, or does not fit the classes.
    """
    readers = {".txt": _text_sets, ".csv": _text_sets, ".json": _json_sets, ".jsonl": _json_sets}
    if path.suffix not in readers:
        raise MindportError(
            f"The verbalizer {path} has an unknown ending {path.suffix!r}.",
            f"Known: {', '.join(_VERBALIZERS)}.",
        )
    sets = readers[path.suffix](path)
    if not 0 <= choice < len(sets):
        raise MindportError(
            f"{path} has {len(sets)} sets of words, so there is none with number {choice}.",
            "They are counted from 0.",
        )
    labelled = _labelled(path, sets[choice], classes)
    try:
        words = {label: _words(label, entry, answers) for label, entry in labelled.items()}
        return PromptSpec(str(path), label_words=words, notes=_split_notes(labelled, answers))
    except MindportError as error:
        raise MindportError(f"{path}: {error.message}", error.hint) from None


def write(spec: PromptSpec, path: Path, *, verbalizer: Path | None = None) -> tuple[str, ...]:
    """Write a template file, one line for each template that differs, and a verbalizer.

    Args:
        spec: What to write.
        path: The template file.
        verbalizer: The words, as ``.json``; by default beside the templates.

    Returns:
        What the files cannot hold, one sentence each.

    Raises:
        DestinationError: If a file exists or cannot be written.
        MindportError: If there is nothing to write, or a word cannot be written.
    """
    templates, lost = list_templates(spec)
    files = {path: "".join(f"{write_template(template)}\n" for template in templates)}
    if spec.label_words:
        target = verbalizer or path.with_name(f"{path.stem}_verbalizer.json")
        content = {
            label: [_marked(word, spec.answers) for word in words]
            for label, words in spec.label_words.items()
        }
        if spec.answers > 1:
            content = {label: _only(label, entry) for label, entry in content.items()}
        files[target] = json_text(content)
    publish(files)
    return (*lost, *lost_settings(spec, kept=("space",)))


def _labelled(path: Path, found: Any, classes: Sequence[str] | None) -> dict[str, Any]:
    if isinstance(found, dict):
        if classes is None:
            return found
        for label in (*classes, *found):
            if label not in found or label not in classes:
                known = did_you_mean(str(label), found if label in classes else classes)
                raise MindportError(f"{path}: the label {label!r} is in one list only.{known}")
        return {label: found[label] for label in classes}
    if classes is None:
        raise MindportError(
            f"{path} does not name the labels of its {len(found)} lines.",
            "Give the classes in the order of the lines.",
        )
    if len(set(classes)) < len(classes) or len(classes) != len(found):
        raise MindportError(
            f"{path} has words for {len(found)} labels, but the classes are {list(classes)}.",
            "Give one class for each line, all different.",
        )
    return dict(zip(classes, found, strict=True))


def _words(label: str, entry: Any, answers: int) -> tuple[LabelWord, ...]:
    what = f"A word of label {label!r}"
    words = [entry] if isinstance(entry, str) else entry
    if not isinstance(words, list) or not words:
        raise MindportError(f"The words of label {label!r} must be a list, not {entry!r}.")
    if answers > 1:
        several = words if isinstance(words[0], list) else [words]
        for each in several:
            if not isinstance(each, list) or len(each) != answers:
                raise MindportError(
                    f"The label {label!r} has the words {each!r}, but the template has "
                    f"{answers} masks.",
                    "With several masks a label's list is one word for each.",
                )
        parts = [[check_text(_bare(word), what) for word in each] for each in several]
        return tuple(LabelWord(tuple(each)) for each in parts)
    found = []
    for word in words:
        text = check_text(_bare(word), what)
        found.append(LabelWord(text, space=not str(word).startswith(_NO_SPACE)))
    return tuple(found)


def _bare(word: Any) -> Any:
    return word.removeprefix(_NO_SPACE).strip() if isinstance(word, str) else word


def _split_notes(labelled: dict[str, Any], answers: int) -> tuple[str, ...]:
    if answers > 1 and _NO_SPACE in str(labelled):
        return (
            "A <!> before one of several words: the template alone says where spaces stand there.",
        )
    return ()


def _marked(word: LabelWord, answers: int) -> Any:
    if isinstance(word.text, tuple):
        return list(word.text) if answers > 1 else word.text[0]
    if word.text.startswith(_NO_SPACE):
        raise MindportError(f"The word {word.text!r} begins with OpenPrompt's mark {_NO_SPACE!r}.")
    return f"{_NO_SPACE}{word.text}" if word.space is False else word.text


def _only(label: str, entry: list[Any]) -> Any:
    if len(entry) == 1:
        return entry[0]
    raise MindportError(
        f"The label {label!r} has {len(entry)} words for several [Z], where OpenPrompt has one.",
        "Keep one word for each label.",
    )


def _text_sets(path: Path) -> list[Any]:
    sets = re.split(r"\n[^\S\n]*(?:\n[^\S\n]*)+", read_text(path).strip())
    return [[line.split(",") for line in part.split("\n")] for part in sets if part.strip()]


def _json_sets(path: Path) -> list[Any]:
    content = parse_json(path, lines=path.suffix == ".jsonl")
    sets = content if isinstance(content, list) else [content]
    # A list of words is a set whose labels have no names; a list of sets holds several.
    if sets and all(isinstance(entry, str) for entry in sets):
        sets = [[[word] for word in sets]]
    for entry in sets:
        if not isinstance(entry, dict | list) or not entry:
            raise MindportError(
                f"{path}: a set of words must map labels to words, not {str(entry)[:80]!r}.",
                'Write {"negative": ["bad"], "positive": ["good", "great"]}.',
            )
    return sets


def _looks_like(path: Path, text: str) -> bool:
    return bool(re.search(r"\{\s*['\"](mask|placeholder|soft)['\"]|<mask>", text))


FORMAT = Format(
    "openprompt",
    "OpenPrompt and the course's mindprompt: a template file and a verbalizer file",
    read,
    ("verbalizer", "classes", "choice", "verbalizer_choice"),
    _looks_like,
    write,
    ("verbalizer",),
)
