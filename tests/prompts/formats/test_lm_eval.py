from __future__ import annotations

import pytest
import yaml

from mindport.migrate.errors import MindportError
from mindport.prompts.formats.jinja import JinjaTemplate
from mindport.prompts.formats.lm_eval import read
from mindport.prompts.formats.lm_eval_writer import write as write_task
from mindport.prompts.formats.spec import DataSource, LabelWord, PromptSpec, by_shape

TASK = """\
task: films
dataset_path: someone/films
dataset_name: short
output_type: multiple_choice
training_split: train
validation_split: validation
doc_to_text: "{{sentence}}\\nQuestion: Is this sentence positive or negative?\\nAnswer:"
doc_to_target: label
doc_to_choice: ["negative", "positive"]
metric_list:
  - metric: acc
metadata:
  version: 2.0
"""


def changed(**keys):
    return yaml.safe_dump(yaml.safe_load(TASK) | keys)


def test_a_task(write):
    spec = read(write("films.yaml", TASK))
    assert spec.name == "films"
    assert spec.version == 2
    question = "Question: Is this sentence positive or negative?"
    assert spec.templates["prefix"] == f"[X]\n{question}\nAnswer: [Z]"
    assert spec.label_words["negative"] == (LabelWord("negative"),)
    assert spec.data == DataSource(
        "hf:someone/films/short:validation", "sentence", "label", ("negative", "positive")
    )
    assert (spec.shot_delimiter, spec.normalize, spec.instruction) == ("\n\n", "none", "")
    assert spec.notes == ()


def test_all_that_is_carried_over(write):
    spec = read(
        write(
            "films.yaml",
            changed(
                description="Judge.\n\n",
                fewshot_delimiter="\n",
                target_delimiter="",
                doc_to_choice=[" no", " yes"],
                doc_to_target="{{answer}}",
                doc_to_text="question",
                metric_list=[{"metric": "acc_norm"}, {"metric": "f1"}],
                num_fewshot=4,
                test_split="test",
                metadata={"version": 0.5},
                tag="glue",
            ),
        )
    )
    assert (spec.instruction, spec.shot_delimiter) == ("Judge.\n", "\n")  # which follows it here
    assert spec.templates["prefix"] == "[X][Z]"
    assert spec.label_words["yes"] == (LabelWord("yes", True),)
    assert (spec.data.text, spec.data.label) == ("question", "answer")
    assert spec.data.file.endswith(":test")
    assert spec.normalize == "characters"
    notes = " ".join(spec.notes)
    for lost in ("'f1'", "'num_fewshot'", "'tag'", "0.5"):
        assert lost in notes


def test_more_than_fields_is_rendered(write):
    text = "{% if a %}{{a}}{% endif %}{{b.strip()}}"
    spec = read(write("films.yaml", changed(doc_to_text=text)))
    assert spec.templates["prefix"] == "[X] [Z]"
    assert JinjaTemplate(spec.data.jinja)({"a": "x", "b": " y "}) == "xy"


def test_includes(write, tmp_path):
    write("tasks/_base", TASK)
    path = write("tasks/sub/mine.yaml", "include: ../_base\ntask: mine\n")
    spec = read(path, root=tmp_path / "tasks")
    assert (spec.name, spec.version) == ("mine", 2)
    with pytest.raises(MindportError, match="lies outside the folder"):
        read(path)
    (tmp_path / "tasks" / "sub" / "link").symlink_to(tmp_path / "tasks" / "_base")
    path.write_text("include: link\n")
    with pytest.raises(MindportError, match="lies outside the folder"):
        read(path)


