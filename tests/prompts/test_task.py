from __future__ import annotations

import pytest

from mindport.migrate.errors import MindportError
from mindport.prompts import Calibration, FewShotSampler, Word, load_task, task_names

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
    assert {"sentiment", "topic"} <= set(task_names())
    assert task_names() == tuple(sorted(task_names()))
    sentiment, topic = load_task("sentiment"), load_task("topic")
    assert sentiment.verbalizer.label_words == {
        "negative": ((Word("bad"),), (Word("terrible"),)),
        "positive": ((Word("good"),), (Word("great"),)),
    }
    assert topic.verbalizer.labels == ("computer", "medicine", "religion", "space", "sport")
    for task in (sentiment, topic):
        assert task.chance == 1 / len(task.verbalizer.labels)
        assert {shape: t.shape for shape, t in task.templates.items()} == {
            "prefix": "prefix",
            "cloze": "cloze",
        }


@pytest.mark.parametrize("name", ["sentiment", "topic"])
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
    with pytest.raises(
        MindportError, match=r"Did you mean 'sentiment'\? Known: .*sentiment.*, topic"
    ):
        load_task("sentiments")
    with pytest.raises(MindportError, match="it is absent"):
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
        ("description: d", "description: !!python/object:os.system x", "the tag .* is refused"),
        ("description: d", "description: &x [*x]", "it is nested too deeply"),
        ("chance: 0.5", "chance: 0.5\nlanguage: no", "language: this is the boolean false"),
        ("chance: 0.5", "chance: 0.5\nlanguage:", "language: text is needed"),
        ("chance: 0.5", "chance: 0.5\nlang: en", "unknown key 'lang'. Did you mean 'language'"),
        ("chance: 0.5", "chance: 0.5\naggregate: mean", "aggregate: unknown aggregate 'mean'. Did"),
        ("chance: 0.5", "chance: 0.5\naggregate: off", "aggregate: this is the boolean false"),
        ("chance: 0.5", "chance: 0.5\nnormalize: byte", "normalize: .*mean 'bytes'"),
        ("chance: 0.5", "chance: 0.5\nnormalize:", "normalize: text is needed, not None"),
        ("chance: 0.5", "chance: 0.5\nmasks: single", "masks: unknown masks 'single'"),
        ("chance: 0.5", "chance: 0.5\nmasks: [joint]", "masks: text is needed"),
        ("words: [y]", "words: [{txt: y}]", r"labels\[1\].words\[0\]: unknown key 'txt'"),
        ("words: [y]", "words: [{space: true}]", r"words\[0\]: the key 'text' is missing"),
        ("words: [y]", "words: [{text: no}]", r"words\[0\].text: this is the boolean false"),
        ("words: [y]", "words: [{text: y, space: 1}]", r"words\[0\].space: true or false"),
        ("words: [y]", 'words: [{text: y, space: "yes"}]', r"words\[0\].space: true or false"),
        ("words: [y]", "words: [[y, on]]", r"words\[0\]\[1\]: this is the boolean true"),
        ("words: [y]", "words: [[]]", r"words\[0\]: a list with one entry or more"),
        ("words: [y]", "words: [[[y]]]", "labels: A word of label 'b' must be text"),
        ("words: [y]", 'words: [" y"]', "labels: A word of label 'b' must have no space"),
        ("chance: 0.5", "chance: 0.5\nshots: x.jsonl", r"shots: keys \(file, delimiter, instr"),
        ("chance: 0.5", "chance: 0.5\nshots:", "shots: keys"),
        ("chance: 0.5", "chance: 0.5\nshots: {}", "shots: the key 'file' is missing"),
        ("chance: 0.5", "chance: 0.5\nshots: {file: 1}", "shots.file: text is needed"),
        ("chance: 0.5", "chance: 0.5\nshots: {file: x, delim: y}", "shots: unknown key 'delim'"),
        ("chance: 0.5", "chance: 0.5\nshots: {file: x, delimiter: no}", "shots.delimiter: text"),
        ("chance: 0.5", "chance: 0.5\nshots: {file: x, instruction: 1}", "shots.instruction: text"),
        ("chance: 0.5", "chance: 0.5\ncalibration: pmi", "calibration: keys"),
        ("chance: 0.5", "chance: 0.5\ncalibration: {}", "calibration: the key 'kind' is missing"),
        ("chance: 0.5", "chance: 0.5\ncalibration: {kind: PMI}", "calibration: Unknown calibr"),
        ("chance: 0.5", "chance: 0.5\ncalibration: {kind: off}", "calibration.kind: this is the b"),
        ("chance: 0.5", "chance: 0.5\ncalibration: {kind: domain}", "needs texts of the domain"),
        (
            "chance: 0.5",
            "chance: 0.5\ncalibration: {kind: pmi, inputs: N/A}",
            "calibration.inputs: a list",
        ),
        (
            "chance: 0.5",
            "chance: 0.5\ncalibration: {kind: contextual, inputs: [x, 1]}",
            r"calibration: The inputs .* list of texts, not \('x', 1\)",
        ),
        ("chance: 0.5", "chance: 0.5\ncalibration:", "calibration: keys"),
        (
            "chance: 0.5",
            "chance: 0.5\ncalibration: {kind: contextual, inputs: []}",
            "calibration.inputs: a list with one entry or more",
        ),
        (
            "chance: 0.5",
            "chance: 0.5\ncalibration: {kind: none, inputs: [a]}",
            "calibration: Inputs are given, but no calibration",
        ),
        (
            "chance: 0.5",
            r"shots: {file: x, delimiter: '\n'}" + "\nchance: 0.5",
            "shots.delimiter: .*a backslash and an n.*\n.*double quotes only",
        ),
        (
            "chance: 0.5",
            "chance: 0.5\ncalibration: {kind: pmi, inputs: [a, b]}",
            "has one input, not 2",
        ),
        (
            "chance: 0.5",
            "chance: 0.5\ncalibration: {kind: pmi, texts: [a]}",
            "calibration: unknown key 'texts'",
        ),
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


