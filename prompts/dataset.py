"""A labelled data set: one row, one :class:`InputExample`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindport.migrate.errors import MindportError, did_you_mean
from mindport.prompts.data.huggingface import PREFIX, read_hub, read_saved
from mindport.prompts.data.jsonl import read_jsonl
from mindport.prompts.data.mindrecord import read_mindrecord
from mindport.prompts.data.parquet import read_parquet
from mindport.prompts.data.rows import Rows
from mindport.prompts.data.table import read_csv, read_tsv

READERS: Mapping[str, Callable[[Path], Rows]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".mindrecord": read_mindrecord,
}
_SHARD = re.compile(r"\.mindrecord\d+")  # of a MindRecord in several files
Names = Sequence[str] | Mapping[str, str]


def tidy(text: str) -> str:
    """Return the text stripped, with every run of white space made one space."""
    return " ".join(text.split())


@dataclass(frozen=True)
class InputExample:
    """One labelled text.

    Attributes:
        id: Names the row in reports.
        text: What ``[X]`` of a template stands for.
        label: One of the verbalizer's labels.
        meta: Further fields, for ``[name]`` in a template.
    """

    id: str
    text: str
    label: str
    meta: Mapping[str, str] = field(default_factory=dict)

    @property
    def guid(self) -> str:
        """The id, by the name that OpenPrompt gives it."""
        return self.id

    @property
    def text_a(self) -> str:
        """The text, by the name that OpenPrompt gives it."""
        return self.text

    @property
    def text_b(self) -> str:
        """The field ``text_b``, OpenPrompt's second text; empty if there is none."""
        return self.meta.get("text_b", "")


@dataclass(frozen=True)
class PromptDataset(Sequence[InputExample]):
    """A sequence of examples that knows where they came from.

    Attributes:
        examples: In the order of the source.
        source: What error messages call the data: the file, as a rule.
    """

    examples: tuple[InputExample, ...]
    source: str = "the data set"

    def __post_init__(self) -> None:
        object.__setattr__(self, "examples", tuple(self.examples))
        if not self.examples:
            raise MindportError(f"{self.source} holds no rows.", "Give at least one example.")
        first: dict[str, int] = {}
        for number, example in enumerate(self.examples, 1):
            if not example.text.strip():
                raise MindportError(f"{self.source}: the text of example {number} is empty.")
            if first.setdefault(example.id, number) != number:
                raise MindportError(
                    f"{self.source}: examples {first[example.id]} and {number} have the same id "
                    f"{example.id!r}.",
                    "Reports name examples by their id; give each its own.",
                )

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: Any) -> Any:
        return self.examples[index]

    def __iter__(self) -> Iterator[InputExample]:
        return iter(self.examples)

    @property
    def duplicates(self) -> int:
        """How many rows repeat the text of an earlier one, white space aside."""
        return len(self) - len({tidy(example.text) for example in self})

    def take(self, count: int) -> PromptDataset:
        """Return ``count`` rows in file order: the first of every label, then the second, ….

        A file sorted by label would otherwise give rows of one label only.
        """
        seen: dict[str, int] = {}
        turns = []  # (which of its label's rows it is, its place in the file)
        for place, example in enumerate(self):
            turns.append((seen.get(example.label, 0), place))
            seen[example.label] = turns[-1][0] + 1
        kept = sorted(place for _, place in sorted(turns)[:count])
        return PromptDataset(tuple(self.examples[place] for place in kept), self.source)

    @classmethod
    def from_file(
        cls, path: Path | str, *, split: str | None = None, **options: Any
    ) -> PromptDataset:
        """Read a source by its ending.

        Args:
            path: ``.jsonl`` (one object a line), ``.csv`` (quoted as RFC 4180) or ``.tsv`` (never
                quoted), the last two beginning with a line of names, UTF-8; ``.parquet``;
                ``.mindrecord``; a folder that ``save_to_disk`` of Hugging Face's datasets wrote;
                or ``hf:NAME[/CONFIG]:SPLIT``.
            split: Which part of a folder with several.
            options: As for :meth:`from_rows`.

        Raises:
            MindportError: If the source cannot be read as that, or a row lacks something; the
                message gives the line.
        """
        return cls.from_rows(open_rows(path, split), **options)

    @classmethod
    def from_jsonl(cls, path: Path, **options: Any) -> PromptDataset:
        """Read JSON lines; options and errors as for :meth:`from_rows`."""
        return cls.from_rows(read_jsonl(path), **options)

    @classmethod
    def from_csv(cls, path: Path, **options: Any) -> PromptDataset:
        """Read comma-separated values; options and errors as for :meth:`from_rows`."""
        return cls.from_rows(read_csv(path), **options)

    @classmethod
    def from_tsv(cls, path: Path, **options: Any) -> PromptDataset:
        """Read tab-separated values; options and errors as for :meth:`from_rows`."""
        return cls.from_rows(read_tsv(path), **options)

    @classmethod
    def from_parquet(cls, path: Path, **options: Any) -> PromptDataset:
        """Read Parquet, through pyarrow; options and errors as for :meth:`from_rows`."""
        return cls.from_rows(read_parquet(path), **options)

    @classmethod
    def from_mindrecord(cls, path: Path, **options: Any) -> PromptDataset:
        """Read MindRecord, through MindSpore; options and errors as for :meth:`from_rows`."""
        return cls.from_rows(read_mindrecord(path), **options)

    @classmethod
    def from_hf(
        cls, source: Path | str, *, split: str | None = None, **options: Any
    ) -> PromptDataset:
        """Read a saved folder or ``hf:NAME[/CONFIG]:SPLIT``, as :meth:`from_file` does."""
        named = str(source).startswith(PREFIX)
        rows = read_hub(str(source)) if named else read_saved(Path(source), split)
        return cls.from_rows(rows, **options)

    @classmethod
    def from_rows(
        cls,
        rows: Rows,
        *,
        text: str = "text",
        label: str = "label",
        id: str = "id",
        labels: Sequence[str] | None = None,
        label_names: Names | None = None,
        render: Callable[[Mapping[str, Any]], str] | None = None,
    ) -> PromptDataset:
        """Make examples of rows.

        Args:
            rows: From any source.
            text: The field with the text.
            label: The field with the label.
            id: The field with the row's id; where a row has none, its number is its id.
            labels: The labels that may occur; None allows any.
            label_names: What the labels are called if the field holds class indices: names in the
                order of the index, or index to name. A source that knows them (a ``ClassLabel``)
                needs none.
            render: Makes the text of a row from its fields; the field ``text`` is then not read.

        Raises:
            MindportError: If a row lacks something; the message gives its number.
        """
        classes = _classes(rows, label, labels, label_names)
        examples = []
        for number, row in rows.rows:
            where = f"{rows.source}, {rows.unit} {number}"
            example = InputExample(
                id=_word(number if row.get(id) is None else row[id], id, where),
                text=_text(row, text, where, render),
                label=_label(_value(row, label, where), label, classes, where),
                meta={k: str(v) for k, v in row.items() if _is_plain(v) and k not in (text, label)},
            )
            if labels is not None and example.label not in labels:
                raise MindportError(
                    f"{where}: the label {example.label!r} has no words."
                    f"{did_you_mean(example.label, labels)}",
                    "Give the label words in the verbalizer, or correct the row.",
                )
            examples.append(example)
        return cls(tuple(examples), rows.source)


