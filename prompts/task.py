"""A task: data, labels with their words, and templates, read from one YAML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.dataset import PromptDataset
from mindport.prompts.template import SHAPES, Shape, Template
from mindport.prompts.verbalizer import Verbalizer

T = TypeVar("T")

_FOLDER = Path(__file__).parent / "tasks"
_KEYS = ("version", "description", "data", "labels", "templates", "chance")
_BOOLEAN = 'YAML reads yes, no, on, off, true and false as booleans: put it in quotes ("yes").'


@dataclass(frozen=True)
class DataFile:
    """Where a task's rows lie.

    Attributes:
        path: A file that :meth:`PromptDataset.from_file` reads.
        text: The field with the text.
        label: The field with the label.
        id: The field with the row's id, if it has one.
    """

    path: Path
    text: str = "text"
    label: str = "label"
    id: str = "id"


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
    """

    name: str
    version: int
    description: str
    data: DataFile
    verbalizer: Verbalizer
    templates: Mapping[Shape, Template]
    chance: float

    def read_data(self) -> PromptDataset:
        """Return the rows.

        Raises:
            MindportError: If the file cannot be used; the message gives the line.
        """
        return PromptDataset.from_file(
            self.data.path,
            text=self.data.text,
            label=self.data.label,
            id=self.data.id,
            labels=self.verbalizer.labels,
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
    return _build(path, _Reader(path))


def _build(path: Path, reader: _Reader) -> Task:
    content = reader.mapping(reader.read(), "", _KEYS)
    data = reader.mapping(content["data"], "data", ("file", "text", "label"), ("id",))
    fields = {key: reader.text(value, f"data.{key}") for key, value in data.items()}
    file = path.parent / fields.pop("file")
    words: dict[str, list[str]] = {}
    for place, entry in enumerate(reader.sequence(content["labels"], "labels")):
        key = f"labels[{place}]"
        label = reader.mapping(entry, key, ("name", "words"))
        name = reader.text(label["name"], f"{key}.name")
        if name in words:
            raise reader.error(f"{key}.name", f"the label {name!r} stands there twice")
        words[name] = [
            reader.text(word, f"{key}.words[{i}]")
            for i, word in enumerate(reader.sequence(label["words"], f"{key}.words"))
        ]
    templates = reader.mapping(content["templates"], "templates", (), SHAPES)
    if not templates:
        raise reader.error("templates", f"at least one of {', '.join(SHAPES)} is needed")
    return Task(
        name=path.stem,
        version=reader.version(content["version"]),
        description=reader.text(content["description"], "description"),
        data=DataFile(file, **fields),
        verbalizer=reader.build("labels", lambda: Verbalizer(words)),
        templates={
            shape: _template(reader, shape, templates[shape])
            for shape in SHAPES
            if shape in templates
        },
        chance=reader.chance(content["chance"]),
    )


def _template(reader: _Reader, shape: Shape, value: Any) -> Template:
    key = f"templates.{shape}"
    text = reader.text(value, key)
    template = reader.build(key, lambda: Template(text))
    if shape == "prefix" and template.shape != "prefix":
        raise reader.error(
            key,
            f"text follows [Z] in {text!r}, which a language model would never read",
            "End the prefix template with [Z].",
        )
    return template


class _Reader:
    """Strict access to a YAML file: every error names the file and the key."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def error(self, key: str, problem: str, hint: str = "") -> MindportError:
        where = f"{self._path}, {key}" if key else str(self._path)
        return MindportError(f"{where}: {problem}.", hint)

    def read(self) -> Any:
        try:
            text = self._path.read_text(encoding="utf-8")
        except OSError as error:
            reason = error.strerror or str(error)
            raise MindportError(f"The task {self._path} cannot be read: {reason}.") from None
        except UnicodeDecodeError:
            raise self.error("", "this is not UTF-8 text", "Save the file as UTF-8.") from None
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            if node is not None:
                self._check_keys(node, set())
            return yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            hint = 'Quote text that begins with "[" or holds ": ", such as a template.'
            raise self.error("", f"this is not YAML: {error}", hint) from None

    def _check_keys(self, node: yaml.Node, seen: set[int]) -> None:
        """Refuse a key that stands twice, where YAML would quietly take the last."""
        if id(node) in seen:  # an alias, perhaps to itself
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for child in node.value:
                self._check_keys(child, seen)
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in keys:
                    line = key.start_mark.line + 1
                    raise self.error(key.value, f"the key stands there twice, again in line {line}")
                keys.add(str(key.value))
                self._check_keys(value, seen)

    def mapping(
        self, value: Any, key: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        known = required + optional
        if not isinstance(value, dict):
            raise self.error(key, f"keys ({', '.join(known)}) are needed, not {value!r}")
        for name in value:
            if name not in known:
                hint = _BOOLEAN if isinstance(name, bool) else ""
                guess = did_you_mean(str(name), known).rstrip(".")
                raise self.error(key, f"unknown key {name!r}.{guess}", hint)
        for name in required:
            if name not in value:
                raise self.error(key, f"the key {name!r} is missing")
        return value

    def sequence(self, value: Any, key: str) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise self.error(key, f"a list with one entry or more is needed, not {value!r}")
        return value

    def text(self, value: Any, key: str) -> str:
        if isinstance(value, bool):
            raise self.error(key, f"this is the boolean {str(value).lower()}, not text", _BOOLEAN)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"text is needed, not {value!r}", "Put a number in quotes.")
        return value

    def version(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error("version", f"a whole number from 1 up is needed, not {value!r}")
        return value

    def chance(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise self.error(
                "chance", f"a number between 0 and 1 is needed, not {value!r}", "Two labels: 0.5."
            )
        return float(value)

    def build(self, key: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except MindportError as error:
            raise self.error(key, error.message.rstrip("."), error.hint) from None