FULL = """
version: 2
description: All keys.
language: zh-Hans
data: {file: x.jsonl, text: text, label: label, id: name}
shots: {file: shots.jsonl, delimiter: "\\n\\n", instruction: "Judge:"}
labels:
  - {name: a, words: [x, {text: long word}, {text: z, space: false}, {text: w, space: true}]}
  - {name: b, words: ["no"]}
aggregate: sum_prob
normalize: characters
masks: pseudo
calibration: {kind: contextual, inputs: ["N/A", ""]}
templates:
  prefix: "[X] [Z]"
chance: 0.5
"""


def test_every_key(tmp_path):
    path = tmp_path / "full.yaml"
    path.write_text(FULL)
    task = load_task(path)
    assert task.language == "zh-Hans"
    assert task.shots is not None
    assert task.shots.path == tmp_path / "shots.jsonl"
    assert (task.shots.delimiter, task.shots.instruction) == ("\n\n", "Judge:")
    assert task.calibration == Calibration("contextual", ("N/A", ""))
    verbalizer = task.verbalizer
    assert (verbalizer.aggregate, verbalizer.normalize, verbalizer.masks) == (
        "sum_prob", "characters", "pseudo"
    )  # fmt: skip
    assert verbalizer.label_words == {
        "a": ((Word("x"),), (Word("long word"),), (Word("z", False),), (Word("w", True),)),
        "b": ((Word("no"),),),
    }


def test_what_is_not_said(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    task = load_task(path)
    verbalizer = task.verbalizer
    assert (verbalizer.aggregate, verbalizer.normalize, verbalizer.masks) == (
        "mean_log", "none", "joint"
    )  # fmt: skip
    assert (task.shots, task.calibration, task.language) == (None, Calibration(), "en")
    assert task.calibration.inputs == ()
    assert task.draw_shots(None).examples == ()
    with pytest.raises(MindportError, match="'mine' has no demonstrations"):
        task.draw_shots(FewShotSampler(num_examples_total=1))


def test_words_for_several_answers(tmp_path):
    path = tmp_path / "mine.yaml"
    words = "words: [[y, {text: z, space: false}], [so, so]]"
    path.write_text(
        GOOD.replace("words: [y]", words)
        .replace("words: [x]", "words: [[x, x]]")
        .replace('prefix: "[X] [Z]"', 'cloze: "[Z] [X] [Z]"')
    )
    task = load_task(path)
    assert task.verbalizer.label_words["b"] == (
        (Word("y"), Word("z", False)),
        (Word("so"), Word("so")),
    )


@pytest.mark.parametrize(
    ("calibration", "inputs"),
    [
        ("{kind: contextual}", ("N/A", "", "[MASK]")),
        ("{kind: pmi}", ("N/A",)),
        ('{kind: pmi, inputs: [""]}', ("",)),
        ("{kind: domain, inputs: [a text, another]}", ("a text", "another")),
        ("{kind: none}", ()),
    ],
)
def test_calibration_inputs(tmp_path, calibration, inputs):
    path = tmp_path / "mine.yaml"
    path.write_text(f"{GOOD}\ncalibration: {calibration}\n")
    assert load_task(path).calibration.inputs == inputs


def test_demonstrations_come_from_their_own_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"{GOOD}\nshots: {{file: s.jsonl, instruction: Judge.}}\n")
    (tmp_path / "s.jsonl").write_text(
        '{"text": "t", "label": "a"}\n{"text": "u", "label": "b"}\n{"text": "v", "label": "b"}\n'
    )
    shots = load_task(path).draw_shots(FewShotSampler(num_examples_per_label=1))
    assert sorted(example.label for example in shots.examples) == ["a", "b"]
    assert (shots.delimiter, shots.instruction) == ("\n", "Judge.")
    none = load_task(path).draw_shots(None)
    assert (none.examples, none.instruction) == ((), "Judge.")
    (tmp_path / "s.jsonl").write_text('{"text": "t", "label": "c"}\n')
    with pytest.raises(MindportError, match=r"s\.jsonl, line 1: the label 'c' has no words"):
        load_task(path).draw_shots(FewShotSampler(num_examples_total=1))
