"""Catalogues: sentences in English with named gaps, and the same in another language.

A catalogue is a YAML file ``PACKAGE/words/LANGUAGE/*.yaml``, found by listing the folders. Its keys
are English, ``the {side:w} could not run: {reason}``; what fills a gap is found in the finished
sentence, and is put where the translation names it. So the code goes on to compose its sentences as
it likes, and a sentence from another process, or of a stored verdict, is translated like any other.

In a key ``{name:w}`` is one word, ``{name:q}`` something in single quotes, and ``{name:p}``
anything whose brackets come in pairs. In a translation ``{name:t}`` stands for what is itself to be
translated, and ``{name}`` for what is not. No gap reaches over the end of a line, and only one that
is translated over a semicolon, which otherwise stands between two sentences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

from mindport.migrate.language.choice import ENGLISH

_ROOT = Path(__file__).parents[2]
_TRANSLATED = "t"
_GAPS = {"": "(?:(?!; ).)*?", "w": r"\S+", "q": "'[^']*'", "p": r"(?:[^()]|\([^()]*\))*"}
_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z'])")
_BULLET = re.compile(r"\s*(?:[-•…] )?")


@dataclass(frozen=True)
class Message:
    """A sentence that can be recognised.

    Attributes:
        pattern: Matches the finished sentence, with a group for each gap.
        anchor: Its longest piece without a gap.
        weight: How many letters of it are fixed; of two that match, the one with more is meant.
        translated: The gaps that are.
        text: The translation.
    """

    pattern: re.Pattern[str]
    anchor: str
    weight: int
    translated: frozenset[str]
    text: str


class _Filler(Formatter):
    def __init__(self, language: str) -> None:
        self.language = language

    def format_field(self, value: Any, format_spec: str) -> str:
        return translate(value, self.language) if format_spec == _TRANSLATED else str(value)


def translate(text: str, language: str) -> str:
    """Return a text in a language; what the catalogues do not have stays as it is.

    A text that is no sentence of a catalogue is taken apart: into lines, into what stands between
    semicolons, into sentences.

    Args:
        text: In English, finished.
        language: Of a catalogue.
    """
    if language == ENGLISH or not text.strip():
        return text
    core = text.strip()
    before, _, after = text.partition(core)
    return before + _whole(core, language) + after


def _whole(text: str, language: str) -> str:
    said = _as_it_stands(text, language)
    if said != text:
        return said
    # What goes on inside another sentence has lost its full stop, and the other way round.
    if text.endswith("."):
        said = _as_it_stands(text[:-1], language)
        return text if said == text[:-1] else f"{said}。"
    said = _as_it_stands(f"{text}.", language)
    return said.removesuffix("。") if said.endswith("。") else text


def _as_it_stands(text: str, language: str) -> str:
    words, messages = read_catalogue(language)
    if (found := words.get(text)) is not None:
        return found
    matches = [
        (message, match)
        for message in messages
        if message.anchor in text and (match := message.pattern.fullmatch(text))
    ]
    # A gap that holds the end of a sentence has taken what is another message.
    near = [pair for pair in matches if not _takes_more(*pair)]
    if not near and (said := _parts(text, language)) != text:
        return said
    best = max(near or matches, key=lambda pair: pair[0].weight, default=None)
    if best is None:
        return text
    return _Filler(language).vformat(best[0].text, (), best[1].groupdict())


def _takes_more(message: Message, match: re.Match[str]) -> bool:
    left = match.groupdict().items() - {(name, match[name]) for name in message.translated}
    return any(_SENTENCE.search(value) for _, value in left)


def _parts(text: str, language: str) -> str:
    lines = text.split("\n")
    if len(lines) > 1:
        return "\n".join(_line(line, language) for line in lines)
    for separator, joint in (("; ", "；"), (_SENTENCE, "")):
        parts = re.split(separator, text)
        said = [_whole(part, language) for part in parts] if len(parts) > 1 else parts
        if said != parts:
            return joint.join(said)
    return text


def _line(line: str, language: str) -> str:
    mark = _BULLET.match(line)
    start = mark.end() if mark else 0
    return line[:start] + translate(line[start:], language)


@lru_cache
def read_catalogue(language: str) -> tuple[Mapping[str, str], tuple[Message, ...]]:
    """Return what a language has: sentences without gaps, and those with gaps."""
    entries = {key: text for file in catalogue_files(language) for key, text in _read(file).items()}
    fixed = {key: text for key, text in entries.items() if not gaps(key)}
    return fixed, tuple(_message(key, text) for key, text in entries.items() if gaps(key))


def catalogue_files(language: str) -> list[Path]:
    """Return the files of a language; none where mindport runs from an archive."""
    return sorted(_ROOT.glob(f"*/words/{language}/*.yaml"))


def gaps(text: str) -> list[str]:
    """Return the names of a text's gaps, in order."""
    return [name for _, name, _, _ in Formatter().parse(text) if name]


def _read(path: Path) -> dict[str, str]:
    try:
        import yaml  # not where a worker runs; it speaks English
    except ImportError:
        return {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: dict[str, str] = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506
    return content


def _message(key: str, text: str) -> Message:
    pieces, pattern, seen = [], "", set()
    again = {name for _, name, how, _ in Formatter().parse(text) if how == _TRANSLATED}
    for literal, name, kind, _ in Formatter().parse(key):
        pieces.append(literal)
        pattern += re.escape(literal)
        if name is not None:
            what = ".*?" if name in again and not kind else _GAPS[kind or ""]
            pattern += f"(?P={name})" if name in seen else f"(?P<{name}>{what})"
            seen.add(name)
    return Message(
        pattern=re.compile(pattern),
        anchor=max(pieces, key=len),
        weight=sum(map(len, pieces)),
        translated=frozenset(filter(None, again)),
        text=text,
    )
