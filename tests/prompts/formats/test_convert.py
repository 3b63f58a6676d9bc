"""Task files, finding a format, converting, and arbitrary bytes for every reader."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mindport.migrate.errors import DestinationError, MindportError
from mindport.prompts import formats, load_task, make_plan, task_names
from mindport.prompts.formats import task_yaml
from mindport.prompts.formats.convert import (
    convert,
    detect,
    find_formats,
    load_format,
    read_spec,
    write_spec,
)
from mindport.prompts.formats.openprompt import read_verbalizer
from mindport.prompts.formats.spec import DataSource, LabelWord, PromptSpec

FORMATS = ("lm_eval", "openprompt", "pet", "plain", "promptsource", "task")


def test_the_course_becomes_a_task(course, tmp_path, bpe, wordpiece):
    template, verbalizer = course
    options = {"verbalizer": verbalizer, "classes": ("negative", "positive")}
    done = convert(
        template,
        tmp_path / "course.yaml",
        options=options,
        write_options={"data": "rows.jsonl"},
    )
    assert (done.source_format, done.lost) == ("openprompt", ())
    (tmp_path / "rows.jsonl").write_text('{"text": "Fine.", "label": "positive"}\n')
    task = load_task(tmp_path / "course.yaml")
    assert task.templates["prefix"].text == "[X] It was [Z]"
    assert task.verbalizer.labels == ("negative", "positive")
    assert task.read_data()[0].label == "positive"
    for tokenizer, shape in ((bpe, "prefix"), (wordpiece, "cloze")):
        plan = make_plan(task, tokenizer, architecture_shape=shape, max_length=64)
        assert [word.text for word in plan.words] == ["bad", "good", "wonderful", "great"]


def test_formats_are_found():
    assert tuple(find_formats()) == FORMATS
    with pytest.raises(
        MindportError, match=r"no prompt format 'openpromt'\. Did you mean 'openpro"
    ):
        load_format("openpromt")


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("t.txt", '{"placeholder":"text_a"} It was {"mask"}', "openprompt"),
        ("t.txt", "<text_a> It was <mask>", "openprompt"),
        ("t.txt", "{MASK} {textA}", "pet"),
        ("t.txt", "[X] It was [Z]", "plain"),
        ("t.yaml", "templates:\n  a: !Template\n    jinja: x\n", "promptsource"),
        ("t.yaml", "doc_to_text: a\ndoc_to_choice: [a, b]\n", "lm_eval"),
        ("t.yaml", "labels: []\ntemplates: {cloze: '[Z] [X]'}\n", "task"),
    ],
)
def test_detection(write, name, content, found):
    assert detect(write(name, content)) == found


def test_what_is_not_detected(write):
    with pytest.raises(MindportError, match="looks like none that is known"):
        detect(write("t.txt", "positive: good"))
    with pytest.raises(MindportError, match="may be openprompt or plain"):
        detect(write("t.txt", '[X] [Z]\n{"mask"}'))
    with pytest.raises(MindportError, match="it is a folder"):
        detect(write("x/t.txt", "").parent)


def test_options_are_checked(course, tmp_path):
    with pytest.raises(MindportError, match="openprompt takes no 'template' when read") as caught:
        read_spec(course[0], template="x")
    assert "verbalizer, classes" in caught.value.hint
    assert read_spec(course[0], template=None).templates
    spec = read_spec(course[0])
    with pytest.raises(MindportError, match="promptsource is read, not written"):
        write_spec(spec, tmp_path / "x", "promptsource")
    with pytest.raises(MindportError, match="plain takes no 'data' when written"):
        write_spec(spec, tmp_path / "x", "plain", data="x")


def test_nothing_is_overwritten(course, tmp_path):
    template, verbalizer = course
    (tmp_path / "there.yaml").write_text("x")
    with pytest.raises(DestinationError, match="exists already"):
        convert(template, tmp_path / "there.yaml", options={"verbalizer": verbalizer})
    assert (tmp_path / "there.yaml").read_text() == "x"
    with pytest.raises(MindportError, match="two labels or more"):
        convert(template, tmp_path / "new.yaml")
    assert not (tmp_path / "new.yaml").exists()


FULL = PromptSpec(
    "full",
    description="A task: with all.",
    templates={"prefix": "[X]\nwas [Z]", "cloze": "[title] [Z] [X]"},
    label_words={
        "yes": (LabelWord("yes"), LabelWord("'s", False), LabelWord("on", True)),
        "no": (LabelWord("1.0"),),
    },
    aggregate="sum_prob",
    normalize="characters",
    instruction="Judge.\n",
    shot_delimiter="\n\n",
    data=DataSource("x.jsonl", "body", "y", ("no", "yes"), "{{ body }}"),
    version=4,
)


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "full.yaml"
    assert task_yaml.write(FULL, path, shots="shots.jsonl") == ()
    back = task_yaml.read(path)
    assert back.notes == ("Where demonstrations come from: 'shots.jsonl'.",)
    for name in FULL.__dataclass_fields__:
        if name != "notes":
            assert getattr(back, name) == getattr(FULL, name), name
    assert yaml.safe_load(path.read_text())["chance"] == 0.5


def test_an_instruction_without_shots_stands_in_the_template(tmp_path):
    lost = task_yaml.write(FULL, tmp_path / "full.yaml")
    assert task_yaml.read(tmp_path / "full.yaml").templates == {
        "prefix": "Judge.\n[X]\nwas [Z]",
        "cloze": "Judge.\n[title] [Z] [X]",
    }
    assert "instruction" in lost[0]


@pytest.mark.parametrize("name", task_names())
def test_the_tasks_of_the_house_are_read_and_written_alike(tmp_path, name):
    task = load_task(name)
    folder = Path(formats.__file__).parents[1] / "tasks"
    spec = read_spec(folder / f"{name}.yaml", "task")
    write_spec(spec, tmp_path / f"{name}.yaml", "task", shots="shots.jsonl")
    again = load_task(tmp_path / f"{name}.yaml")
    assert again.verbalizer.labels == task.verbalizer.labels
    assert again.verbalizer.label_words == task.verbalizer.label_words
    assert again.templates == task.templates


def test_several_answers(tmp_path):
    words = {"a": (LabelWord(("x", "y")),), "b": (LabelWord(("u", "v")),)}
    spec = PromptSpec("t", templates={"cloze": "[Z] [X] [Z]"}, label_words=words)
    task_yaml.write(spec, tmp_path / "t.yaml")
    assert task_yaml.read(tmp_path / "t.yaml").label_words == words


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("labels: [{name: yes, words: [x]}]", "line 1, labels[0].name: this is the boolean true"),
        ("labels: [{name: a, words: [on]}]", "labels[0].words[0]: this is the boolean true"),
        ("labels: [{name: a, words: [7]}]", "labels[0].words[0]: text is needed, not 7"),
        ("labels: [{name: a, words: [' x']}]", "labels[0].words[0]: A word must not be empty or"),
        ("labels: [{name: a, words: [{text: x, space: 1}]}]", "true or false is needed"),
        ("labels: [{name: a, words: []}]", "labels[0].words: a list is needed"),
        ("labels:\n- {name: a, words: [x]}\n- {name: a, words: [y]}", "'a' stands there twice"),
        ("lable: []", "unknown key. Did you mean 'labels'"),
        ("labels: [{name: a, words: [x]}]\ntemplates: {prefix: x}", "no place for the answer"),
        ("labels: [{name: a, words: [x]}]\ntemplates: {prefx: x}", "Did you mean 'prefix'"),
        ("labels: [{name: a, words: [x]}]\nnormalize: words", "Unknown normalize 'words'"),
        ("version: yes", "a whole number is needed"),
        (
            "labels: [{name: a, words: [x]}]\ndata: {label_names: x}",
            "a list is needed, in the order",
        ),
    ],
)
def test_bad_tasks(write, content, said):
    path = write("t.yaml", content)
    with pytest.raises(MindportError) as caught:
        task_yaml.read(path)
    assert said in str(caught.value)
    assert str(path) in caught.value.message


def test_a_task_file_has_its_ending(tmp_path):
    with pytest.raises(MindportError, match=r"ends in \.yaml"):
        task_yaml.write(FULL, tmp_path / "full.txt")


PARTS = [
    '{"placeholder":"text_a"}',
    '{"mask"}',
    '{"soft"}',
    "lambda x: x",
    "<text_a>",
    "<mask>",
    "{MASK}",
    "{textA}",
    "[X]",
    "[Z]",
    "[title]",
    "{{text}}",
    "{{answer_choices[label]}}",
    "|||",
    "templates:",
    "  a: !Template",
    "    jinja: ",
    "output_type: multiple_choice",
    "doc_to_text: ",
    "doc_to_choice: [a, b]",
    "doc_to_target: label",
    "labels:",
    "- name: ",
    "  words: [a]",
    "version: 1",
    "data: {",
    "}",
    "{",
    '"',
    "'",
    "&a",
    "*a",
    "!!python/name:os.system",
    "\n",
    "\n",
    ": ",
    ",",
    "\t",
    "include: x",
    "answer_choices: a",
    "include: t.txt",
    "a: &a [*a]",
    "\x00",
    "\u2028",
    "é",
]


@settings(max_examples=150, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=60), st.lists(st.sampled_from(PARTS), max_size=14).map("".join)
    ),
    words=st.one_of(st.binary(max_size=40), st.sampled_from([b'{"a": ["x"]}', b"a: x", b"a\tx"])),
)
def test_any_bytes_give_a_spec_or_a_sentence(tmp_path_factory, content, words):
    folder = tmp_path_factory.mktemp("any")
    path = folder / "t.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for ending in ("json", "txt"):
        verbalizer = folder / f"v.{ending}"
        verbalizer.write_bytes(words)
        with contextlib.suppress(MindportError):
            assert read_verbalizer(verbalizer, classes=["a"]).label_words
        for name, entry in find_formats().items():
            options = {"verbalizer": verbalizer} if "verbalizer" in entry.options else {}
            with contextlib.suppress(MindportError):
                assert isinstance(read_spec(path, name, **options), PromptSpec)
            with contextlib.suppress(MindportError):
                detect(path)


TEMPLATES = st.lists(
    st.sampled_from(
        ["[X]", "[Z]", "[title]", " ", "\n", "{", "}", '"', "\\", "it", "é", "  ", "%"]
    ),
    max_size=8,
).map("".join)
TEXTS = st.text(min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@example(template="[X] [Z]", words={"a": ["x\x85y"], "b": ["x\u2028y", "\u00a0z"]})
@example(template="[X]\u2028[Z]\r", words={"a": ["\ufeffx"], "b": ["yes"]})
@given(
    template=TEMPLATES,
    words=st.dictionaries(TEXTS, st.lists(TEXTS, min_size=1, max_size=2), min_size=2, max_size=3),
)
def test_any_spec_survives_every_format_or_is_refused(tmp_path_factory, template, words):
    folder = tmp_path_factory.mktemp("spec")
    try:
        spec = PromptSpec(
            "t",
            templates={"cloze": template},
            label_words={k: tuple(map(LabelWord, v)) for k, v in words.items()},
        )
    except MindportError:
        return
    for name in ("openprompt", "pet", "plain", "task"):
        path = folder / f"{name}.yaml"
        verbalizer = {} if name == "task" else {"verbalizer": folder / f"{name}.json"}
        try:
            write_spec(spec, path, name, **verbalizer)
        except MindportError:
            continue
        back = read_spec(path, name, **verbalizer)
        assert {t.rstrip() for t in back.templates.values()} == {template.rstrip()}, name
        if name != "openprompt":
            assert back.label_words == spec.label_words, name
        assert list(back.label_words) == list(words), name
