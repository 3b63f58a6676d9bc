"""The snippets of the pages on Python and on pytest are run, or are parts of what is run."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import mindport.validate
from tests.test_commands import COMMANDS

ROOT = Path(__file__).parents[2]


def snippets(name):
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.torch
@pytest.mark.mindspore
@pytest.mark.slow
@pytest.mark.xdist_group("more-frameworks")
def test_the_snippets_of_the_api_run(frameworks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for number, code in enumerate(snippets("api.md")):
        exec(compile(code, f"api.md, snippet {number}", "exec"), names)
    said = capsys.readouterr().out
    assert names["verdict"].passed
    assert "100% done" in said
    assert "graph all 59 taps agree" in said
    assert "There is no dtype 'float23'. Did you mean 'float32'?" in said
    assert (tmp_path / "report" / "verdict.json").is_file()
    assert (tmp_path / "gpt2-ms" / "model.safetensors.index.json").is_file()
    assert (tmp_path / "capture" / "record.json").is_file()


def test_the_snippets_of_the_pytest_page_are_the_examples():
    tests = (ROOT / "examples" / "own_port" / "tests" / "test_parity.py").read_text()
    found = snippets("pytest.md")
    assert found
    assert all(code.strip() in tests for code in found)


def test_the_functions_of_the_other_commands_are_there():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(\w+) ([\w-]+)[^`]*` \| `([\w.]+)\.(\w+)` \|", text, flags=re.MULTILINE
    )
    assert len(rows) == 9
    for group, name, module, function in rows:
        assert callable(getattr(import_module(module), function))
        assert f"mindport {group} {name}" in COMMANDS


def test_the_page_names_what_there_is():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    offered = set(mindport.validate.__all__) - {"Diagnosis", "Recorded", "TapResult", "Verdict"}
    assert not [name for name in offered if not re.search(rf"\b{name}\b", text) and name not in
                (ROOT / "docs" / "pytest.md").read_text(encoding="utf-8")]  # fmt: skip
