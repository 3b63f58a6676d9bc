from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindport.migrate.errors import MindportError
from mindport.prompts import InputExample, PromptDataset

LABELS = ("negative", "positive")


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_jsonl(tmp_path):
    path = write(
        tmp_path,
        "x.jsonl",
        '\ufeff{"id": "a", "text": "one\u2028two", "label": "positive", "year": 1999, "x": null}\n'
        '\n{"text": "three", "label": "negative"}\r\n',
    )
    data = PromptDataset.from_file(path, labels=LABELS)
    assert data[0] == InputExample("a", "one\u2028two", "positive", {"id": "a", "year": "1999"})
    assert (data[1].id, data[1].text) == ("3", "three")
    assert len(data) == len(list(data)) == 2


def test_csv_and_tsv(tmp_path):
    csv = 'sentence,y\r\n"one, ""two""\nthree",positive\r\n\r\nfour,negative\r\n'
    data = PromptDataset.from_file(write(tmp_path, "x.csv", csv), text="sentence", label="y")
    assert [example.text for example in data] == ['one, "two"\nthree', "four"]
    tsv = 'sentence\ty\n"one\tpositive\ntwo"\tnegative\n'
    data = PromptDataset.from_file(write(tmp_path, "x.tsv", tsv), text="sentence", label="y")
    assert [example.text for example in data] == ['"one', 'two"']
    assert [example.id for example in data] == ["2", "3"]


def test_numbers_may_be_labels(tmp_path):
    path = write(tmp_path, "x.jsonl", '{"text": "a", "label": 0}\n')
    assert PromptDataset.from_file(path, labels=("0", "1"))[0].label == "0"


def test_duplicates_are_counted_and_kept(data):
    assert data.duplicates == 1
    assert len(data) == 5


def test_take_goes_round_the_labels():
    rows = [InputExample(str(i), "x", "a" if i < 6 else "b") for i in range(9)]
    data = PromptDataset(tuple(rows))
    assert [example.id for example in data.take(4)] == ["0", "1", "6", "7"]
    assert [example.id for example in data.take(8)] == ["0", "1", "2", "3", "4", "6", "7", "8"]
    assert len(data.take(100)) == 9


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.jsonl", "", "holds no rows"),
        ("x.jsonl", "\n \n", "holds no rows"),
        ("x.jsonl", '{"text": "a", "label": "positive"}\n{"text": ', "line 2: this is not JSON"),
        ("x.jsonl", '["a"]', "line 1: a row must be a JSON object, not list"),
        ("x.jsonl", '{"txt": "a", "label": "positive"}', "no field 'text'. Did you mean 'txt'"),
        ("x.jsonl", '{"text": "a"}', "line 1: there is no field 'label'"),
        ("x.jsonl", '{"text": " ", "label": "positive"}', "line 1: 'text' is empty"),
        ("x.jsonl", '{"text": 3, "label": "positive"}', "'text' must be text, not 3"),
        ("x.jsonl", '{"text": "a", "label": true}', "'label' must be a word, not true"),
        ("x.jsonl", '{"text": "a", "label": null}', "'label' must be a word, not null"),
        ("x.jsonl", '{"text": "a", "label": "Positive"}', "'Positive' has no words. Did you mean"),
        ("x.jsonl", '{"text": "\\ud800", "label": "positive"}', "half a character"),
        ("x.jsonl", b'{"text": "a"\n\xff', "line 2: this is not UTF-8"),
        ("x.csv", "", "holds no rows"),
        ("x.csv", "text,label\n", "holds no rows"),
        ("x.csv", "text,label\na,positive\nb,c,negative\n", "line 3: 3 cells under 2 names"),
        ("x.csv", 'text,label\n"a,positive\n', "unexpected end of data"),
        ("x.csv", "text,text\na,positive\n", "must be there and differ"),
        ("x.csv", "text,lable\na,positive\n", "no field 'label'. Did you mean 'lable'"),
        ("x.tsv", "text\tlabel\n\tpositive\n", "line 2: 'text' is empty"),
        ("x.tsv", "text\tlabel\na\n", "line 2: 1 cells under 2 names"),
        ("x.xlsx", "", "unknown ending '.xlsx'"),
    ],
)
def test_bad_files(tmp_path, name, content, said):
    with pytest.raises(MindportError, match=said) as caught:
        PromptDataset.from_file(write(tmp_path, name, content), labels=LABELS)
    assert str(tmp_path / name) in str(caught.value)


def test_absent_file(tmp_path):
    with pytest.raises(MindportError, match="No such file"):
        PromptDataset.from_file(tmp_path / "x.jsonl")


def test_ids_differ():
    with pytest.raises(MindportError, match="examples 1 and 2 have the same id 'a'"):
        PromptDataset((InputExample("a", "x", "p"), InputExample("a", "y", "p")))
    with pytest.raises(MindportError, match="the text of example 1 is empty"):
        PromptDataset((InputExample("a", " \n", "p"),))


@given(content=st.binary(max_size=60), name=st.sampled_from(["x.jsonl", "x.csv", "x.tsv"]))
def test_any_bytes_give_rows_or_a_sentence(tmp_path_factory, content, name):
    path = write(tmp_path_factory.mktemp("any"), name, content)
    with contextlib.suppress(MindportError):
        assert len(PromptDataset.from_file(path)) > 0
