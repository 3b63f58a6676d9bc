from __future__ import annotations

import sys

import pytest

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.prompts.formats.jinja import JinjaTemplate
from mindport.prompts.formats.promptsource import read, template_names
from mindport.prompts.formats.spec import DataSource, LabelWord

FILE = """\
dataset: reviews
subset: films
templates:
  0a1b2c3d-0000-0000-0000-000000000001: !Template
    answer_choices: bad ||| good
    id: 0a1b2c3d-0000-0000-0000-000000000001
    jinja: "{{text}}\\nThe film was ||| {{ answer_choices[label] }}"
    metadata: !TemplateMetadata
      choices_in_prompt: false
      languages:
      - en
      metrics:
      - Accuracy
      original_task: true
    name: film was
    reference: ''
  0a1b2c3d-0000-0000-0000-000000000002: !Template
    answer_choices: no ||| yes
    id: 0a1b2c3d-0000-0000-0000-000000000002
    jinja: '{% if title %}{{title}}: {% endif %}{{text}} {{answer_choices | join(" or ")}}?
      ||| {{answer_choices[label]}}'
    metadata: !TemplateMetadata
      choices_in_prompt: true
      metrics: [Accuracy, F1]
      original_task: false
    name: with title
"""


def one(jinja, choices="no ||| yes", extra=""):
    return f"templates:\n  a: !Template\n    answer_choices: {choices}\n    jinja: {jinja}\n{extra}"


def test_words_and_fields(write):
    path = write("templates.yaml", FILE)
    assert template_names(path) == ("film was", "with title")
    spec = read(path, template="film was")
    assert spec == read(path, template="0a1b2c3d-0000-0000-0000-000000000001")
    assert spec.name == "film_was"
    assert spec.templates["prefix"] == "[X]\nThe film was [Z]"
    assert spec.label_words == {"bad": (LabelWord("bad"),), "good": (LabelWord("good"),)}
    assert spec.data == DataSource(label_names=("bad", "good"))
    assert "'reviews/films'" in spec.notes[0]


def test_conditions_are_rendered_while_data_are_read(write):
    spec = read(write("templates.yaml", FILE), template="with title")
    assert spec.templates["prefix"] == "[X] [Z]"
    render = JinjaTemplate(spec.data.jinja)
    assert render({"title": "Jaws", "text": "Sharks."}) == "Jaws: Sharks. no or yes?"
    assert render({"title": "", "text": "Sharks."}) == "Sharks. no or yes?"
    assert "F1" in " ".join(spec.notes)
    assert "not for the data set's original task" in " ".join(spec.notes)


def test_jinja_is_asked_for_only_where_it_is_needed(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    path = write("templates.yaml", FILE)
    assert read(path, template="film was").templates
    with pytest.raises(EnvironmentUnavailableError, match="needs Jinja"):
        read(path, template="with title")


def test_the_text_may_be_chosen(write):
    path = write("t.yaml", one('"{{a}} {{b}} ||| {{answer_choices[label]}}"'))
    assert read(path).templates["prefix"] == "[X] [b] [Z]"
    spec = read(path, text="b")
    assert (spec.templates["prefix"], spec.data.text) == ("[a] [X] [Z]", "b")
    with pytest.raises(MindportError, match="does not show the field 'c'"):
        read(path, text="c")


def test_labels_with_names(write):
    path = write(
        "t.yaml", one("""'{{a}} ||| {{answer_choices[["neg", "pos"].index(y)]}}'""", "bad ||| good")
    )
    spec = read(path)
    assert list(spec.label_words) == ["neg", "pos"]
    assert (spec.data.label, spec.data.label_names) == ("y", ())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (FILE, "there are 2: film was, with title"),
        ("templates: {}", "there are 0"),
        ("dataset: x", "templates: keys and values are needed"),
        ("", "keys and values are needed"),
        (one('"{{a}} ||| {{answer_choices[label]}}"', "null"), "there are no answer choices"),
        (one('"{{a}} ||| {{answer_choices[label]}}"', '"{{x}} ||| y"'), "differ from row to row"),
        (one('"{{a}} ||| {{answer_choices[label]}}"', "a ||| a"), "a choice stands twice"),
        (one('"{{a}} ||| {{answer_choices[label]}}"', '"a ||| "'), "must not be empty"),
        (one('"{{a}} ||| {{answer_choices[label]}}"', "yes"), "line 3, templates.a.answer_choices"),
        (one('"{{a}}"'), "parted by one |||"),
        (one('"{{a}} ||| {{a}}"'), "is not {{answer_choices[label]}}"),
        (one('"{{a}} ||| {{answer_choices[label]}} ||| "'), "parted by one |||"),
        (one('"a ||| {{answer_choices[label]}}"'), "does not show any field"),
        (one('"{{a}}{{a}} ||| {{answer_choices[label]}}"'), "shows the field 'a' 2 times"),
        (one('"{{a}} [b] ||| {{answer_choices[label]}}"'), "would be read as another slot"),
        (one('"{{a}}{{Z}} ||| {{answer_choices[label]}}"'), "would be read as another slot"),
        (one('"{{ a|random }} ||| {{answer_choices[label]}}"'), "the filter 'random'"),
        (one("\"{{ ''.__class__ }} ||| {{answer_choices[label]}}\""), "'__class__' is not allowed"),
        (one("""'{{a}} ||| {{answer_choices[["x"].index(y)]}}'"""), "1 labels for 2 choices"),
        (one("!!python/object/apply:os.system [id]"), "the tag !!python/object/apply:os.system"),
        (one("!Template x"), "the tag !Template is refused"),
        (
            "templates:\n  a: !!python/name:os.system\n",
            "line 2, templates.a: the tag !!python/name",
        ),
        ("templates: [", "line 1: this is not YAML"),
        ("a: 1\na: 2\n", "the key stands there twice, again in line 2"),
        ("a: &a [*a]\n", "nested too deeply"),
        ("<<: {a: 1}\n", "keys cannot be merged"),
        ("[a]: 1\n? {x: y}\n: z\n", "a key must be text"),
        ('a: "\\ud800"', "half a character"),
        ("a: 0b_\n", "is not of type int"),
        ("a\n---\nb\n", "this is not YAML"),
        ("[" * 5000, "nested too deeply"),
        ("a: " + "1:" * 5000 + "1", "too long for a number"),
    ],
)
def test_bad_files(write, content, said):
    path = write("templates.yaml", content)
    with pytest.raises(MindportError) as caught:
        read(path)
    assert said in str(caught.value)
    assert str(path) in caught.value.message


def test_one_choice_is_no_choice_of_labels(write):
    path = write("t.yaml", one('"{{a}} ||| {{answer_choices[label]}}"', '"yes"'))
    assert list(read(path).label_words) == ["yes"]


def test_a_boolean_choice_gives_the_hint(write):
    path = write("t.yaml", one('"{{a}} ||| {{answer_choices[label]}}"', "no"))
    with pytest.raises(MindportError, match="the boolean false, not text") as caught:
        read(path)
    assert "put it in quotes" in caught.value.hint


def test_aliases_cannot_blow_up(write):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 9):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]")
    with pytest.raises(MindportError, match="too large"):
        read(write("t.yaml", "\n".join(lines)))


def test_a_name_that_is_not_there(write):
    with pytest.raises(
        MindportError, match=r"none called 'with titel'\. Did you mean 'with title'"
    ):
        read(write("templates.yaml", FILE), template="with titel")


def test_large_files_are_refused(write):
    with pytest.raises(MindportError, match="larger than 1024 KiB"):
        read(write("t.yaml", b"#" * (1024 * 1024 + 1)))
