"""Every command: its help and examples, one name for one thing, completion, and versions."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from mindport.migrate.cli import main as migrate
from mindport.migrate.commands import Command, Group
from mindport.prompts.cli import main as prompts
from mindport.validate.cli import main as validate
from mindport.validate.umbrella import main

PROGRAMS = {"mindport": main, "migrate": migrate, "validate": validate, "prompts": prompts}


def walk(command, path=("mindport",)):
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), (*path, name))


COMMANDS = {" ".join(path): command for path, command in walk(main)}
OPTIONS = [
    (path, option)
    for path, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def parse(words):
    """Go down to a command and have it parse the rest, as a shell would start it."""
    if words[0] == "eval":
        words = shlex.split(words[1].removeprefix("$(").removesuffix(")"))
    words = words[: words.index("|")] if "|" in words else list(words)
    command = PROGRAMS[words.pop(0)]
    context = click.Context(command)
    while isinstance(command, click.Group):
        name = words.pop(0)
        command = command.get_command(context, name)
        assert command is not None, name
        context = click.Context(command, parent=context)
    command.parse_args(context, words)  # raises for what is not there


def run_help(path):
    result = CliRunner().invoke(main, [*path.split()[1:], "--help"], terminal_width=100)
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("path", COMMANDS)
def test_help_ends_with_examples_that_are_understood(path):
    text = run_help(path)
    assert text.startswith("Usage: ")
    _, mark, shown = text.rpartition("\nExamples:\n")
    assert mark
    lines = shown.rstrip("\n").split("\n")
    assert len(lines) == len(COMMANDS[path].examples) >= 1
    for line in lines:
        parse(shlex.split(line, comments=True))
    name = path.split()[-1]
    assert any(re.search(rf"\b{name}\b", line) for line in lines), "an example of itself"


@pytest.mark.parametrize("path", COMMANDS)
def test_it_is_a_command_of_ours_with_a_short_flag_for_help(path):
    assert isinstance(COMMANDS[path], (Command, Group))
    assert CliRunner().invoke(main, [*path.split()[1:], "-h"]).exit_code == 0


# Where one name means one thing in one command and another in another, as their helps say.
SEVERAL = {
    "--allow-missing": 2,     # migrate gives initial values, validate runs with them
    "--allow-unexpected": 2,  # what the config, or the map, does not name
    "--atol": 2,              # of every tap, or of logits
    "--backend": 3,           # of the candidate, of the one that runs, of the doctor's job
    "--candidate-checkpoint": 1,
    "--case": 2,              # to run, or that was dumped
    "--checkpoint": 6,        # of which architectures and sides, or the tokenizer's folder
    "--config": 2,            # also for random weights, or not
    "--device": 3,
    "--dtype": 4,
    "--force": 3,             # replaces DST or FILE; builds anew
    "--format": 2,            # of weights, of a report
    "--from": 2,              # a format, a tool
    "--json": 2,              # of a result, of events
    "--limit": 2,             # items, faults
    "--map": 2,               # of tensors, of taps
    "--mode": 2,
    "--output": 5,            # made, gone on with, or instead of standard output; both sides
    "--python": 3,
    "--quiet": 3,
    "--report": 3,            # JSON; a folder; a page
    "--seed": 4,              # of what is random there
    "--size": 3,
    "--template": 2,          # of a prompt, of a migration task
    "--threads": 2,
    "--timeout": 3,
    "--to": 2,                # a layout, a format
    "--verify": 2,            # what was written, a folder of evidence
    "--with-weights": 3,      # its default
}  # fmt: skip


def test_one_name_means_one_thing():
    meanings = defaultdict(set)
    for _, option in OPTIONS:
        name = next(spelling for spelling in option.opts if spelling.startswith("--"))
        said = re.sub(r"those that ship with mindport \([^)]*\), ", "", option.help or "")
        kind = name[2:].upper() if isinstance(option.type, click.Choice) else None
        meanings[name].add((said, option.metavar or kind))
    many = {name: len(said) for name, said in meanings.items() if len(said) > 1}
    beyond = {name: sorted(meanings[name], key=str) for name, count in many.items()
              if count > SEVERAL.get(name, 1)}  # fmt: skip
    assert beyond == {}


@pytest.mark.parametrize(
    ("path", "option"), OPTIONS, ids=lambda x: x if isinstance(x, str) else x.name
)
def test_an_option_says_what_it_is(path, option):
    assert option.help, "no help"
    assert option.help[0].isupper() or option.help.startswith("config.json")
    if isinstance(option.type, click.Path):
        assert option.metavar in ("FILE", "DIR", "PATH")


def test_short_flags_are_the_same_everywhere():
    short = defaultdict(set)
    for _, option in OPTIONS:
        for spelling in option.opts:
            if not spelling.startswith("--"):
                short[spelling].add(
                    option.opts[0] if option.opts[0] != spelling else option.opts[1]
                )
    assert dict(short) == {"-o": {"--output"}, "-q": {"--quiet"}}
    for path, option in OPTIONS:
        if "--output" in option.opts or "--quiet" in option.opts:
            assert len(option.opts) == 2, path


def test_a_choice_is_offered_where_the_values_are_known():
    for path, option in OPTIONS:
        if option.opts[0] in ("--head", "--to", "--dtype", "--mode", "--backend", "--policy"):
            free = path.startswith(("mindport prompts", "mindport migrate explain",
                                    "mindport validate taps"))  # fmt: skip
            assert isinstance(option.type, click.Choice) or free, (path, option.opts)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("validate gpt2 --prompt-limit 5", "prompt_limit", 5),
        ("validate gpt2 --limit 5", "prompt_limit", 5),
        ("validate gpt2", "prompt_limit", None),
        ("prompts show topic --checkpoint x -n 2", "items", 2),
        ("prompts show topic --checkpoint x --items 2", "items", 2),
        ("prompts convert a -o b --shots rows.jsonl", "shots", "rows.jsonl"),
        ("prompts learn topic gpt2 --method soft-prompt --backend mindspore,torch", "backends",
         ("mindspore", "torch")),
    ],
)  # fmt: skip
def test_older_spellings_are_understood_and_not_shown(line, name, value):
    words = line.split()
    command, context = PROGRAMS[words.pop(0)], None
    while isinstance(command, click.Group):
        context = click.Context(command, parent=context)
        command = command.get_command(context, words.pop(0))
    context = click.Context(command, parent=context)
    command.parse_args(context, words)
    assert context.params[name] == value
    (option,) = [option for option in command.params if option.name == name]
    text = command.get_help(click.Context(command))
    assert not any(re.search(rf"{alias}\b(?!-)", text) for alias in option.aliases)


def complete(program, line):
    """Ask by click's protocol what may follow; the last word is what has been begun."""
    *words, begun = line.split(" ")
    shell = ShellComplete(PROGRAMS[program], {}, program, f"_{program.upper()}_COMPLETE")
    return {(item.type, item.value) for item in shell.get_completions(words, begun)}


