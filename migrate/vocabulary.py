"""How many tokens a checkpoint cannot do without, from its config and its tokenizer files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mindport.migrate.errors import ConfigError, MindportError


def check_vocabulary(count: int, config: Mapping[str, Any], folder: Path) -> None:
    """Raise unless a vocabulary of ``count`` tokens has every id that is needed.

    Args:
        count: How many tokens there shall be.
        config: The contents of ``config.json``.
        folder: Where tokenizer files may lie.

    Raises:
        MindportError: If an id is not below ``count``; it names the highest and who needs it.
    """
    needed = [*_of_config(config), *_of_tokenizer(folder)]
    index, who = max(needed, default=(-1, ""))
    if index >= count:
        raise MindportError(
            f"A vocabulary of {count} tokens lacks the id {index}, which {who} needs.",
            f"Use --vocab-size {index + 1} or more.",
        )


def _of_config(config: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for name, value in config.items():
        if name.endswith("_token_id"):
            for index in value if isinstance(value, list) else [value]:
                if isinstance(index, int) and not isinstance(index, bool):
                    yield index, f"{name!r} in config.json"


def _of_tokenizer(folder: Path) -> Iterator[tuple[int, str]]:
    """Yield the highest id of each file that lists tokens."""
    for name, ids in (
        ("tokenizer.json", _of_tokenizer_json),
        ("vocab.json", lambda content: content.values()),
        ("added_tokens.json", lambda content: content.values()),
    ):
        path = folder / name
        if path.is_file():
            try:
                found = [int(index) for index in ids(json.loads(path.read_text(encoding="utf-8")))]
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(
                    f"{path} cannot be read, so the ids that it needs are not known: {error}."
                ) from None
            yield max(found, default=-1), name
    words = folder / "vocab.txt"
    if words.is_file():
        # Not splitlines(): some vocabularies hold U+2028 and its like as tokens.
        lines = words.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        yield len(lines) - 1, words.name


def _of_tokenizer_json(content: Any) -> Iterator[int]:
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, Mapping):
        yield from vocabulary.values()
    else:  # a list of tokens with their scores
        yield len(vocabulary) - 1
    for token in content.get("added_tokens", ()):
        yield token["id"]
