"""README.md and README.zh-CN.md say the same: headings, commands, links, pictures and tables."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
COMMENT = re.compile(r"(^|\s+)#.*$")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Return language and lines of every fenced block, without comments."""
    return [
        (language, [COMMENT.sub("", line) for line in body.splitlines()])
        for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.M | re.S)
    ]


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def heading_levels(text: str) -> list[int]:
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(text), flags=re.M)]


def sections(text: str) -> list[str]:
    return re.split(r"^#+ .*$", prose(text), flags=re.M)


def links(section: str) -> Counter[str]:
    """Return where a section's links lead; a sentence may name them in another order."""
    found = re.findall(r"(?<!!)\[(?:!\[[^\]]*\]\([^)]*\)|[^\]]*)\]\(([^)]+)\)", section)
    return Counter(link for link in found if link not in (ENGLISH, CHINESE))


def pictures(section: str) -> list[str]:
    return re.findall(r"!\[[^\]]*\]\(([^)]+)\)", section)


def tables(section: str) -> list[tuple[int, list[set[str]]]]:
    """Return of every row of a table how many cells it has, and what stands there as code."""
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [(row.count("|") - 1, [set(re.findall("`[^`]+`", c)) for c in row.split("|")])
            for row in rows]  # fmt: skip


def test_the_headings_are_as_many_and_as_deep_in_both():
    assert heading_levels(read(ENGLISH)) == heading_levels(read(CHINESE))
    assert len(heading_levels(read(ENGLISH))) > 5


def test_the_commands_are_the_same():
    ours, theirs = blocks(read(ENGLISH)), blocks(read(CHINESE))
    assert [language for language, _ in ours] == [language for language, _ in theirs]
    for (_, english), (_, chinese) in zip(ours, theirs, strict=True):
        assert english == chinese
    assert sum(len(lines) for _, lines in ours) > 30


@pytest.mark.parametrize("part", [links, pictures, tables])
def test_every_section_has_the_same(part):
    for english, chinese in zip(sections(read(ENGLISH)), sections(read(CHINESE)), strict=True):
        assert part(english) == part(chinese)
    assert any(part(section) for section in sections(read(ENGLISH)))


def test_each_leads_to_the_other():
    assert f"]({CHINESE})" in read(ENGLISH).partition("## ")[0]
    assert f"]({ENGLISH})" in read(CHINESE).partition("## ")[0]


def test_what_is_read_is_what_differs():
    """The readers above notice a changed command, link, picture, heading and table."""
    text = read(ENGLISH)
    for found, before, after in (
        (blocks, "migrate inspect ./bert-hf ", "migrate inspect ./gpt2-hf "),
        (heading_levels, "### Reports", "## Reports"),
        (lambda t: links(t), "](docs/speed.md)", "](docs/doctor.md)"),
        (lambda t: pictures(t), "docs/pictures/pass.svg", "docs/pictures/fail.svg"),
        (lambda t: tables(t), "| 3 | `not-run` |", "| 3 | `fail` |"),
    ):
        assert before in text
        assert found(text) != found(text.replace(before, after))


def test_the_chinese_one_is_in_chinese():
    for line in prose(read(CHINESE)).split("\n\n"):
        words = re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)|\*\*?", "", line)
        if len(words) > 80:
            assert len(re.findall("[\u4e00-\u9fff]", words)) > len(words) / 5, line
