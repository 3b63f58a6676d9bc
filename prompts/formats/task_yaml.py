"""Our own task files, written from any other format and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mindport.migrate.errors import MindportError
from mindport.prompts.formats.format import Format
from mindport.prompts.formats.lines import safe_name
from mindport.prompts.formats.spec import (
    SHAPES,
    DataSource,
    LabelWord,
    PromptSpec,
    check_text,
)
from mindport.prompts.formats.yaml_file import YamlFile, write_yaml

_KEYS = (
    "version",
    "description",
    "language",
    "data",
    "shots",
    "labels",
    "aggregate",
    "normalize",
    "masks",
    "calibration",
    "templates",
    "chance",
)
_NO_DATA = "data.jsonl"


def read(path: Path) -> PromptSpec:
    """Read a task file; running one is the business of ``load_task``, which checks more.

    Raises:
        MindportError: If it is not so; the message gives line and key.
    """
    file = YamlFile(path)
    content = file.mapping(file.content, "", _KEYS)
    data = file.mapping(content.get("data") or {}, "data")
    shots = file.mapping(content.get("shots") or {}, "shots", ("file", "delimiter", "instruction"))
    templates = file.mapping(content.get("templates") or {}, "templates", SHAPES)
    notes = [
        f"The key {key!r}." for key in ("language", "calibration", "masks") if content.get(key)
    ]
    if "file" in shots:
        notes.append(f"Where demonstrations come from: {shots['file']!r}.")
    delimiter = shots.get("delimiter")
    version = content.get("version", 1)
    if isinstance(version, bool) or not isinstance(version, int):
        raise file.error("version", f"a whole number is needed, not {version!r}")
    try:
        return PromptSpec(
            name=safe_name(path),
            description=file.text(content.get("description", ""), "description", empty=True),
            templates={
                shape: file.text(template, f"templates.{shape}")
                for shape, template in templates.items()
            },
            label_words=_labels(file, content.get("labels") or []),
            aggregate=file.text(content.get("aggregate", "mean_log"), "aggregate"),
            normalize=file.text(content.get("normalize", "none"), "normalize"),
            instruction=file.text(shots.get("instruction", ""), "shots.instruction", empty=True),
            shot_delimiter=None
            if delimiter is None
            else file.text(delimiter, "shots.delimiter", empty=True),
            data=_source(file, data),
            version=version,
            notes=tuple(notes),
        )
    except MindportError as error:
        if error.message.startswith(str(path)):
            raise
        raise MindportError(f"{path}: {error.message}", error.hint) from None


def write(
    spec: PromptSpec, path: Path, *, data: str | None = None, shots: str | None = None
) -> tuple[str, ...]:
    """Write a task file.

    Args:
        spec: What to write: templates, and two labels or more.
        path: A name that ends in ``.yaml``.
        data: The rows' file, as seen from the task's folder; by default what the spec says.
        shots: The demonstrations' file, seen likewise.

    Returns:
        What must be filled in or could not be held, one sentence each.

    Raises:
        DestinationError: If the file exists or cannot be written.
        MindportError: If templates or labels are missing.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise MindportError(f"A task file ends in .yaml, which {path} does not.")
    if not spec.templates:
        raise MindportError("A task needs a template.", "Give a template file too.")
    if len(spec.label_words) < 2:
        raise MindportError("A task needs words for two labels or more.", "Give a verbalizer file.")
    source, lost = spec.data, []
    file = data or source.file
    if not file:
        file = _NO_DATA
        lost.append(f"Where the data are: put the rows into {_NO_DATA}, or correct data.file.")
    content: dict[str, Any] = {
        "version": max(spec.version, 1),
        "description": spec.description.strip() or f"The task {spec.name}.",
        "data": {"file": file, "text": source.text, "label": source.label},
    }
    if source.label_names:
        content["data"]["label_names"] = list(source.label_names)
    if source.jinja:
        content["data"]["jinja"] = source.jinja
    templates = {shape: spec.templates[shape] for shape in SHAPES if shape in spec.templates}
    if shots:
        content["shots"] = {"file": shots}
        if spec.shot_delimiter is not None:
            content["shots"]["delimiter"] = spec.shot_delimiter
        if spec.instruction:
            content["shots"]["instruction"] = spec.instruction
    else:
        if spec.instruction:
            # Without demonstrations it stands just before the text.
            templates = {shape: spec.instruction + text for shape, text in templates.items()}
            PromptSpec(spec.name, templates=templates)
            lost.append("The instruction is the templates' beginning, as there are no shots.")
        if spec.shot_delimiter is not None:
            lost.append(f"What stands between demonstrations: {spec.shot_delimiter!r}.")
    content["labels"] = [
        {"name": label, "words": [_written(word) for word in words]}
        for label, words in spec.label_words.items()
    ]
    if spec.aggregate != "mean_log":
        content["aggregate"] = spec.aggregate
    if spec.normalize != "none":
        content["normalize"] = spec.normalize
    content |= {"templates": templates, "chance": round(1 / len(spec.label_words), 6)}
    write_yaml(path, content)
    return tuple(lost)


def _written(word: LabelWord) -> Any:
    text = word.text if isinstance(word.text, str) else list(word.text)
    return text if word.space is None else {"text": text, "space": word.space}


def _labels(file: YamlFile, entries: Any) -> dict[str, tuple[LabelWord, ...]]:
    labels: dict[str, tuple[LabelWord, ...]] = {}
    for place, entry in enumerate(file.sequence(entries, "labels")):
        key = f"labels[{place}]"
        label = file.mapping(entry, key, ("name", "words"))
        name = file.text(label.get("name"), f"{key}.name")
        if name in labels:
            raise file.error(f"{key}.name", f"the label {name!r} stands there twice")
        words = file.sequence(label.get("words"), f"{key}.words")
        labels[name] = tuple(_word(file, w, f"{key}.words[{n}]") for n, w in enumerate(words))
    return labels


def _word(file: YamlFile, value: Any, key: str) -> LabelWord:
    space = None
    if isinstance(value, dict):
        entry = file.mapping(value, key, ("text", "space"))
        space, value = entry.get("space"), entry.get("text")
        if space is not None and not isinstance(space, bool):
            raise file.error(f"{key}.space", f"true or false is needed, not {space!r}")
    if isinstance(value, list):
        parts = [_word(file, part, key) for part in file.sequence(value, key)]
        if any(part.space is not None or not isinstance(part.text, str) for part in parts):
            raise file.error(key, "the words of several [Z] are texts here, without space")
        return LabelWord(tuple(str(part.text) for part in parts), space)
    try:
        return LabelWord(check_text(file.text(value, key), "A word"), space)
    except MindportError as error:
        if error.message.startswith(str(file.path)):
            raise
        raise file.error(key, error.message.rstrip("."), error.hint) from None


def _source(file: YamlFile, data: dict[str, Any]) -> DataSource:
    known = {
        key: file.text(data[key], f"data.{key}")
        for key in ("file", "text", "label", "jinja")
        if key in data
    }
    names = data.get("label_names") or []
    if not isinstance(names, list):
        raise file.error("data.label_names", "a list is needed, in the order of the indices")
    labels = tuple(file.text(name, f"data.label_names[{n}]") for n, name in enumerate(names))
    return DataSource(**known, label_names=labels)


def _looks_like(path: Path, text: str) -> bool:
    return path.suffix in (".yaml", ".yml") and "templates:" in text and "labels:" in text


FORMAT = Format(
    "task",
    "a task file of mindport",
    read,
    (),
    _looks_like,
    write,
    ("data", "shots"),
)
