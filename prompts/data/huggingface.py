"""Rows from Hugging Face ``datasets``: a saved folder, or a name in its cache or on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError, did_you_mean
from mindport.prompts.data.rows import Row, Rows

PREFIX = "hf:"
_HOW = "Write hf:NAME:SPLIT or hf:OWNER/NAME/CONFIG:SPLIT, such as hf:stanfordnlp/imdb:test."


@dataclass(frozen=True)
class HubName:
    """A data set by name.

    Attributes:
        name: ``NAME`` or ``OWNER/NAME``.
        config: One of its parts, such as ``sst2`` of GLUE.
        split: ``train``, ``validation``, ``test``, ….
    """

    name: str
    config: str | None
    split: str


def parse_hub_name(source: str) -> tuple[HubName, ...]:
    """Return what ``hf:NAME[/CONFIG]:SPLIT`` may mean, the likelier first.

    ``hf:a/b:test`` is the data set ``b`` of ``a``; or, as old names have no owner, the part ``b``
    of ``a``.

    Raises:
        MindportError: If it is written otherwise.
    """
    name, _, split = source.removeprefix(PREFIX).partition(":")
    parts = name.split("/")
    if not split or len(parts) > 3 or not all(part.strip() for part in (*parts, split)):
        raise MindportError(f"{source!r} does not name a data set and a split.", _HOW)
    if len(parts) == 3:
        return (HubName("/".join(parts[:2]), parts[2], split),)
    if len(parts) == 2:
        return (HubName(name, None, split), HubName(parts[0], parts[1], split))
    return (HubName(name, None, split),)


def read_hub(source: str) -> Rows:
    """Return the rows of a data set by its name; code that comes with it is never run.

    Raises:
        EnvironmentUnavailableError: If ``datasets`` is not installed.
        MindportError: If the name is wrong, or the data set cannot be had.
    """
    candidates = parse_hub_name(source)
    library = _library(source)
    reasons = []
    for asked in candidates:
        try:
            loaded = library.load_dataset(asked.name, asked.config, split=asked.split)
        except Exception as error:  # it raises its own, those of the hub, and those of any format
            reasons.append(_first(error))
            continue
        return _as_rows(source, loaded, None)
    raise MindportError(
        f"The data set {source!r} cannot be had: {'; '.join(dict.fromkeys(reasons))}.",
        f"{_HOW} Without a network it must lie in the cache.",
    )


def read_saved(folder: Path, split: str | None = None) -> Rows:
    """Return the rows of a folder that ``save_to_disk`` wrote.

    Args:
        folder: Of a data set, or of several splits.
        split: Which one, if the folder holds several.

    Raises:
        EnvironmentUnavailableError: If ``datasets`` is not installed.
        MindportError: If it is not such a folder, or the split is not in it.
    """
    if not any((folder / name).is_file() for name in ("state.json", "dataset_dict.json")):
        raise MindportError(
            f"The folder {folder} is not a saved data set: it has no state.json.",
            "Give a file, or a folder that save_to_disk of Hugging Face's datasets wrote.",
        )
    library = _library(str(folder))
    try:
        loaded = library.load_from_disk(str(folder))
    except Exception as error:  # its own errors, pyarrow's, and those of JSON
        raise MindportError(f"The folder {folder} cannot be read: {_first(error)}.") from None
    return _as_rows(str(folder), loaded, split)


def _as_rows(source: str, loaded: Any, split: str | None) -> Rows:
    if isinstance(loaded, dict):  # a DatasetDict
        if split is None or split not in loaded:
            unknown = f"no split {split!r}.{did_you_mean(str(split), loaded)}"
            raise MindportError(
                f"{source} has {unknown if split else 'several splits.'}",
                f"Say which: {', '.join(sorted(loaded))}.",
            )
        loaded = loaded[split]
    names = {
        column: tuple(feature.names)
        for column, feature in loaded.features.items()
        if type(feature).__name__ == "ClassLabel"
    }
    return Rows(source, "row", _rows(source, loaded, _plain_columns(loaded)), names)


def _plain_columns(loaded: Any) -> list[str]:
    """Return the columns of texts and numbers: pictures and sounds would be decoded."""
    return [
        column
        for column, feature in loaded.features.items()
        if type(feature).__name__ in ("Value", "ClassLabel")
    ]


def _rows(source: str, loaded: Any, columns: list[str]) -> Iterator[Row]:
    number = 0
    try:
        for row in loaded.select_columns(columns).with_format(None):
            number += 1
            yield number, dict(row)
    except (OSError, ValueError) as error:
        raise MindportError(f"{source}, after row {number}: {_first(error)}.") from None


def _library(source: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise EnvironmentUnavailableError(
            f"{source} needs Hugging Face's datasets, which cannot be imported: {error}.",
            "pip install 'mindport[data]', or save the data as .jsonl.",
        ) from None
    return datasets


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
