"""The snippets for CI servers: YAML, and commands that the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from mindport.validate.cli import main

FOLDER = Path(__file__).parents[3] / "examples" / "ci"
SNIPPETS = sorted(FOLDER.glob("*.yml"))


def commands(content):
    """Yield every line of shell, wherever a CI keeps it."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "run" and isinstance(value, str):
                yield from value.splitlines()
            elif key == "commands":
                yield from value
            else:
                yield from commands(value)
    elif isinstance(content, list):
        for each in content:
            yield from commands(each)


@pytest.mark.parametrize("path", SNIPPETS, ids=lambda path: path.stem)
def test_every_validate_line_is_understood(path):
    lines = [c for c in commands(yaml.safe_load(path.read_text())) if re.match(r"validate\b", c)]
    assert any("--verify" in line for line in lines)
    assert any("-o" in line for line in lines)
    for line in lines:
        words = shlex.split(line)[1:]
        command = main.get_command(click.Context(main), words.pop(0))
        assert command is not None, line
        command.parse_args(click.Context(command), words)


def test_the_page_names_every_snippet():
    text = (FOLDER / "README.md").read_text()
    assert len(SNIPPETS) == 2
    assert all(f"]({path.name})" in text for path in SNIPPETS)


def test_github_runs_and_keeps_the_folder():
    content = yaml.safe_load((FOLDER / "github-actions.yml").read_text())
    steps = content["jobs"]["accept"]["steps"]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    assert any(step.get("uses", "").startswith("actions/upload-artifact@") for step in steps)


def test_gitee_runs_and_keeps_the_folder():
    content = yaml.safe_load((FOLDER / "gitee-go.yml").read_text())
    assert content["version"] == "1.0"
    (step,) = content["stages"][0]["steps"]
    assert step["step"] == "build@python"
    assert step["artifacts"][0]["path"] == ["./accepted"]
