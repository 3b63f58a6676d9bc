"""What the documents name is there: options, files, targets, links. Nothing is run here."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import click
import pytest

from mindport.validate.umbrella import main
from tests.docs.blocks import ROOT, blocks_of, commands_of

DOCUMENTS = [p for p in sorted(ROOT.rglob("*.md")) if not any(
    part.startswith(".") or part in {"build", "node_modules"} for part in p.relative_to(ROOT).parts
)]  # fmt: skip
OURS = ("migrate", "validate", "prompts")


def shown_commands():
    for document in DOCUMENTS:
        for block in blocks_of(document.read_text(encoding="utf-8")):
            for command in commands_of(block):
                where = f"{document.relative_to(ROOT)}:{command.line}"
                yield pytest.param(command.text, id=f"{where} {command.text[:50]}")


SHOWN = list(shown_commands())


def test_there_are_commands_to_check():
    assert len(SHOWN) >= 100


@pytest.mark.parametrize("text", SHOWN)
def test_commands_are_understood(text):
    words = shlex.split(text)
    if words[0] == "mindport":
        words = words[1:]
    if words and words[0] in OURS:
        understand(words)
    elif words and words[0] == "make":
        for target in words[1:]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    elif words and words[0] == "tox":
        assert set(words[2::2]) <= environments()
    elif words and words[0] in ("pytest", "python"):
        assert_files(words)


def understand(words):
    command, context = main, click.Context(main)
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            break
        command = command.get_command(context, words.pop(0))
        assert command is not None
        context = click.Context(command, parent=context)
    # `--help` prints and ends; anything else raises for an option or a value that is not there.
    if not {"-h", "--help", "--version"} & set(words):
        command.parse_args(context, words)


def environments():
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read(ROOT / "tox.ini")
    names = set(re.split(r"[\s,\\]+", parsed["tox"]["env_list"] + parsed["tox"]["labels"]))
    return names | {"matrix"}


def assert_files(words):
    if words[1:2] == ["-m"]:
        module = words[2].replace(".", "/")
        if module.startswith("tests/"):
            assert (ROOT / f"{module}.py").exists() or (ROOT / module).is_dir()
        return
    for word in words[1:]:
        if word.startswith(("tests/", "examples/", "benchmarks/", "docs/")):
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (Path(document.parent) / target).exists(), f"{document}: {target}"
