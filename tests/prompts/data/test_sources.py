"""Parquet, saved and named data sets, MindRecord, class indices, and rendered texts."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.prompts import InputExample, PromptDataset
from mindport.prompts.data import mindrecord
from mindport.prompts.data.huggingface import HubName, parse_hub_name

LABELS = ("negative", "positive")
ROWS = {
    "text": ["one\u2028two", "three", "four"],
    "label": [1, 0, 1],
    "text_b": ["b", None, "c"],
    "score": [0.5, 1.0, 2.0],
    "tokens": [[1, 2], [], [3]],
}


def lines(folder, content, name="x.jsonl"):
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_openprompt_names():
    example = InputExample("a", "one", "positive", {"text_b": "two"})
    assert (example.guid, example.text_a, example.text_b) == ("a", "one", "two")
    assert InputExample("a", "one", "positive").text_b == ""
    with pytest.raises(AttributeError):
        example.text_a = "three"


@pytest.fixture
def parquet_file(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    from pyarrow import parquet

    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table(ROWS), path)
    return path


def test_parquet(parquet_file):
    data = PromptDataset.from_file(parquet_file, labels=LABELS, label_names=LABELS)
    assert [example.label for example in data] == ["positive", "negative", "positive"]
    assert data[0].text == "one\u2028two"
    assert data[0].meta == {"text_b": "b", "score": "0.5"}
    assert data[1].text_b == ""
    assert [example.id for example in data] == ["1", "2", "3"]
    assert PromptDataset.from_parquet(parquet_file)[0].label == "1"


def test_parquet_rows_are_named(parquet_file):
    with pytest.raises(MindportError, match=r"x\.parquet, row 1: there is no field 'txt'"):
        PromptDataset.from_file(parquet_file, text="txt")
    with pytest.raises(MindportError, match=r"row 1: 'score' must be text, not 0\.5"):
        PromptDataset.from_file(parquet_file, text="score")


def test_damaged_parquet(parquet_file):
    whole = parquet_file.read_bytes()
    for content in (b"", b"PAR1", whole[:-20], whole[: len(whole) // 2] + whole[-100:]):
        parquet_file.write_bytes(content)
        with pytest.raises(MindportError, match=r"x\.parquet"):
            PromptDataset.from_file(parquet_file)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_any_changed_byte_of_parquet_gives_rows_or_a_sentence(tmp_path_factory, place, byte):
    pyarrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    from pyarrow import parquet

    path = tmp_path_factory.mktemp("any") / "x.parquet"
    parquet.write_table(pyarrow.table(ROWS), path)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content)
    with contextlib.suppress(MindportError):
        assert len(PromptDataset.from_file(path)) > 0


def test_absent_libraries_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    for source in (tmp_path / "x.parquet", "hf:imdb:test"):
        with pytest.raises(EnvironmentUnavailableError) as caught:
            PromptDataset.from_file(source)
        assert "mindport[data]" in caught.value.hint


@pytest.fixture
def saved(tmp_path):
    datasets = pytest.importorskip("datasets", exc_type=ImportError)
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=list(LABELS)),
            "tokens": datasets.Sequence(datasets.Value("int64")),
        }
    )
    rows = {name: ROWS[name] for name in ("text", "label", "tokens")}
    split = datasets.Dataset.from_dict(rows, features=features)
    split.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=split, test=split.select([1])).save_to_disk(tmp_path / "two")
    return tmp_path


def test_saved_folder(saved):
    data = PromptDataset.from_file(saved / "one", labels=LABELS)
    assert [example.label for example in data] == ["positive", "negative", "positive"]
    assert data[0].meta == {}
    # Words may have been given for the indices themselves.
    assert PromptDataset.from_hf(saved / "one", labels=("0", "1"))[0].label == "1"
    assert len(PromptDataset.from_hf(saved / "two", split="test")) == 1


def test_saved_folder_with_splits(saved):
    with pytest.raises(MindportError, match="several splits") as caught:
        PromptDataset.from_file(saved / "two")
    assert caught.value.hint == "Say which: test, train."
    with pytest.raises(MindportError, match=r"no split 'tests'\. Did you mean 'test'"):
        PromptDataset.from_file(saved / "two", split="tests")
    with pytest.raises(MindportError, match=r"no state\.json"):
        PromptDataset.from_file(saved)
    (saved / "one" / "state.json").write_text("{")
    with pytest.raises(MindportError, match="cannot be read"):
        PromptDataset.from_file(saved / "one")


def test_hub_names():
    assert parse_hub_name("hf:imdb:test") == (HubName("imdb", None, "test"),)
    assert parse_hub_name("hf:nyu-mll/glue/sst2:validation[:10]") == (
        HubName("nyu-mll/glue", "sst2", "validation[:10]"),
    )
    assert parse_hub_name("hf:a/b:test") == (
        HubName("a/b", None, "test"),
        HubName("a", "b", "test"),
    )
    for wrong in ("hf:", "hf:imdb", "hf::test", "hf:a/b/c/d:test", "hf:a//b:test", "hf:a:"):
        with pytest.raises(MindportError, match="does not name"):
            parse_hub_name(wrong)


def test_unknown_hub_name(monkeypatch):
    datasets = pytest.importorskip("datasets", exc_type=ImportError)

    def refuse(name, config, split):
        raise FileNotFoundError(f"no {name}, {config}\nmore")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(MindportError, match="cannot be had: no a/b, None; no a, b"):
        PromptDataset.from_file("hf:a/b:test")


@pytest.mark.mindspore
def test_mindrecord(tmp_path):
    pytest.importorskip("mindspore", exc_type=ImportError)
    path, damaged = tmp_path / "x.mindrecord", tmp_path / "damaged.mindrecord"
    code = """
