"""Read a labelled data set: one row, one :class:`InputExample`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from mindport.migrate.errors import MindportError, did_you_mean

Row = tuple[int, dict[str, Any]]  # line number in the file, its fields


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
        cls,
        path: Path,
        *,
        text: str = "text",
        label: str = "label",
        id: str = "id",
        labels: Sequence[str] | None = None,
    ) -> PromptDataset:
        """Read a file by its ending.

        Args:
            path: ``.jsonl`` (one object a line), ``.csv`` (quoted as RFC 4180) or ``.tsv`` (never
                quoted); the last two begin with a line of names. UTF-8.
            text: The field with the text.
            label: The field with the label.
            id: The field with the row's id; where a row has none, its line number is its id.
            labels: The labels that may occur; None allows any.

        Raises:
            MindportError: If the file cannot be read as that, or a row lacks something; the
                message gives the line.
        """
        readers = {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".tsv": _tsv_rows}
        if path.suffix not in readers:
            raise MindportError(
                f"The data file {path} has an unknown ending {path.suffix!r}.",
                f"Known: {', '.join(readers)}.",
            )
        examples = []
        for line, row in readers[path.suffix](path, _read_text(path)):
            where = f"{path}, line {line}"
            example = InputExample(
                id=_word(row.get(id, line), id, where),
                text=_text(row, text, where),
                label=_word(_value(row, label, where), label, where),
                meta={k: str(v) for k, v in row.items() if _is_plain(v) and k not in (text, label)},
            )
            if labels is not None and example.label not in labels:
                raise MindportError(
                    f"{where}: the label {example.label!r} has no words."
                    f"{did_you_mean(example.label, labels)}",
                    "Give the label words in the verbalizer, or correct the row.",
                )
            examples.append(example)
        return cls(tuple(examples), str(path))


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise MindportError(f"The data file {path} cannot be read: {reason}.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MindportError(
            f"{path}, line {line}: this is not UTF-8 text.", "Save the file as UTF-8."
        ) from None


def _jsonl_rows(path: Path, content: str) -> Iterator[Row]:
    # Not splitlines(): U+2028 and its like may stand inside a JSON string.
    for line, raw in enumerate(content.split("\n"), 1):
        if not raw.strip():
            continue
        try:
            row = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise MindportError(f"{path}, line {line}: this is not JSON: {error}.") from None
        if not isinstance(row, dict):
            raise MindportError(
                f"{path}, line {line}: a row must be a JSON object, not {type(row).__name__}.",
                'Write {"text": "…", "label": "…"}.',
            )
        yield line, row


def _csv_rows(path: Path, content: str) -> Iterator[Row]:
    return _table_rows(path, csv.reader(StringIO(content, newline=""), strict=True))


def _tsv_rows(path: Path, content: str) -> Iterator[Row]:
    lines = StringIO(content, newline="")
    return _table_rows(path, csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _table_rows(path: Path, reader: Any) -> Iterator[Row]:
    names: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [cell.strip() for cell in cells]
                if "" in names or len(set(names)) < len(names):
                    raise MindportError(
                        f"{path}, line {reader.line_num}: the names of the columns must be there "
                        f"and differ, but they are {names}."
                    )
                continue
            if len(cells) != len(names):
                raise MindportError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells under {len(names)} names "
                    f"({', '.join(names)}).",
                    "Quote a cell that holds the separator." if path.suffix == ".csv" else "",
                )
            yield reader.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise MindportError(f"{path}, line {reader.line_num}: {error}.") from None


def _value(row: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in row:
        raise MindportError(f"{where}: there is no field {name!r}.{did_you_mean(name, row)}")
    return row[name]


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    value = _value(row, name, where)
    if not isinstance(value, str):
        raise MindportError(f"{where}: {name!r} must be text, not {json.dumps(value)}.")
    if not value.strip():
        raise MindportError(f"{where}: {name!r} is empty.", "Remove the row, or give it a text.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MindportError(f"{where}: {name!r} holds half a character (a surrogate).") from None
    return value


def _word(value: Any, name: str, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise MindportError(f"{where}: {name!r} must be a word, not {json.dumps(value)}.")
    return str(value).strip()


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