def open_rows(source: Path | str, split: str | None = None) -> Rows:
    """Return the rows of a source, by its ending; sources as for :meth:`PromptDataset.from_file`.

    Raises:
        MindportError: If the ending is unknown or the source cannot be opened.
    """
    if str(source).startswith(PREFIX):
        return read_hub(str(source))
    path = Path(source)
    if path.is_dir():
        return read_saved(path, split)
    suffix = ".mindrecord" if _SHARD.fullmatch(path.suffix) else path.suffix
    if suffix not in READERS:
        raise MindportError(
            f"The data file {path} has an unknown ending {path.suffix!r}.",
            f"Known: {', '.join(READERS)}; a folder saved by datasets; {PREFIX}NAME:SPLIT.",
        )
    return READERS[suffix](path)


def _classes(
    rows: Rows, label: str, labels: Sequence[str] | None, given: Names | None
) -> Mapping[str, str]:
    """Return the name of every class index, empty if the labels stand there as they are."""
    if given is None:
        given = rows.class_names.get(label, ())
        if labels is not None and not set(given) & set(labels):
            return {}  # words were given for the indices themselves
    if isinstance(given, Mapping):
        return {str(index).strip(): str(name) for index, name in given.items()}
    return {str(index): str(name) for index, name in enumerate(given)}


def _label(value: Any, name: str, classes: Mapping[str, str], where: str) -> str:
    word = _word(value, name, where)
    if not classes or word in classes.values():
        return word
    if word not in classes:
        raise MindportError(
            f"{where}: {name!r} is {word}, which is no class index.",
            f"Known: {', '.join(f'{index} = {title}' for index, title in classes.items())}. "
            "Data without labels (-1) cannot be scored.",
        )
    return classes[word]


def _value(row: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in row:
        raise MindportError(f"{where}: there is no field {name!r}.{did_you_mean(name, row)}")
    return row[name]


def _text(
    row: Mapping[str, Any],
    name: str,
    where: str,
    render: Callable[[Mapping[str, Any]], str] | None,
) -> str:
    if render is None:
        value = _value(row, name, where)
    else:
        name = "the rendered text"
        try:
            value = render(row)
        except MindportError as error:
            raise MindportError(f"{where}: {error.message}", error.hint) from None
    if not isinstance(value, str):
        raise MindportError(f"{where}: {name!r} must be text, not {_shown(value)}.")
    if not value.strip():
        raise MindportError(f"{where}: {name!r} is empty.", "Remove the row, or give it a text.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MindportError(f"{where}: {name!r} holds half a character (a surrogate).") from None
    return value


def _word(value: Any, name: str, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise MindportError(f"{where}: {name!r} must be a word, not {_shown(value)}.")
    return str(value).strip()


def _shown(value: Any) -> str:
    return json.dumps(value, default=repr)[:80]


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
