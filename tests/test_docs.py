"""What the documents say is there, and the commands that they show are ones the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from mindport.migrate import port, prepare
from mindport.validate import embedded_checkpoint
from mindport.validate.umbrella import main

ROOT = Path(__file__).parents[1]
DOCUMENTS = [p for p in sorted(ROOT.rglob("*.md")) if not any(
    part.startswith(".") or part in {"build", "node_modules"} for part in p.relative_to(ROOT).parts
)]  # fmt: skip
COMMANDS = ("migrate", "validate", "prompts")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def shown_commands():
    for document in DOCUMENTS:
        for block in blocks(document.read_text(), "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                words = words[1:] if words[:1] == ["mindport"] else words
                if words and words[0] in COMMANDS:
                    yield pytest.param(words, id=f"{document.name}: {' '.join(words)[:60]}")


SHOWN = list(shown_commands())


def test_there_are_commands_to_check():
    assert len(SHOWN) >= 10


@pytest.mark.parametrize("words", SHOWN)
def test_commands_are_understood(words):
    command, context = main, click.Context(main)
    while isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0))
        assert command is not None
        context = click.Context(command, parent=context)
    command.parse_args(context, words)  # raises for an option or a value that is not there


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document}: {target}"


@pytest.mark.mindspore
@pytest.mark.xdist_group("frameworks")
def test_readme_python_runs(tmp_path, monkeypatch):
    pytest.importorskip("mindspore")
    monkeypatch.chdir(tmp_path)
    port(prepare(embedded_checkpoint("gpt2"), "gpt2"), Path("gpt2-ms"))
    (code,) = blocks((ROOT / "README.md").read_text(), "python")
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert tuple(names["output"].logits.shape) == (1, 2, names["model"].config.vocab_size)


@pytest.mark.torch
@pytest.mark.xdist_group("frameworks")
def test_python_of_the_prompts_page_runs(capsys):
    pytest.importorskip("torch")
    (code,) = blocks((ROOT / "docs" / "prompts.md").read_text(), "python")
    exec(compile(code, "prompts.md", "exec"), {})
    assert "0." in capsys.readouterr().out