import shutil
import sys
import numpy as np
from mindspore.mindrecord import FileWriter
from mindport.prompts.data.mindrecord_worker import main
path, damaged = sys.argv[1:]
writer = FileWriter(path, 1)
writer.add_schema({"text": {"type": "string"}, "label": {"type": "int32"},
                   "tokens": {"type": "int64", "shape": [-1]}}, "a schema")
writer.write_raw_data([
    {"text": "schön", "label": 1, "tokens": np.arange(3)},
    {"text": "bad", "label": 0, "tokens": np.arange(2)},
])
writer.commit()
open(damaged, "wb").write(open(path, "rb").read()[:100])
shutil.copy(path + ".db", damaged + ".db")
assert main(damaged, damaged + ".jsonl") == 1
"""
    command = [sys.executable, "-c", code, str(path), str(damaged)]
    subprocess.run(command, check=True, capture_output=True)
    data = PromptDataset.from_file(path, labels=LABELS, label_names=LABELS)
    assert [(example.text, example.label) for example in data] == [
        ("schön", "positive"),
        ("bad", "negative"),
    ]
    assert data[0].meta == {}


def test_mindrecord_that_cannot_be_read(tmp_path, monkeypatch):
    path = lines(tmp_path, "x", "x.mindrecord")
    lines(tmp_path, "x", "x.mindrecord.db")
    done = subprocess.CompletedProcess([], 1, b"Invalid file", b"")
    monkeypatch.setattr(mindrecord.subprocess, "run", lambda *args, **kwargs: done)
    with pytest.raises(MindportError, match="cannot be read as MindRecord: Invalid file"):
        PromptDataset.from_file(path)


def test_mindrecord_without_its_index(tmp_path):
    path = lines(tmp_path, "x", "x.mindrecord")
    with pytest.raises(MindportError, match=r"x\.mindrecord\.db cannot be read"):
        PromptDataset.from_file(path)


def test_mindrecord_without_mindspore(tmp_path, monkeypatch):
    path = lines(tmp_path, "x", "x.mindrecord0")
    lines(tmp_path, "x", "x.mindrecord0.db")
    done = subprocess.CompletedProcess([], 3, b"No module named 'mindspore'", b"")
    monkeypatch.setattr(mindrecord.subprocess, "run", lambda *args, **kwargs: done)
    with pytest.raises(EnvironmentUnavailableError, match="No module named 'mindspore'"):
        PromptDataset.from_file(path)


def test_class_indices(tmp_path):
    path = lines(
        tmp_path,
        '{"text": "a", "label": 1}\n{"text": "b", "label": "0"}\n'
        '{"text": "c", "label": "negative"}\n',
    )
    for names in (LABELS, {"0": "negative", "1": "positive"}):
        data = PromptDataset.from_file(path, labels=LABELS, label_names=names)
        assert [example.label for example in data] == ["positive", "negative", "negative"]
    path = lines(tmp_path, '{"text": "a", "label": -1}\n')
    with pytest.raises(MindportError, match="line 1: 'label' is -1, which is no class index"):
        PromptDataset.from_file(path, label_names=LABELS)


def test_rendered_text(tmp_path):
    path = lines(tmp_path, '{"a": "x", "b": 3, "label": "positive"}\n')
    data = PromptDataset.from_jsonl(path, render=lambda row: f"{row['a']} and {row['b']}")
    assert data[0].text == "x and 3"

    def refuse(row):
        raise MindportError("no.", "try.")

    with pytest.raises(MindportError, match=r"line 1: no\."):
        PromptDataset.from_jsonl(path, render=refuse)
    with pytest.raises(MindportError, match="'the rendered text' is empty"):
        PromptDataset.from_jsonl(path, render=lambda row: " ")
