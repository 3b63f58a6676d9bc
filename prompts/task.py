"""A task: data, labels with their words, and templates, read from one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.aggregate import AGGREGATES, NORMALIZERS
from mindport.prompts.calibration import Calibration
from mindport.prompts.data.huggingface import PREFIX
from mindport.prompts.dataset import PromptDataset
from mindport.prompts.formats.jinja import JinjaTemplate
from mindport.prompts.shots import FewShotSampler, Shots, ShotSource
from mindport.prompts.template import SHAPES, Shape, Template
from mindport.prompts.verbalizer import MASK_SCORINGS, Verbalizer, Word
from mindport.prompts.yaml_reader import YamlReader

_FOLDER = Path(__file__).parent / "tasks"
_REQUIRED = ("version", "description", "data", "labels", "templates", "chance")
_VERBALIZER = {
    "aggregate": tuple(AGGREGATES),
    "normalize": tuple(NORMALIZERS),
    "masks": MASK_SCORINGS,
}
_OPTIONAL = ("language", "shots", "calibration", *_VERBALIZER)


@dataclass(frozen=True)
class DataFile:
    """Where a task's rows lie.

    Attributes:
        path: What :meth:`PromptDataset.from_file` reads: a file, a folder, or ``hf:NAME:SPLIT``.
        text: The field with the text.
        label: The field with the label.
        id: The field with the row's id, if it has one.
        label_names: The labels in the order of their index, if the field holds indices.
        jinja: A Jinja template that makes the text of a row, in place of the field.
    """

    path: Path | str
    text: str = "text"
    label: str = "label"
    id: str = "id"
    label_names: tuple[str, ...] = ()
    jinja: str = ""


@dataclass(frozen=True)
class Task:
    """A labelled data set with all that turns it into prompts.

    Attributes:
        name: The YAML file's name.
        version: Raised whenever a change could move a score.
        description: One sentence.
        data: The rows' file.
        verbalizer: Labels in order and their words.
        templates: One for each shape of prompt that the task is for.
        chance: The accuracy of guessing.
        shots: Where demonstrations come from, or None.
        calibration: What prior is taken out.
        language: Of the texts, as BCP 47 writes it.
    """

    name: str
    version: int
    description: str
    data: DataFile
    verbalizer: Verbalizer
    templates: Mapping[Shape, Template]
    chance: float
    shots: ShotSource | None = None
    calibration: Calibration = field(default_factory=Calibration)
    language: str = "en"

    def read_data(self) -> PromptDataset:
        """Return the rows.

        Raises:
            MindportError: If the file cannot be used; the message gives the line.
        """
        return self._read(self.data.path)

    def read_shot_pool(self) -> PromptDataset:
        """Return the rows that demonstrations are drawn from.

        Raises:
            MindportError: If the task has none, or its file cannot be used.
        """
        if self.shots is None:
            raise MindportError(
                f"The task {self.name!r} has no demonstrations.",
                "Give its YAML file the key shots, with a file of rows that are not evaluated.",
            )
        return self._read(self.shots.path)

    def draw_shots(self, sampler: FewShotSampler | None) -> Shots:
        """Return the task's instruction with drawn demonstrations, none if ``sampler`` is None.

        Raises:
            MindportError: If they cannot be drawn.
        """
        if sampler is None and self.shots is None:
            return Shots()
        examples = () if sampler is None else sampler(self._balanced_pool())
        if self.shots is None:
            return Shots(examples)
        return Shots(examples, self.shots.delimiter, self.shots.instruction)

    def _balanced_pool(self) -> PromptDataset:
        pool = self.read_shot_pool()
        found = {example.label for example in pool}
        absent = [label for label in self.verbalizer.labels if label not in found]
        if absent:
            raise MindportError(
                f"{pool.source}: no row has the label {absent[0]!r}.",
                "Demonstrations are drawn from every label; add rows of it.",
            )
        return pool

    def _read(self, path: Path | str) -> PromptDataset:
        return PromptDataset.from_file(
            path,
            text=self.data.text,
            label=self.data.label,
            id=self.data.id,
            labels=self.verbalizer.labels,
            label_names=self.data.label_names or None,
            render=JinjaTemplate(self.data.jinja) if self.data.jinja else None,
        )


def task_names() -> tuple[str, ...]:
    """Return the names of the tasks that mindport brings."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load_task(task: str | Path) -> Task:
    """Read a task.

    Args:
        task: A name from :func:`task_names`, or a path that ends in ``.yaml`` or ``.yml``.

    Raises:
        MindportError: If there is no such task or its file is wrong; the message names the key.
    """
    path = Path(task)
    if path.suffix not in (".yaml", ".yml"):
        if str(task) not in task_names():
            raise MindportError(
                f"Unknown task {str(task)!r}.{did_you_mean(str(task), task_names())}",
                "Name one of these, or a file that ends in .yaml.",
            )
        path = _FOLDER / f"{task}.yaml"
    return _build(path, YamlReader(path))


