from __future__ import annotations

import pytest

from mindport.migrate.errors import DestinationError, MindportError
from mindport.prompts.formats.openprompt import read, read_verbalizer, write
from mindport.prompts.formats.openprompt_language import parse_template, write_template
from mindport.prompts.formats.spec import LabelWord, PromptSpec, by_shape


def words(spec):
    return {label: [word.text for word in entry] for label, entry in spec.label_words.items()}


def test_the_course(course):
    template, verbalizer = course
    spec = read(template, verbalizer=verbalizer)
    assert spec.templates == {"prefix": "[X] It was [Z]", "cloze": "[X] It was [Z]"}
    assert words(spec) == {"negative": ["bad"], "positive": ["good", "wonderful", "great"]}
    assert spec.aggregate == "mean_log"
    assert spec.notes == ()
    # The template has the space that OpenPrompt puts before every word.
    assert {word.space for entry in spec.label_words.values() for word in entry} == {None}


@pytest.mark.parametrize(
    ("line", "template"),
    [
        ('It was {"mask"} . {"placeholder":"text_a"}', "It was [Z] . [X]"),
        ("{'placeholder': 'text_a'}  {'mask'}", "[X] [Z]"),
        ('{"placeholder":"text_a"}{"mask"}', "[X][Z]"),
        ('{"placeholder":"text_a"} ? {"mask"} , {"placeholder":"text_b"}', "[X] ? [Z] , [text_b]"),
        ('{"placeholder":"text_a"} {"meta":"entity"} is {"mask"}', "[X] [entity] is [Z]"),
        ('{"text":"a {brace}"} {"placeholder":"text_a"} {"mask":None}', "a {brace} [X] [Z]"),
        (r'{"placeholder":"text_a"}{"text":"\n\x7d "}{"mask"}', "[X]\n} [Z]"),
        ('{"placeholder":"text_a"} {"mask"} {"mask"} .', "[X] [Z] [Z] ."),
        ('{"text":"no", "add_prefix_space":" "}{"meta":"k"} {"mask"}', " no[k] [Z]"),
        ('{"placeholder":"text_a","post_processing":"strip"} is {"mask"}', "[X] is [Z]"),
        ("<text_a> It was <mask>", "[X] It was [Z]"),
        ("<text_a> <meta:topic> <text_b> <mask> .", "[X] [topic] [text_b] [Z] ."),
        ("它是{'mask'}的。{'placeholder':'text_a'}", "它是[Z]的。[X]"),
    ],
)
def test_templates(line, template):
    assert parse_template(line)[0] == template


@pytest.mark.parametrize(
    ("line", "template", "note"),
    [
        ('{"placeholder":"text_a","shortenable":False} {"mask"}', "[X] [Z]", "'text_a' may be sh"),
        ('{"meta":"a","shortenable":True} {"mask"}', "[a] [Z]", "'a' may be shortened"),
        (
            '{"placeholder":"text_a", "post_processing":"rstrip_punct"} {"mask"}',
            "[X] [Z]",
            "The step 'rstrip_punct' on 'text_a'",
        ),
        ('{"placeholder":"text_a"} {"soft":"It was"} {"mask"}', "[X] It was [Z]", "Soft tokens"),
        (
            '{"placeholder":"text_a"} {"soft":None,"duplicate":3,"same":True} {"mask"}',
            "[X] [Z]",
            "prompt learning",
        ),
        ('{"placeholder":"text_a"} {"soft"} {"soft"} {"mask"}', "[X] [Z]", "Soft tokens"),
        ('{"placeholder":"text_a"} {"special":"<eos>"} {"mask"}', "[X] [Z]", "'<eos>' is left out"),
        ("<text_a> <soft> <soft>was <mask> <eos>", "[X] was [Z]", "Soft tokens"),
    ],
)
def test_what_is_lost_is_named(line, template, note):
    found, notes = parse_template(line)
    assert found == template
    assert note in " ".join(notes)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            '{"placeholder":"text_a", "post_processing": lambda x: x.rstrip()} {"mask"}',
            "line 1: column 45: a lambda stands",
        ),
        ('é {"mask"} {"text": __import__("os").system("id")}', "column 21: a call stands in"),
        ('{"mask"} {"text": open("x").read()}', "column 19: a call"),
        ('{"text": [c for c in ().__class__.__bases__]} {"mask"}', "column 10: more than a const"),
        ('{"text": f"{1+1}"} {"mask"}', "column 10: more than a constant"),
        ('{**{"mask": 1}}', "'**' is not allowed"),
        ('{"placeholder":"text_a"} {"mask"', "column 26: this brace is never closed"),
        ('{"placeholder":"text_a"} {mask}', "column 27: more than a constant"),
        ('{"placeholder":"text_a"} {"mask" "x" 1}', "is not an entry"),
        (
            '{"placeholder":"text_a"} {"mask":1, "masc":2}',
            "unknown key 'masc'. Did you mean 'mask'",
        ),
        ('{"placeholder":"text_a"} {"mask":1, "mask":2}', "'mask' stands twice"),
        ('{"placeholder":"text_a", "mask":1}', "must have just one of"),
        ('{"placeholder":1} {"mask"}', "'placeholder' must be text, not 1"),
        (
            '{"placeholder":"text_a","post_processing":"rstrip_punc"} {"mask"}',
            "unknown post_processing 'rstrip_punc'. Did you mean 'rstrip_punct'",
        ),
        ('{"placeholder":"text_a"} It was', "no place for the answer"),
        ('{"mask"}', "no place for a text"),
        ('{"placeholder":"text_a"} {"placeholder":"text_a"} {"mask"}', "has the text 2 times"),
        ('[MASK] {"placeholder":"text_a"} {"mask"}', "read as another slot"),
        ('{"placeholder":"text_a"} {"meta":"two words"} {"mask"}', "read as another slot"),
        ('{"placeholder":"text_a"} {"meta":"Z"} {"mask"}', "read as another slot"),
        ('{"text":"' + "a" * 3000 + '"} {"mask"}', "is too long"),
        ('{"text":' + "(" * 1500 + ")" * 1500 + '} {"mask"}', "line 1"),
        ('{"text":"\\ud800"} {"mask"}', "half a character"),
    ],
)
def test_bad_templates(write, line, said):
    path = write("template.txt", f"{line}\n")
    with pytest.raises(MindportError) as caught:
        read(path)
    assert said in str(caught.value)
    assert f"{path}, line 1" in caught.value.message


