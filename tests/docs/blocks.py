"""Fenced blocks of a page, and the commands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").rglob("*.md"))),
]

# What a page may hold. `text` is a picture or a listing: nothing in it is run or compared.
LANGUAGES = ("sh", "console", "python", "yaml", "toml", "json", "text")

_FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?[^\n]*\n'
    r"(?P<text>.*?)^(?P=indent)```[ \t]*$",
    flags=re.MULTILINE | re.DOTALL,
)
_COMMENT = re.compile(r"(?:^|\s+)# .*$")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the file that it is, its text, the line it begins at."""

    language: str
    title: str | None
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A command as the page shows it, and the output shown below it, if any."""

    text: str
    line: int
    shown: str | None = None


def blocks_of(markdown: str) -> list[Block]:
    """Return the fenced blocks in order."""
    found = []
    for match in _FENCE.finditer(markdown):
        indent, text = match["indent"], match["text"]
        if indent:
            text = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
        line = markdown.count("\n", 0, match.start()) + 1
        found.append(Block(match["language"], match["title"], text, line))
    return found


def commands_of(block: Block) -> list[Command]:
    """Return the commands of a ``sh`` or ``console`` block, without comments."""
    if block.language == "sh":
        return _lines(block)
    if block.language == "console":
        return _sessions(block)
    return []


def _lines(block: Block) -> list[Command]:
    found, waiting, first = [], "", 0
    for offset, line in enumerate(block.text.splitlines(), 1):
        first = first or block.line + offset
        waiting += line.removesuffix("\\") if line.endswith("\\") else line
        if not line.endswith("\\"):
            text = " ".join(_COMMENT.sub("", waiting).split())
            if text:
                found.append(Command(text, first))
            waiting, first = "", 0
    return found


def _sessions(block: Block) -> list[Command]:
    found: list[Command] = []
    shown: list[str] = []
    for offset, line in enumerate(block.text.splitlines(), 1):
        if line.startswith("$ "):
            _close(found, shown)
            text = " ".join(_COMMENT.sub("", line[2:]).split())
            found.append(Command(text, block.line + offset, ""))
        else:
            shown.append(line)
    _close(found, shown)
    return found


def _close(found: list[Command], shown: list[str]) -> None:
    if found:
        last = found[-1]
        found[-1] = Command(last.text, last.line, "\n".join(shown))
    shown.clear()


def agrees(shown: str, printed: str) -> bool:
    """Whether the output is what the page shows.

    A line that is ``…`` alone stands for any lines, ``…`` in a line for any text in it. Spaces at
    the ends of lines and empty lines around do not count.
    """
    parts = []
    for line in shown.strip().splitlines():
        if line.strip() == "…":
            parts.append(r"(?:[^\n]*\n)*")
        else:
            parts.append(r"[^\n]*".join(re.escape(p) for p in line.rstrip().split("…")) + "\n")
    pattern = "".join(parts)
    lines = "".join(f"{line.rstrip()}\n" for line in printed.strip().splitlines())
    return re.fullmatch(pattern, lines) is not None
