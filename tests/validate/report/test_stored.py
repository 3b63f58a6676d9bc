"""A stored verdict is read as it was, and nothing else is taken for one."""

from __future__ import annotations

import json

import jsonschema
import pytest
from click.testing import CliRunner

from mindport.migrate.errors import MindportError
from mindport.validate.cli import main
from mindport.validate.report.stored import read_verdict
from mindport.validate.verdict import SCHEMA as NUMBER
from tests.validate.conftest import SCHEMA

NAMES = ("pass", "fail", "not-run", "everything")


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_back_as_it_was(verdicts, store, name):
    jsonschema.validate(json.loads(json.dumps(verdicts[name].to_dict())), SCHEMA)
    folder = store(verdicts[name])
    read = read_verdict(folder)
    assert read.to_dict() == json.loads(json.dumps(verdicts[name].to_dict()))
    assert read.exit_code == verdicts[name].exit_code
    assert read_verdict(folder / "verdict.json") == read
    for ours, theirs in zip(read.taps, verdicts[name].taps, strict=True):
        assert ours == theirs


def test_there_is_a_sample_of_the_output(verdicts):
    sample = verdicts["fail"].sample
    assert sample["tap"] == "logits"
    assert sample["elements"] > len(sample["oracle"]) >= 300
    assert sample["oracle"] == sorted(sample["oracle"])
    far = max(abs(c - o) for c, o in zip(sample["candidate"], sample["oracle"], strict=True))
    near = max(abs(r - o) for r, o in zip(sample["reference"], sample["oracle"], strict=True))
    assert far > 100 * near
    # The farthest element of all is among them.
    assert far == pytest.approx(verdicts["fail"].taps[-1].facts.max_abs, rel=1e-3)


def test_it_names_the_command_that_made_it(verdicts):
    words = verdicts["fail"].made["command"]
    assert words[:2] == ["validate", "compare"]
    assert [word.rpartition("/")[2] for word in words[2:]] == ["reference", "wrong"]


BROKEN = {
    "no JSON": ("{", "it is not JSON"),
    "not UTF-8": (b"\xff\xfe", "it is not JSON"),
    "deep": ("[" * 100_000, "it is not JSON"),
    "a number JSON lacks": ('{"schema": NaN}', "NaN is no number"),
    "a list": ("[]", "is not a verdict of validate"),
    "another file": ('{"schema": 4, "parameters": []}', "is not a verdict of validate"),
    "another verdict": ('{"schema": 1, "verdict": "pass"}', "is not a verdict of validate"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_damaged_and_foreign_files(tmp_path, what):
    content, message = BROKEN[what]
    path = tmp_path / "verdict.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    for words in (["report", str(path)], ["diff", str(path), str(path)]):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 2
        assert isinstance(done.exception, SystemExit)
        assert message in " ".join(done.output.split())


@pytest.mark.parametrize("number", [NUMBER - 1, NUMBER + 1, None, "4"])
def test_another_schema(verdicts, store, number):
    folder = store(verdicts["pass"], change=lambda content: content.update(schema=number))
    with pytest.raises(MindportError, match=f"has schema {number}") as caught:
        read_verdict(folder)
    assert "Run the comparison again" in caught.value.hint
    assert caught.value.exit_code == 2


CHANGES = {
    "a pass of a fault": lambda v: v["taps"][0].update(ok=False, problem="off"),
    "a size that is text": lambda v: v["taps"][3].update(used="much"),
    "a lost section": lambda v: v.pop("policy"),
    "a lost field": lambda v: v["taps"][0]["facts"].pop("ulps"),
    "a lost side": lambda v: v["timings"].pop("candidate"),
    "inputs that say nothing": lambda v: v.update(inputs={}),
    "a parameter without a name": lambda v: v["mapping"]["parameters"][0].pop("source"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_is_refused_with_its_place(verdicts, store, what):
    folder = store(verdicts["pass"], change=CHANGES[what])
    with pytest.raises(MindportError, match=r"damaged, or was changed: at \$"):
        read_verdict(folder)


def test_no_file_and_no_folder(tmp_path):
    with pytest.raises(MindportError, match="There is no verdict at"):
        read_verdict(tmp_path)
    with pytest.raises(MindportError, match="There is no verdict at"):
        read_verdict(tmp_path / "nowhere")