@pytest.mark.parametrize(
    ("program", "line", "words"),
    [
        ("migrate", "g", {"gpt2", "guess"}),
        ("mindport", "validate d", {"distilbert", "doctor", "diff"}),
        ("migrate", "gpt2 x y --head ", {"none", "lm", "sequence-classification"}),
        ("migrate", "explain distil", {"distilbert"}),
        ("validate", "gpt2 --backend t", {"torch"}),
        ("validate", "gpt2 --device ", {"CPU", "GPU", "Ascend"}),
        ("validate", "gpt2 --device as", {"Ascend"}),
        ("validate", "gpt2 --prompts se", {"sentiment"}),
        ("validate", "gpt2 --checkpoint em", {"embedded", "embedded-zh"}),
        ("validate", "record gpt2 --mode ", {"eager", "graph"}),
        ("prompts", "run to", {"topic"}),
        ("prompts", "run topic di", {"distilbert"}),
        ("mindport", "completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_values_are_completed(program, line, words):
    assert words <= {value for kind, value in complete(program, line) if kind == "plain"}


@pytest.mark.parametrize(
    ("program", "line"),
    [("validate", "gpt2 --prompts ./m"), ("validate", "gpt2 --checkpoint ./"),
     ("migrate", "gpt2 ./x"),
     ("migrate", "inspect ./x"), ("validate", "gpt2 --report r")],
)  # fmt: skip
def test_a_place_is_completed_as_files(program, line):
    assert {kind for kind, _ in complete(program, line)} == {"file"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_what_the_shell_reads(shell):
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    for program in PROGRAMS:
        assert f"_{program.upper()}_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_versions_are_those_of_the_metadata(program):
    result = CliRunner().invoke(PROGRAMS[program], ["--version"])
    assert result.exit_code == 0
    lines = dict(line.split(" ", 1) for line in result.output.splitlines())
    assert {"mindport", "Python", "numpy"} <= set(lines)
    for package in ("numpy", "torch", "transformers", "mindspore", "mindnlp"):
        try:
            found = version(package)
        except PackageNotFoundError:
            found = None
        assert lines.get(package) == found
