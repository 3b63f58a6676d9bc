"""Plain text and PET files."""

from __future__ import annotations

import pytest

from mindport.migrate.errors import MindportError
from mindport.prompts.formats import pet, plain
from mindport.prompts.formats.spec import LabelWord, PromptSpec, by_shape

SPEC = PromptSpec(
    "reviews",
    templates=by_shape("It was [Z] . [X]"),
    label_words={
        "negative": (LabelWord("bad"),),
        "positive": (LabelWord("good"), LabelWord("sehr gut")),
    },
)


def test_plain(write):
    templates = write("t.txt", "[X] It was [Z]\r\n[title]: [X] [Z] .\n")
    labels = write("labels.txt", "negative: bad\n\npositive: good, great\n")
    spec = plain.read(templates, verbalizer=labels, choice=1)
    assert spec.templates == {"cloze": "[title]: [X] [Z] ."}
    assert spec.label_words["positive"] == (LabelWord("good"), LabelWord("great"))
    assert set(plain.read(templates).templates) == {"prefix", "cloze"}


def test_pet(write):
    templates = write("t.txt", "{MASK}! {textA}\n{textA} ? {MASK} , {textB} {title}\n")
    labels = write("labels.txt", "0\tno,never\n1\tyes\n")
    spec = pet.read(templates, verbalizer=labels)
    assert spec.templates == {"cloze": "[Z]! [X]"}
    assert spec.label_words == {
        "0": (LabelWord("no"), LabelWord("never")),
        "1": (LabelWord("yes"),),
    }
    assert pet.read(templates, choice=1).templates == {"cloze": "[X] ? [Z] , [text_b] [title]"}


@pytest.mark.parametrize("form", [plain, pet])
def test_what_is_written_is_read_back(form, tmp_path):
    path, labels = tmp_path / "t.txt", tmp_path / "labels.txt"
    assert form.write(SPEC, path, verbalizer=labels) == ()
    back = form.read(path, verbalizer=labels)
    assert (back.templates, back.label_words) == (SPEC.templates, SPEC.label_words)


@pytest.mark.parametrize(
    ("form", "template", "said"),
    [
        (plain, "[X] It was", "line 1: The template '[X] It was' has no place for the answer"),
        (plain, "It was [Z]", "no place for a text"),
        (pet, "{textA}", "line 1: The template '[X]' has no place for the answer"),
        (pet, "{textA} {MASK", "A brace stands alone"),
        (pet, "{textA} } {MASK}", "A brace stands alone"),
        (pet, "{textA} {two words} {MASK}", "column 9: '{two words}' is not a slot"),
        (pet, "{textA} [SEP] {MASK}", "would be read as another slot"),
        (pet, "{X} {Z} {MASK}", "would be read as another slot"),
    ],
)
def test_bad_templates(write, form, template, said):
    with pytest.raises(MindportError) as caught:
        form.read(write("t.txt", template))
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("form", "labels", "said"),
    [
        (plain, "a: x\nb\n", "line 2: there is no ': ' after the label"),
        (plain, "a: x\na: y\n", "line 2: the label 'a' stands there twice"),
        (plain, "a: x,,y\n", "line 1: A word of label 'a' must not be empty"),
        (plain, "\n", "holds no labels"),
        (pet, "a x\n", "line 1: there is no '\\t' after the label"),
        (pet, "\tx\n", "line 1: A label must not be empty"),
    ],
)
def test_bad_labels(write, form, labels, said):
    template = write("t.txt", "[X] [Z]" if form is plain else "{textA} {MASK}")
    with pytest.raises(MindportError) as caught:
        form.read(template, verbalizer=write("labels.txt", labels))
    assert said in caught.value.message
    assert "labels.txt" in caught.value.message


@pytest.mark.parametrize(
    ("form", "template", "word"),
    [
        (plain, "[X]\n[Z]", LabelWord("x")),
        (pet, "[X]\n[Z]", LabelWord("x")),
        (pet, "{[X]} [Z]", LabelWord("x")),
        (plain, "[X] [Z]", LabelWord("x,y")),
        (pet, "[X] [Z]", LabelWord("x,y")),
        (plain, "[X] [Z] [Z]", LabelWord(("x", "y"))),
    ],
)
def test_what_cannot_be_written(tmp_path, form, template, word):
    spec = PromptSpec("t", templates=by_shape(template), label_words={"a": (word,)})
    with pytest.raises(MindportError):
        form.write(spec, tmp_path / "t.txt")
    assert not list(tmp_path.iterdir())


def test_what_writing_loses_is_named(tmp_path):
    words = {"a": (LabelWord("x", False),), "b": (LabelWord("y"),)}
    spec = PromptSpec("t", templates=by_shape("[X] [Z]"), label_words=words)
    (lost,) = pet.write(spec, tmp_path / "t.txt")
    assert lost.startswith("Whether a space stands before a word")
