from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindport.migrate.errors import MindportError
from mindport.prompts import InputExample, Template

EXAMPLE = InputExample("1", "  a\tgood \n film ", "positive", {"title": "Jaws", "empty": " "})


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("[X] It was [Z]", "prefix"),
        ("[X] It was [Z] \n", "prefix"),
        ("It was [Z] . [X]", "cloze"),
        ("[X] It was [Z].", "cloze"),
        ("[Z][X]", "cloze"),
        ("[X] [Z] [title]", "cloze"),
        ("[X] [Z] [Z]", "cloze"),
        ("[Z] and [Z] [X]", "cloze"),
    ],
)
def test_shape(text, shape):
    assert Template(text).shape == shape


def test_render_tidies_the_text_only():
    assert Template("[title]:  [X] It was [Z]").render(EXAMPLE) == "Jaws:  a good film It was [Z]"
    assert Template("[X] [Z].").render(EXAMPLE, answer="bad") == "a good film bad."
    two = Template("[Z] [X][Z]")
    assert two.render(EXAMPLE, answer="no") == "no a good filmno"
    assert two.render(EXAMPLE, answer=("yes", "no")) == "yes a good filmno"
    assert two.render(EXAMPLE) == "[Z] a good film[Z]"


@pytest.mark.parametrize(
    ("text", "segments", "follows_space"),
    [
        ("[X] It was [Z]", ["a good film", " It was", "Z"], (True,)),
        ("[X] It was [Z]  ", ["a good film", " It was", "Z"], (True,)),
        ("[X] It was[Z]", ["a good film", " It was", "Z"], (False,)),
        ("[X]\n[Z]", ["a good film", "\n", "Z"], (False,)),
        ("[X] [Z]", ["a good film", "Z"], (True,)),
        ("[X]  [Z]", ["a good film", " ", "Z"], (True,)),
        ("It was [Z] . [X]", ["It was", "Z", " .", " a good film"], (True,)),
        ("On [title] [X]: [Z]", ["On", " Jaws", " a good film", ":", "Z"], (True,)),
        ("[Z][X]", ["Z", "a good film"], (False,)),
        ("[Z] [Z] [X]:[Z]", ["Z", "Z", " a good film", ":", "Z"], (False, True, False)),
        ("[X] [Z] and [Z]", ["a good film", "Z", " and", "Z"], (True, True)),
    ],
)
def test_a_space_belongs_to_what_follows(text, segments, follows_space):
    template = Template(text)
    assert [part.value for part in template.segments(EXAMPLE)] == segments
    assert template.answer_follows_space == follows_space
    assert template.answers == len(follows_space)


WORDS = st.text(alphabet="ab .\n", max_size=6)


@given(WORDS, WORDS, WORDS, st.booleans())
def test_segments_lose_nothing_but_the_space_before_the_answer(before, between, after, swap):
    slots = ("[Z]", "[X]") if swap else ("[X]", "[Z]")
    template = Template(f"{before}{slots[0]}{between}{slots[1]}{after}")
    parts = template.segments(EXAMPLE)
    joined = "".join("[Z]" if part.role == "answer" else part.value for part in parts)
    expected = template.render(EXAMPLE)
    if template.answer_follows_space == (True,):
        expected = expected.replace(" [Z]", "[Z]")
    if template.shape == "prefix":
        expected = expected.rstrip().removesuffix("[Z]") + "[Z]"
    else:
        # The space at the very end has nothing to follow it.
        expected = expected.removesuffix(" ") if after.endswith(" ") else expected
    assert joined == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It was [Z]", r"has \[X\] 0 times"),
        ("[X] It was", r"has \[Z\] 0 times"),
        ("[X] [X] [Z]", r"has \[X\] 2 times"),
        ('{"placeholder":"text_a"} It was {"mask"}', r"Write the text as \[X\]"),
        (True, "must be text"),
    ],
)
def test_bad_templates(text, said):
    with pytest.raises(MindportError, match=said):
        Template(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[X] [titel] [Z]", "Did you mean 'title'"),
        ("[X] [MASK] [Z]", r"use \[Z\] where a mask belongs"),
        ("[X] [empty] [Z]", "is empty"),
    ],
)
def test_fields_that_are_not_there(text, said):
    with pytest.raises(MindportError, match=said):
        Template(text).segments(EXAMPLE)