def test_includes_in_a_circle(write):
    write("b.yaml", "include: a.yaml\n")
    with pytest.raises(MindportError, match="includes itself"):
        read(write("a.yaml", "include: b.yaml\n"))
    with pytest.raises(MindportError, match=r"include: there is no file 'absent\.yaml'"):
        read(write("a.yaml", "include: absent.yaml\n"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TASK + "process_docs: !function utils.process\n", "line 14, process_docs: the tag !funct"),
        (TASK.replace("label\n", "!function utils.f\n"), "doc_to_target: the tag !function"),
        (changed(output_type="generate_until"), "'generate_until', and only multiple_choice"),
        (changed(doc_to_choice="{{[a, b]}}"), "must be a list that is the same for every row"),
        (changed(doc_to_choice=[False, True]), "doc_to_choice[0]: this is the boolean false"),
        (changed(doc_to_choice=["a", "a"]), "all different"),
        (changed(doc_to_choice=["a"]), "two choices or more"),
        (changed(doc_to_target=0), "doc_to_target: text is needed, not 0"),
        (changed(doc_to_target="{{a + 1}}"), "is neither a field nor"),
        (changed(doc_to_target="{{['a'].index(x)}}"), "1 names for 2 choices"),
        (changed(doc_to_text="{{ a|random }}"), "the filter 'random'"),
        (changed(doc_to_text="{{ ''.__class__.__mro__ }}"), "is not allowed"),
        (changed(doc_to_text="{{ range(10**9)|list }}"), "is not allowed"),
        (changed(doc_to_text="no field"), "does not show any field"),
        (changed(doc_to_text="[x] {{a}}"), "would be read as another slot"),
        (changed(use_prompt="promptsource:*"), "PromptSource's"),
        (changed(metric_list="acc"), "metric_list: a list is needed"),
        (changed(fewshot_delimiter=3), "fewshot_delimiter: text is needed"),
        (changed(include=["x"]), "include: text is needed"),
        (changed(include="/etc/passwd"), "lies outside the folder"),
        (changed(include="a\0b"), "include: there is no file"),
        (changed(include="a" * 5000), "include: there is no file"),
        ("- a\n", "keys and values are needed"),
        ("yes: 1\n", "a key must be text, not True"),
    ],
)
def test_bad_files(write, content, said):
    path = write("films.yaml", content)
    with pytest.raises(MindportError) as caught:
        read(path)
    assert said in str(caught.value)
    assert str(path) in caught.value.message


def test_what_is_written_is_read_back(tmp_path):
    spec = PromptSpec(
        "films",
        templates=by_shape("[title]: [X]\nIt was [Z]"),
        label_words={"neg": (LabelWord("bad"),), "pos": (LabelWord("good"),)},
        instruction="Judge.\n",
        shot_delimiter="\n\n",
        normalize="bytes",
        data=DataSource("films.jsonl", "body", "y"),
        version=3,
    )
    assert write_task(spec, tmp_path / "films.yaml") == ()
    content = yaml.safe_load((tmp_path / "films.yaml").read_text())
    assert content["description"] == "Judge.\n\n\n"  # ours, and the delimiter that follows it
    assert content["doc_to_text"] == "{{title}}: {{body}}\nIt was"
    assert content["doc_to_target"] == "{{['neg', 'pos'].index(y)}}"
    back = read(tmp_path / "films.yaml", text="body")
    for name in ("templates", "label_words", "instruction", "normalize", "data", "version"):
        assert getattr(back, name) == getattr(spec, name), name


def test_what_is_written_renders_alike(tmp_path):
    jinja2 = pytest.importorskip("jinja2")
    spec = PromptSpec(
        "t",
        templates=by_shape("[title]: [X]\nIt was [Z]"),
        label_words={"neg": (LabelWord("bad"),), "pos": (LabelWord("good"),)},
    )
    write_task(spec, tmp_path / "t.yaml")
    content = yaml.safe_load((tmp_path / "t.yaml").read_text())
    row = {"title": "Jaws", "text": "Sharks.", "label": "pos"}
    render = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    context = render.from_string(content["doc_to_text"]).render(row)
    chosen = int(render.from_string(content["doc_to_target"]).render(row))
    answer = content["target_delimiter"] + content["doc_to_choice"][chosen]
    assert context + answer == "Jaws: Sharks.\nIt was good"


def test_what_writing_loses_is_named(tmp_path):
    spec = PromptSpec(
        "t",
        description="Reviews.",
        templates={"prefix": "[X] [Z]", "cloze": "[Z] [X]"},
        label_words={"a": (LabelWord("x"), LabelWord("z")), "b": (LabelWord("y", False),)},
        normalize="tokens",
        data=DataSource(label_names=("a", "b")),
    )
    lost = " ".join(write_task(spec, tmp_path / "t.yaml"))
    for part in ("'z'", "a space stands", "cloze", "'tokens'", "description", "data", "a, b"):
        assert part in lost


@pytest.mark.parametrize(
    ("templates", "words", "said"),
    [
        ({"cloze": "[Z] [X]"}, {"a": (LabelWord("x"),)}, "a prefix template is needed"),
        ({"prefix": "[X] [Z] ."}, {"a": (LabelWord("x"),)}, "a prefix template is needed"),
        ({"prefix": "[X] [Z]"}, {}, "needs label words"),
        ({"prefix": "{{[X]}} [Z]"}, {"a": (LabelWord("x"),)}, "a mark of Jinja's"),
        (
            {"prefix": "[X] [Z]"},
            {"a": (LabelWord("x"),), "b": (LabelWord("x"),)},
            "the same first word",
        ),
    ],
)
def test_what_cannot_be_written(tmp_path, templates, words, said):
    with pytest.raises(MindportError, match=said.replace("{", "")):
        write_task(PromptSpec("t", templates=templates, label_words=words), tmp_path / "t.yaml")
    assert not list(tmp_path.iterdir())