def _build(path: Path, reader: YamlReader) -> Task:
    content = reader.mapping(reader.content, "", _REQUIRED, _OPTIONAL)
    data = reader.mapping(
        content["data"], "data", ("file", "text", "label"), ("id", "label_names", "jinja")
    )
    names = data.pop("label_names", None)
    fields = {key: reader.text(value, f"data.{key}") for key, value in data.items()}
    file = _place(path, fields.pop("file"))
    label_names = () if names is None else _names(reader, names)
    words = _label_words(reader, content["labels"])
    rules: dict[str, Any] = {
        key: reader.choice(content[key], key, known)
        for key, known in _VERBALIZER.items()
        if key in content
    }
    templates = reader.mapping(content["templates"], "templates", (), SHAPES)
    if not templates:
        raise reader.error("templates", f"at least one of {', '.join(SHAPES)} is needed")
    return Task(
        name=path.stem,
        version=reader.version(content["version"]),
        description=reader.text(content["description"], "description"),
        data=DataFile(file, **fields, label_names=label_names),
        verbalizer=reader.build("labels", lambda: Verbalizer(words, **rules)),
        templates={
            shape: _template(reader, shape, templates[shape])
            for shape in SHAPES
            if shape in templates
        },
        chance=reader.chance(content["chance"]),
        shots=_shots(reader, content["shots"], path) if "shots" in content else None,
        calibration=_calibration(reader, content["calibration"])
        if "calibration" in content
        else Calibration(),
        language=reader.text(content.get("language", "en"), "language"),
    )


def _place(task: Path, file: str) -> Path | str:
    """Return a source of rows, seen from the task's folder."""
    return file if file.startswith(PREFIX) else task.parent / file


def _names(reader: YamlReader, value: Any) -> tuple[str, ...]:
    key = "data.label_names"
    names = reader.sequence(value, key)
    return tuple(reader.text(name, f"{key}[{place}]") for place, name in enumerate(names))


def _label_words(reader: YamlReader, labels: Any) -> dict[str, list[Any]]:
    words: dict[str, list[Any]] = {}
    for place, entry in enumerate(reader.sequence(labels, "labels")):
        key = f"labels[{place}]"
        label = reader.mapping(entry, key, ("name", "words"))
        name = reader.text(label["name"], f"{key}.name")
        if name in words:
            raise reader.error(f"{key}.name", f"the label {name!r} stands there twice")
        words[name] = [
            _word(reader, word, f"{key}.words[{i}]")
            for i, word in enumerate(reader.sequence(label["words"], f"{key}.words"))
        ]
    return words


def _word(reader: YamlReader, value: Any, key: str) -> Any:
    """Return a word: text, text with its space, or a list with one of these for each [Z]."""
    if isinstance(value, list):
        return [_word(reader, v, f"{key}[{i}]") for i, v in enumerate(reader.sequence(value, key))]
    if isinstance(value, dict):
        word = reader.mapping(value, key, ("text",), ("space",))
        space = word.get("space")
        if space is not None and not isinstance(space, bool):
            raise reader.error(f"{key}.space", f"true or false is needed, not {space!r}")
        return Word(reader.text(word["text"], f"{key}.text"), space)
    return reader.text(value, key)


def _shots(reader: YamlReader, value: Any, path: Path) -> ShotSource:
    shots = reader.mapping(value, "shots", ("file",), ("delimiter", "instruction"))
    file = _place(path, reader.text(shots["file"], "shots.file"))
    texts = {}
    for key in ("delimiter", "instruction"):
        if key in shots:
            if not isinstance(shots[key], str):
                raise reader.error(f"shots.{key}", f"text is needed, not {shots[key]!r}")
            if key == "delimiter" and "\\n" in shots[key]:
                raise reader.error(
                    f"shots.{key}",
                    f"{shots[key]!r} holds a backslash and an n, not a line break",
                    'YAML reads \\n as a line break between double quotes only: "\\n".',
                )
            texts[key] = shots[key]
    return ShotSource(file, **texts)


def _calibration(reader: YamlReader, value: Any) -> Calibration:
    content = reader.mapping(value, "calibration", ("kind",), ("inputs",))
    kind: Any = reader.text(content["kind"], "calibration.kind")
    inputs = []
    if "inputs" in content:
        inputs = reader.sequence(content["inputs"], "calibration.inputs")
    return reader.build("calibration", lambda: Calibration(kind, tuple(inputs)))


def _template(reader: YamlReader, shape: Shape, value: Any) -> Template:
    key = f"templates.{shape}"
    text = reader.text(value, key)
    template = reader.build(key, lambda: Template(text))
    if shape == "prefix" and template.shape != "prefix":
        raise reader.error(
            key,
            f"text follows [Z] in {text!r}, which a language model would never read",
            "End the prefix template with its only [Z].",
        )
    return template