def test_code_is_never_run(write, tmp_path):
    target = tmp_path / "ran"
    code = f'{{"mask"}} {{"text": open({str(target)!r}, "w").write("x")}}'
    with pytest.raises(MindportError, match="a call stands in"):
        read(write("template.txt", code))
    assert not target.exists()


def test_one_line_is_chosen(write):
    path = write("t.txt", "<text_a> is <mask>\r\n\r\n<text_a> was <mask>\r\n")
    assert read(path, choice=2).templates["prefix"] == "[X] was [Z]"
    with pytest.raises(MindportError, match="line 2: there is no template"):
        read(path, choice=1)
    for choice in (3, -1):
        with pytest.raises(MindportError, match="has 3 lines"):
            read(path, choice=choice)


def test_verbalizer_without_names(write):
    path = write("v.txt", "bad,terrible\ngood, great\n\n \nawful\nfine\n")
    spec = read_verbalizer(path, classes=["negative", "positive"])
    assert words(spec) == {"negative": ["bad", "terrible"], "positive": ["good", "great"]}
    second = read_verbalizer(path, classes=["negative", "positive"], choice=1)
    assert words(second) == {"negative": ["awful"], "positive": ["fine"]}
    with pytest.raises(MindportError, match="2 sets of words"):
        read_verbalizer(path, classes=["negative", "positive"], choice=2)
    with pytest.raises(MindportError, match="does not name the labels of its 2 lines"):
        read_verbalizer(path)
    with pytest.raises(MindportError, match="words for 2 labels, but the classes are"):
        read_verbalizer(path, classes=["a", "b", "c"])


def test_the_classes_give_the_order(write):
    path = write("v.json", '{"b": "x", "a": ["y"]}')
    assert list(words(read_verbalizer(path))) == ["b", "a"]
    assert list(words(read_verbalizer(path, classes=["a", "b"]))) == ["a", "b"]
    with pytest.raises(MindportError, match="the label 'c' is in one list only"):
        read_verbalizer(path, classes=["a", "b", "c"])
    with pytest.raises(MindportError, match="the label 'b' is in one list only"):
        read_verbalizer(path, classes=["a"])


def test_verbalizers_in_a_list(write):
    sets = '[{"a": ["x"], "b": ["y"]}, {"a": ["u"], "b": ["v"]}]'
    assert words(read_verbalizer(write("v.json", sets), choice=1)) == {"a": ["u"], "b": ["v"]}
    lines = '{"a": ["x"], "b": ["y"]}\n{"a": ["u"], "b": ["v"]}\n'
    assert words(read_verbalizer(write("v.jsonl", lines), choice=1)) == {"a": ["u"], "b": ["v"]}
    bare = read_verbalizer(write("w.json", '["x", "y"]'), classes=["a", "b"])
    assert words(bare) == {"a": ["x"], "b": ["y"]}


