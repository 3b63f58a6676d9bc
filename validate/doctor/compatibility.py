"""What fits what: the rows of ``compatibility.yaml``, and what they say of a set of versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from mindport.validate.doctor.finding import Finding, Word

_DATA = Path(__file__).with_name("compatibility.yaml")
_STACK = "stack:"


@dataclass(frozen=True)
class Stack:
    """Versions that were run together.

    Attributes:
        python: The Python, ``3.11``.
        pins: For pip.
        source: When and where.
    """

    python: str
    pins: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Row:
    """What is known of a combination.

    Attributes:
        when: By part, a range of versions; all must hold.
        verdict: ``ok``, ``warning`` or ``broken``.
        needs: What would be right.
        source: How that is known, with a date.
        says: What happens.
        message: The error text that users see.
        mend: Pins for pip.
    """

    when: Mapping[str, SpecifierSet]
    verdict: Word
    needs: str
    source: str
    says: str = ""
    message: str = ""
    mend: tuple[str, ...] = ()

    def holds(self, versions: Mapping[str, Version]) -> bool:
        """Whether the row is about these versions."""
        return all(
            # A build of your own has a local or development version of something known.
            ranges.contains(versions[part], prereleases=True)
            for part, ranges in self.when.items()
        )


@dataclass(frozen=True)
class Topic:
    """What is compared.

    Attributes:
        id: Its stable name.
        title: In words.
        parts: All must be found for the topic to be judged.
        concerns: The backends that need it.
        device: The device that needs it; empty for every device.
        rows: From the top; the first that holds decides.
    """

    id: str
    title: str
    parts: tuple[str, ...]
    concerns: tuple[str, ...]
    device: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """All that is known.

    Attributes:
        stacks: By backend, versions that were run together.
        topics: What is compared.
    """

    stacks: Mapping[str, Stack] = field(default_factory=dict)
    topics: tuple[Topic, ...] = ()

    def judge(self, versions: Mapping[str, str]) -> Iterator[Finding]:
        """Yield what is known of these versions, a topic at a time.

        Args:
            versions: By part: ``python``, ``mindspore``, ``numpy``, ``cann`` …
        """
        parsed = {name: _parse(text) for name, text in versions.items()}
        for topic in self.topics:
            if not set(topic.parts) <= set(versions):
                continue
            found = ", ".join(f"{part} {versions[part]}" for part in topic.parts)
            known = {p: v for p in topic.parts if (v := parsed[p]) is not None}
            row = None
            if set(known) == set(topic.parts):
                row = next((row for row in topic.rows if row.holds(known)), None)
            if row is None:
                yield Finding(
                    topic.id, topic.title, found, "not known", "unknown",
                    "Nobody has noted whether these fit; what is tried below decides.",
                    concerns=topic.concerns, device=topic.device,
                )  # fmt: skip
                continue
            said = f"{row.says[:1].upper()}{row.says[1:]}." if row.says else ""
            if row.message:
                said += f' The error then reads "{row.message}".'
            yield Finding(
                topic.id, topic.title, found, row.needs, row.verdict, said, row.mend,
                row.source, topic.concerns, topic.device,
            )  # fmt: skip

    def recognise(self, message: str) -> Row | None:
        """Return the row whose error text stands in a message, or None."""
        rows = (row for topic in self.topics for row in topic.rows if row.message)
        return next((row for row in rows if row.message in message), None)

    def pins(self, mend: tuple[str, ...]) -> tuple[str, ...]:
        """Return the pins of a remedy, a named stack written out."""
        pins: list[str] = []
        for pin in mend:
            if pin.startswith(_STACK):
                pins += self.stacks[pin.removeprefix(_STACK)].pins
            else:
                pins.append(pin)
        return tuple(pins)


def _parse(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


@cache
def load_table(path: Path = _DATA) -> Table:
    """Read the table.

    Raises:
        KeyError: If a topic or a row lacks a field.
    """
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    stacks = {
        name: Stack(str(stack["python"]), tuple(stack["pins"]), stack["source"])
        for name, stack in content["stacks"].items()
    }
    topics = tuple(
        Topic(
            topic["id"], topic["title"], tuple(topic["parts"]), tuple(topic["concerns"]),
            topic.get("device", ""), tuple(_row(row) for row in topic["rows"]),
        )
        for topic in content["topics"]
    )  # fmt: skip
    return Table(stacks, topics)


def _row(content: Mapping[str, Any]) -> Row:
    return Row(
        when={part: SpecifierSet(ranges) for part, ranges in content["when"].items()},
        verdict=content["verdict"],
        needs=str(content["needs"]),
        source=content["source"],
        says=content.get("says", ""),
        message=content.get("message", ""),
        mend=tuple(content.get("mend", ())),
    )
