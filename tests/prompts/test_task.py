from __future__ import annotations

import pytest

from mindport.migrate.errors import MindportError
from mindport.prompts import load_task, task_names

GOOD = """
version: 1
description: d
data: {file: x.jsonl, text: text, label: label}
labels:
  - {name: a, words: [x]}
  - {name: b, words: [y]}
templates:
  prefix: "[X] [Z]"
chance: 0.5
"""


def test_the_tasks_that_are_there():
    assert task_names() == ("sentiment", "topic")
    sentiment, topic = load_task("sentiment"), load_task("topic")
    assert sentiment.verbalizer.label_words == {
        "negative": ("bad", "terrible"),
        "positive": ("good", "great"),
    }
    assert topic.verbalizer.labels == ("computer", "medicine", "religion", "space", "sport")
    for task in (sentiment, topic):
        assert task.chance == 1 / len(task.verbalizer.labels)
        assert {shape: t.shape for shape, t in task.templates.items()} == {
            "prefix": "prefix",
            "cloze": "cloze",
        }


@pytest.mark.parametrize("name", task_names())
def test_their_data_is_balanced(name):
    task = load_task(name)
    data = task.read_data()
    counts = [sum(e.label == label for e in data) for label in task.verbalizer.labels]
    assert len(data) == 200
    assert len(set(counts)) == 1


def test_a_file_of_the_users_own(task):
    assert (task.name, task.version) == ("tiny", 3)
    assert len(task.read_data()) == 5


def test_unknown_task(tmp_path):
    with pytest.raises(MindportError, match=r"Did you mean 'sentiment'\? Known: sentiment, topic"):
        load_task("sentiments")
    with pytest.raises(MindportError, match="No such file"):
        load_task(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version: 1", "version: 1.0", "version: a whole number"),
        ("version: 1", "version: true", "version: a whole number"),
        ("version: 1", "", "the key 'version' is missing"),
        (
            "version: 1",
            "version: 1\nversion: 2",
            "version: the key stands there twice, again in line 3",
        ),
        ("version: 1", "verson: 1", "unknown key 'verson'. Did you mean 'version'"),
        ("name: a", "name: yes", r"labels\[0\].name: this is the boolean true"),
        ("words: [y]", "words: [no]", r"labels\[1\].words\[0\]: this is the boolean false"),
        ("words: [y]", "words: [on, off]", "put it in quotes"),
        ("words: [y]", "words: [1]", r"labels\[1\].words\[0\]: text is needed, not 1"),
        ("words: [y]", "words: []", r"labels\[1\].words: a list with one entry or more"),
        ("words: [y]", "words: y", r"labels\[1\].words: a list"),
        ("words: [y]", "words: [x]", "labels: The word 'x' stands for 'a' and 'b'"),
        ("words: [y]", "yes: [y]", "unknown key True.*\n.*put it in quotes"),
        ("name: b", "name: a", r"labels\[1\].name: the label 'a' stands there twice"),
        ("  - {name: b, words: [y]}\n", "", "labels: A verbalizer needs two labels"),
        ('"[X] [Z]"', "[X] [Z]", "this is not YAML"),
        ('"[X] [Z]"', '"[X] [Z]."', "templates.prefix: text follows"),
        ('"[X] [Z]"', '"[X]"', "templates.prefix: The template"),
        ("prefix:", "prefx:", "templates: unknown key 'prefx'. Did you mean 'prefix'"),
        ('  prefix: "[X] [Z]"', "  {}", "templates: at least one"),
        ("chance: 0.5", "chance: 1", "chance: a number between 0 and 1"),
        ("chance: 0.5", "chance: half", "chance: a number"),
        ("text: text", "txt: text", "data: unknown key 'txt'"),
        ("description: d", "description: 2024-99-99", "this is not YAML"),
        ("description: d", "description: !!python/object:os.system x", "this is not YAML"),
        ("description: d", "description: &x [*x]", "description: text is needed"),
    ],
)
def test_bad_files(tmp_path, old, new, said):
    assert old in GOOD
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(MindportError, match=said) as caught:
        load_task(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("content", ["", "- a\n", "a", "[" * 3000, "a: b\n---\nc: d\n"])
def test_not_a_task_at_all(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(MindportError, match=r"mine\.yaml"):
        load_task(path)


def test_not_utf8(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"version: \xff")
    with pytest.raises(MindportError, match="not UTF-8"):
        load_task(path)


def test_label_order_is_the_files(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("name: a", "name: z"))
    assert load_task(path).verbalizer.labels == ("z", "b")