def test_a_word_without_a_space(write):
    spec = read_verbalizer(write("v.json", '{"a": ["<!>ly"], "b": ["er"]}'))
    assert spec.label_words == {"a": (LabelWord("ly", False),), "b": (LabelWord("er", True),)}
    # OpenPrompt's space before a word stays where the template has none.
    template = write("t.txt", '{"placeholder":"text_a"}{"mask"}')
    joined = read(template, verbalizer=write("v.json", '{"a": ["<!>ly"], "b": ["er"]}'))
    assert joined.label_words == spec.label_words


def test_several_masks(write):
    template = write("t.txt", '{"placeholder":"text_a"} the {"mask"} {"meta":"head"} {"mask"} .')
    verbalizer = write("v.jsonl", '{\n "a": ["person", "<!>\'s"],\n "b": ["city", "in"]\n}')
    spec = read(template, verbalizer=verbalizer)
    assert spec.label_words["a"] == (LabelWord(("person", "'s")),)
    assert "A <!> before one of several words" in spec.notes[0]
    with pytest.raises(MindportError, match="but the template has 2 masks"):
        read(template, verbalizer=write("w.json", '{"a": ["x"], "b": ["y", "z"]}'))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("v.json", '{"a": [true], "b": ["x"]}', "must be text, not True"),
        ("v.json", '{"a": [], "b": ["x"]}', "must be a list, not []"),
        ("v.json", '{"a": 3, "b": ["x"]}', "must be a list, not 3"),
        ("v.json", '{"a": [""], "b": ["x"]}', "must not be empty"),
        ("v.json", '{"a": ["x"], "a": ["y"]}', "the key 'a' stands there twice"),
        ("v.json", '{"a": ["x"]', "line 1: this is not JSON"),
        ("v.json", '{"a":\n ["\\ud800"]}', "half a character"),
        ("v.json", "3", "must map labels to words"),
        ("v.json", "[" * 100_000, "this is not JSON"),
        ("v.txt", "a,,b\nc", "must not be empty"),
        ("v.yaml", "", "unknown ending '.yaml'"),
        ("v.txt", b"\xff", "line 1: this is not UTF-8"),
    ],
)
def test_bad_verbalizers(write, name, content, said):
    with pytest.raises(MindportError) as caught:
        read_verbalizer(write(name, content), classes=["a", "b"])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        "[X] It was [Z]",
        "It was [Z] . [X]",
        "[X][Z]",
        "{[X]}: [text_b] [Z]",
        "Text: [X]\nTopic:\t[Z]",
        "a  b [X] [Z]  c",
        "它是[Z]的。[X]",
        "“é” \U0001f600\u2028 [X] \\ \" ' [title] [Z]",
    ],
)
def test_what_is_written_is_read_back(tmp_path, template):
    assert "\n" not in write_template(template)
    labels = {"a": (LabelWord("x", False), LabelWord("y")), "b": (LabelWord("ü"),)}
    if not template.startswith("[X][Z]"):
        spec = PromptSpec("t", templates=by_shape(template), label_words=labels)
        assert write(spec, tmp_path / "t.txt") == ()
        back = read(tmp_path / "t.txt", verbalizer=tmp_path / "t_verbalizer.json")
        assert back.templates == spec.templates
    assert parse_template(write_template(template))[0] == template


def test_what_writing_loses_is_named(tmp_path):
    spec = PromptSpec(
        "t",
        templates={"prefix": "[X] [Z]", "cloze": "[Z] [X]"},
        label_words={"a": (LabelWord("x"),), "b": (LabelWord("y"),)},
        instruction="Judge.",
        shot_delimiter="\n",
        aggregate="max",
        normalize="tokens",
    )
    lost = " ".join(write(spec, tmp_path / "t.txt"))
    for part in ("line 1 is prefix, line 2 is cloze", "'Judge.'", "'max'", "'tokens'", "'\\n'"):
        assert part in lost
    assert read(tmp_path / "t.txt", choice=1).templates == {"cloze": "[Z] [X]"}


def test_nothing_is_overwritten_and_nothing_is_left(course, tmp_path):
    template, verbalizer = course
    spec = read(template, verbalizer=verbalizer)
    with pytest.raises(DestinationError, match="exists already"):
        write(spec, tmp_path / "new.txt", verbalizer=verbalizer)
    with pytest.raises(DestinationError, match="cannot be written"):
        write(spec, tmp_path / "new.txt", verbalizer=tmp_path / "absent" / "v.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["template.txt", "verbalizer.json"]


def test_words_that_openprompt_cannot_hold(tmp_path):
    spec = PromptSpec("t", templates=by_shape("[X] [Z]"), label_words={"a": (LabelWord("<!>x"),)})
    with pytest.raises(MindportError, match="begins with OpenPrompt's mark"):
        write(spec, tmp_path / "t.txt")
    assert not list(tmp_path.iterdir())
