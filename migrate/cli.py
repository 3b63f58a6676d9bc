"""The ``migrate`` command: parse, call, print, exit."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from mindport.migrate.architecture import Architecture
from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.carrying import carry, carrying_options, places
from mindport.migrate.checkpoints.hub import resolve_checkpoint
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.commands import (
    ByArchitecture,
    Command,
    complete_words,
    version_option,
)
from mindport.migrate.config import read_config_file
from mindport.migrate.console import command, out
from mindport.migrate.detect import choose_head, detect_dialect
from mindport.migrate.dialects import DIALECTS
from mindport.migrate.explain import Wanted, choose_entries, explain, explanation
from mindport.migrate.guess.cli import guess_command
from mindport.migrate.language import tell
from mindport.migrate.mapping.cli import map_command
from mindport.migrate.porting import prepare
from mindport.migrate.report import (
    inspection,
    print_inspection,
)
from mindport.migrate.show_explanation import print_explanation

_HELP = """Port weights between PyTorch and MindSpore, and lose nothing silently.

Exit codes: 0 done, 1 a guess is not sure, 2 bad input or a checkpoint that does not fit,
3 the network or a library that was asked for is not there.
"""
_EXAMPLES = {
    "migrate gpt2 ./gpt2-hf ./gpt2-ms": "PyTorch to MindSpore",
    "migrate bert ./bert-hf ./bert-ms --head mlm": "leave another head behind",
    "migrate gpt2 ./gpt2-ms ./back --to torch": "the way back",
    "migrate gpt2 ./gpt2-hf ./x --to torch --max-shard-size 2GB": "the same in other files",
    "migrate gpt2 ./gpt2-hf ./x --dry-run": "the plan, nothing written",
    "migrate inspect ./gpt2-hf": "what a checkpoint holds",
    'migrate explain gpt2 "*c_attn*"': "which rule takes a parameter where",
    "migrate guess ./theirs ./mine -o map.yaml": "propose a map between unknown names",
    "migrate map ./theirs ./port --map map.yaml": "port by a map",
}
_TO = "The layout to go to; by default MindSpore's, or PyTorch's from there."
_VOCABULARY = (
    "Write N tokens: further ones, each the mean of the others, are added, or the last ones left "
    "out; refused if the config or the tokenizer needs those."
)


def _build(name: str) -> click.Command:
    architecture = load_architecture(name)
    return Command(
        name,
        params=list(_parameters(architecture)),
        callback=command(
            lambda **options: carry(name, partial(prepare, architecture=name), **options)
        ),
        help=f"Port a {architecture.title} checkpoint SRC into the folder DST.\n\nSRC is a Hugging "
        "Face folder, a .safetensors, .bin, .pth or .ckpt file, a shard index, or a model's name.",
        short_help=f"Port a {architecture.title}.",
        examples={
            f"migrate {name} ./{name}-hf ./{name}-ms": "PyTorch to MindSpore",
            f"migrate {name} ./{name}-ms ./back --to torch": "and back, bit for bit",
            f"migrate {name} ./{name}-hf ./x --dry-run": "the plan, nothing written",
        },
    )


def _parameters(architecture: Architecture) -> list[click.Parameter]:
    path = click.Path(path_type=Path)
    return [
        *places(),
        click.Option(["--head"], type=click.Choice(list(architecture.heads)),
                     help="The head; by default the checkpoint's."),
        click.Option(["--to"], type=click.Choice(list(DIALECTS)),
                     help=_TO),
        click.Option(["--config", "config_file"], type=path, metavar="FILE",
                     help="config.json, for weights that lie without one."),
        click.Option(["--allow-missing"], is_flag=True,
                     help="Give absent parameters (a new head) their initial values."),
        click.Option(["--allow-unexpected"], is_flag=True, help="Leave unknown tensors behind."),
        click.Option(["--allow-loss"], is_flag=True,
                     help="Leave behind what the target has no place for."),
        click.Option(["--vocab-size", "vocabulary"], type=click.IntRange(min=1), metavar="N",
                     help=_VOCABULARY),
        *carrying_options(),
    ]  # fmt: skip


@click.command(cls=Command, examples={
    "migrate inspect ./gpt2-hf": "",
    "migrate inspect ./gpt2-ms/model.ckpt --json": "for a program",
})  # fmt: skip
@click.argument("path", shell_complete=complete_words(tuple))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@command
def inspect(path: str, as_json: bool) -> None:
    """Show what the checkpoint at PATH holds, from its headers alone."""
    checkpoint = open_checkpoint(resolve_checkpoint(path))
    content = inspection(checkpoint.reader)
    dialect = detect_dialect(checkpoint.reader.infos)
    config = read_config_file(checkpoint.config_path) if checkpoint.config_path else {}
    model_type = config.get("model_type")
    head = None
    if model_type in architecture_names():
        architecture = load_architecture(model_type)
        head = choose_head(architecture, None, config, checkpoint.reader.infos, dialect).name
    content |= {"architecture": model_type, "head": head, "layout": dialect.name}
    if as_json:
        click.echo(json.dumps(content, indent=2))
        return
    console = out()
    print_inspection(console, checkpoint.reader)
    said = tell(
        f"{content['format']}, {dialect.name} layout, architecture {model_type or 'unknown'}, "
        f"head {head or 'unknown'}: {content['count']} tensors, {content['parameters']:,} "
        f"parameters, {content['bytes'] / 1e6:,.1f} MB"
    )
    console.print(f"\n{said}", soft_wrap=True)


@click.command(cls=Command, examples={
    "migrate explain gpt2": "all parameters",
    'migrate explain bert "*LayerNorm*"': "some of them",
    "migrate explain gpt2 h.{i}.attn.c_attn.weight --to torch": "one, the way back",
})  # fmt: skip
@click.argument("subject", metavar="ARCHITECTURE|CHECKPOINT",
                shell_complete=complete_words(architecture_names))  # fmt: skip
@click.argument("name", metavar="[NAME|PATTERN]", required=False)
@click.option("--to", type=click.Choice(list(DIALECTS)), help=_TO)
@click.option("--head", metavar="HEAD", help="The head; by default the checkpoint's.")
@click.option("--size", metavar="SIZE", help="Size of an architecture.  [default: base]")
@click.option("--vocab-size", "vocabulary", type=click.IntRange(min=1), metavar="N",
              help=_VOCABULARY)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@command
def explain_command(subject: str, name: str | None, as_json: bool, **choices: Any) -> None:
    """Tell which rule takes a parameter where, and what takes it back.

    It needs no weights: the name of an architecture or a config.json will do. A name may be that in
    the source or in the target, with {i} for any layer.
    """
    plan = explain(Wanted(subject, **choices))
    entries = choose_entries(plan, name)
    if as_json:
        click.echo(json.dumps(explanation(plan, entries), indent=2))
    else:
        print_explanation(out(), plan, entries)


main = ByArchitecture(
    name="migrate", build=_build, names=architecture_names, help=_HELP, examples=_EXAMPLES,
    params=[version_option()],
)  # fmt: skip
main.add_command(inspect)
main.add_command(explain_command, "explain")
main.add_command(map_command, "map")
main.add_command(guess_command, "guess")
