from __future__ import annotations

from dataclasses import dataclass

import pytest

from mindport.prompts import InputExample
from mindport.prompts.lint import lint

WORDS = {"negative": ["bad", "terrible"], "positive": ["good", "great"]}


@dataclass(frozen=True)
class Word:
    text: str | tuple[str, ...]
    space: bool | None = None


def codes(*args, **options):
    return [finding.code for finding in lint(*args, **options)]


def rows(*labels, text="the film", **meta):
    return [InputExample(str(i), f"{text} {i}", label, meta) for i, label in enumerate(labels)]


def test_nothing_is_wrong_with_a_right_prompt(bpe, wordpiece):
    data = rows("negative", "positive")
    assert lint("[X] It was [Z]", "prefix", WORDS, bpe, data) == []
    assert lint("It was [Z] . [X]", "cloze", WORDS, wordpiece, data) == []


@pytest.mark.parametrize(
    ("template", "shape", "level", "code"),
    [
        ("[X] It was", "prefix", "error", "no-answer"),
        ("", "cloze", "error", "no-answer"),
        ("It was [Z]", "prefix", "warning", "no-text"),
        ("[X] [X] It was [Z]", "prefix", "error", "text-twice"),
        ("[X] It was [Z] .", "prefix", "error", "mask-not-last"),
        ("It was [Z] [X]", "prefix", "error", "mask-not-last"),
        ("[X] [Z] [Z]", "prefix", "error", "mask-not-last"),
        ("[X] It was [Z] ", "prefix", "info", "space-after-answer"),
        ("[X] It was[Z]", "prefix", "warning", "no-space-before-answer"),
        ("[X][Z]", "prefix", "warning", "no-space-before-answer"),
        ("[X] It was  [Z]", "prefix", "warning", "spaces-before-answer"),
        (" [X] It was [Z]", "prefix", "warning", "space-at-start"),
    ],
)
def test_templates(template, shape, level, code):
    findings = lint(template, shape, {})
    assert (level, code) in [(finding.level, finding.code) for finding in findings]


def test_a_line_break_before_the_answer_is_meant():
    assert codes("[X]\nTopic:\n[Z]", "prefix", WORDS) == []
    assert codes("[Z]: [X]", "cloze", WORDS) == []


@pytest.mark.parametrize(
    ("words", "level", "code"),
    [
        ({"a": ["x"]}, "error", "one-label"),
        ({"a": ["x"], "b": ["x"]}, "error", "duplicate-word"),
        ({"a": ["x", "x"], "b": ["y", "z"]}, "error", "duplicate-word"),
        ({"a": [" x"], "b": ["y"]}, "error", "space-around-word"),
        ({"a": [""], "b": ["y"]}, "error", "space-around-word"),
        ({"a": [True], "b": [False]}, "error", "boolean"),
        ({"a": [Word(True)], "b": ["y"]}, "error", "boolean"),
        ({True: ["x"], False: ["y"]}, "error", "boolean"),
        ({"a": ["x", "y"], "b": ["z"]}, "info", "unequal-words"),
    ],
)
def test_words(words, level, code):
    assert (level, code) in [(f.level, f.code) for f in lint("[X] It was [Z]", "prefix", words)]


def test_the_same_tokens_are_a_collision(wordpiece):
    words = {"a": ["Good"], "b": ["good"]}
    assert codes("[Z] [X]", "cloze", words, wordpiece) == ["token-collision"]


def test_the_space_of_a_word_changes_its_token(bpe):
    words = {"a": [Word("good", False)], "b": [Word("good", True)], "c": ["bad"]}
    assert codes("[X] It was [Z]", "prefix", words, bpe) == []
    assert codes("[X] It was[Z]", "prefix", {"a": [Word("good", True)], "b": ["bad"]}, bpe) == [
        "no-space-before-answer"
    ]
    same = {"a": [Word("good", True)], "b": ["good"]}
    assert codes("[X] It was [Z]", "prefix", same, bpe) == ["token-collision"]


def test_labels_that_share_a_first_token(bpe, wordpiece):
    words = {"a": ["good film"], "b": ["good sport"]}
    found = lint("[X] It was [Z]", "prefix", words, bpe)
    assert [f.code for f in found] == ["first-token-tie", "several-tokens", "several-tokens"]
    assert "' good'" in found[0].message
    words = {"a": ["good"], "b": ["good film"]}
    assert codes("[X] It was [Z]", "prefix", words, bpe)[0] == "contained-word"
    assert codes("[Z] [X]", "cloze", words, wordpiece)[0] == "first-token-tie"


def test_two_words_of_a_label_may_share_a_token(bpe):
    words = {"a": ["good film", "good sport"], "b": ["bad", "terrible"]}
    assert set(codes("[X] It was [Z]", "prefix", words, bpe)) == {"several-tokens"}


def test_several_answers(wordpiece):
    words = {"a": [("good", "film")], "b": [("good", "sport")]}
    assert codes("[Z] [Z] [X]", "cloze", words, wordpiece) == ["first-token-tie"]
    assert codes("[Z] [X]", "cloze", words, wordpiece) == ["parts", "parts"]


def test_unknown_and_special_words(wordpiece, bpe):
    words = {"a": ["好"], "b": ["bad"]}
    assert codes("[Z] [X]", "cloze", words, wordpiece) == ["unknown-word"]
    words = {"a": ["good"], "b": ["bad"]}
    data = rows("a", "b", text="an <|endoftext|>")
    # The name of a special token is text like any other.
    assert codes("[X] It was [Z]", "prefix", words, bpe, data) == []


def test_long_prompts_are_counted(bpe):
    data = [*rows("negative", "positive"), InputExample("long", "film " * 50, "positive")]
    (finding,) = lint("[X] It was [Z]", "prefix", WORDS, bpe, data, max_length=40)
    assert finding.code == "too-long"
    assert "1 of 3 prompts" in finding.message
    assert "long" in finding.message


def test_the_limit_counts_what_the_prompt_really_has(wordpiece):
    # [CLS] the film [MASK] [SEP] is five.
    data = [InputExample("1", "the film", "a"), InputExample("2", "film the", "b")]
    words = {"a": ["bad"], "b": ["good"]}
    assert codes("[X] [Z]", "cloze", words, wordpiece, data, max_length=5) == []
    assert codes("[X] [Z]", "cloze", words, wordpiece, data, max_length=4) == ["too-long"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (rows("negative", "negative"), "absent-label"),
        (rows("negative", "positive", "neutral"), "unknown-label"),
        (rows(*["negative"] * 7, "positive", "positive"), "unbalanced"),
        ([InputExample(str(i), "x", label) for i, label in enumerate(WORDS)], "duplicate-texts"),
    ],
)
def test_data(data, code):
    assert codes("[X] It was [Z]", "prefix", WORDS, examples=data) == [code]


def test_absent_fields():
    data = [*rows("negative", title="Jaws"), InputExample("b", "x", "positive", {"title": " "})]
    (finding,) = lint("[title]: [X] It was [Z]", "prefix", WORDS, examples=data)
    assert (finding.level, finding.code) == ("error", "absent-field")
    assert finding.message == "1 rows have nothing in the field 'title': b."


def test_the_worst_comes_first():
    levels = [f.level for f in lint("[X] It was[Z] .", "prefix", {"a": ["x", "x"], "b": ["y"]})]
    assert levels == sorted(levels, key=["error", "warning", "info"].index)
