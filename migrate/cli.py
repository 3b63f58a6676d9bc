"""The ``migrate`` command: parse, call, print, exit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from mindport.migrate.architecture import Architecture
from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.checkpoints.formats import FORMATS
from mindport.migrate.checkpoints.hub import resolve_checkpoint
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.checkpoints.tensors import FLOATS
from mindport.migrate.config import read_config_file
from mindport.migrate.console import ByArchitecture, command, err, out, write_report
from mindport.migrate.detect import choose_head, detect_dialect
from mindport.migrate.dialects import DIALECTS
from mindport.migrate.errors import MindportError, PlanError
from mindport.migrate.explain import Wanted, choose_entries, explain, explanation
from mindport.migrate.options import Options, Written
from mindport.migrate.porting import Prepared, carry_out, check_format, prepare
from mindport.migrate.progress import JsonLines, listen
from mindport.migrate.report import (
    inspection,
    migration_report,
    outcome,
    print_inspection,
    print_plan,
    summary,
)
from mindport.migrate.show_explanation import print_explanation
from mindport.migrate.streaming.parts import parse_size

_HELP = """Port weights between PyTorch and MindSpore, and lose nothing silently.

\b
  migrate gpt2 ./gpt2-hf ./gpt2-ms                 torch to MindSpore
  migrate bert ./bert-hf ./bert-ms --head mlm      leave another head behind
  migrate gpt2 ./gpt2-ms ./back --to torch         the way back
  migrate gpt2 ./gpt2-hf ./x --to torch --max-shard-size 2GB   the same in other files
  migrate gpt2 ./gpt2-hf ./x --dry-run             the plan, nothing written
  migrate inspect ./gpt2-hf                        what a checkpoint holds
  migrate explain gpt2 "*c_attn*"                  which rule takes a parameter where

Exit codes: 0 done, 2 bad input or a checkpoint that does not fit, 3 the network or
a library that was asked for is not there.
"""


def _build(name: str) -> click.Command:
    architecture = load_architecture(name)
    return click.Command(
        name,
        params=_parameters(architecture),
        callback=command(lambda **options: _migrate(name, **options)),
        help=f"Port a {architecture.title} checkpoint SRC into the folder DST.\n\nSRC is a Hugging "
        "Face folder, a .safetensors, .bin, .pth or .ckpt file, a shard index, or a model's name.",
        short_help=f"Port a {architecture.title}.",
    )


def _parameters(architecture: Architecture) -> list[click.Parameter]:
    path = click.Path(path_type=Path)
    return [
        click.Argument(["source"], metavar="SRC"),
        click.Argument(["destination"], metavar="DST", type=path, required=False),
        click.Option(["--head"], type=click.Choice(list(architecture.heads)),
                     help="The head to port; by default the config's, or what the tensors show."),
        click.Option(["--to"], type=click.Choice(list(DIALECTS)),
                     help="The layout to write; by default MindSpore's, or from another "
                     "PyTorch's."),
        click.Option(["--format", "file_format"], type=click.Choice(list(FORMATS)),
                     default="safetensors", show_default=True, help="The file format to write; "
                     "torch is PyTorch's, ckpt MindSpore's own."),
        click.Option(["--max-shard-size"], metavar="SIZE",
                     help="Write several files with an index, each of at most SIZE (2GB, 500MiB); "
                     "by default one file."),
        click.Option(["--dtype"], type=click.Choice(FLOATS),
                     help="Cast the weights; an overflow is refused."),
        click.Option(["--allow-overflow"], is_flag=True,
                     help="Let values that the dtype cannot hold become infinite."),
        click.Option(["--config", "config_file"], type=path,
                     help="config.json, when it is not beside the weights."),
        click.Option(["--allow-missing"], is_flag=True,
                     help="Give absent parameters (a new head) their initial values."),
        click.Option(["--allow-unexpected"], is_flag=True, help="Leave unknown tensors behind."),
        click.Option(["--allow-loss"], is_flag=True,
                     help="Leave behind what the target has no place for."),
        click.Option(["--verify/--no-verify"], default=True, show_default=True,
                     help="Read what was written back from the disk and compare it with SRC."),
        click.Option(["--vocab-size", "vocabulary"], type=click.IntRange(min=1), metavar="N",
                     help="Write N tokens: further ones, each the mean of the others, are added, "
                     "or the last ones left out; refused if the config or the tokenizer needs "
                     "those."),
        click.Option(["--dry-run"], is_flag=True, help="Plan from the headers; write nothing."),
        click.Option(["--report"], type=path, help="Write the report as JSON to this file."),
        click.Option(["--force"], is_flag=True, help="Replace DST if it exists."),
        click.Option(["--json", "as_json"], is_flag=True,
                     help="Print events as JSON, one a line, instead of the report."),
        click.Option(["--quiet", "-q"], is_flag=True, help="Print only errors."),
    ]  # fmt: skip


def _migrate(name: str, *, as_json: bool, **options: Any) -> None:
    try:
        _run(name, as_json=as_json, **options)
    except MindportError as error:
        if as_json:
            JsonLines().event("error", message=error.message, hint=error.hint,
                              exit_code=error.exit_code)  # fmt: skip
        raise


def _run(
    name: str,
    *,
    source: str,
    destination: Path | None,
    dry_run: bool,
    report: Path | None,
    quiet: bool,
    as_json: bool,
    file_format: str,
    max_shard_size: str | None,
    verify: bool,
    allow_overflow: bool,
    force: bool,
    **choices: Any,
) -> None:
    if destination is None and not dry_run:
        raise MindportError("DST is missing.", "Name a folder to write, or add --dry-run.")
    options = Options(
        file_format=file_format,
        max_shard_bytes=parse_size(max_shard_size) if max_shard_size else None,
        verify=verify,
        allow_overflow=allow_overflow,
        force=force,
    )
    try:
        prepared = prepare(source, name, options=options, **choices)
    except PlanError as error:
        if report is not None:
            write_report(report, {"schema": 1, "architecture": name, "written_to": None,
                                  "problems": list(error.problems)})  # fmt: skip
        raise
    check_format(file_format, prepared.plan.target.framework)
    written = None
    if not dry_run and destination is not None:
        with listen(err(), quiet=quiet, as_json=as_json) as listener:
            written = carry_out(prepared, destination, options, listener)
    content = migration_report(prepared.plan, written)
    if report is not None:
        write_report(report, content)
    if as_json:
        JsonLines().event("done", **content)
    elif not quiet:
        _show(prepared, written)


def _show(prepared: Prepared, written: Written | None) -> None:
    console = out()
    print_plan(console, prepared.plan)
    console.print()
    console.print(summary(prepared.plan), soft_wrap=True)
    console.print(escape(outcome(written)), soft_wrap=True)
    if written and written.overflows:
        console.print(
            f"{sum(written.overflows.values())} values of {len(written.overflows)} tensors became "
            "infinite"
        )
    if any(e.action in ("ignored", "generated") for e in prepared.plan.entries):
        err().print("note: some tensors were ignored or generated; see the table")


@click.command()
@click.argument("path")
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
    console.print(
        f"\n{content['format']}, {dialect.name} layout, architecture {model_type or 'unknown'}, "
        f"head {head or 'unknown'}: {content['count']} tensors, {content['parameters']:,} "
        f"parameters, {content['bytes'] / 1e6:,.1f} MB",
        soft_wrap=True,
    )


@click.command()
@click.argument("subject", metavar="ARCHITECTURE|CHECKPOINT")
@click.argument("name", metavar="[NAME|PATTERN]", required=False)
@click.option("--to", help="The layout to go to; by default MindSpore's, or the other one.")
@click.option("--head", help="The head; by default the config's, or the usual one.")
@click.option("--size", help="Of an architecture.  [default: base]")
@click.option("--vocab-size", "vocabulary", type=click.IntRange(min=1), metavar="N",
              help="As in a port.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, each layer by itself.")
@command
def explain_command(subject: str, name: str | None, as_json: bool, **choices: Any) -> None:
    r"""Tell which rule takes a parameter where, and what takes it back.

    It needs no weights: the name of an architecture or a config.json will do. A name may be that in
    the source or in the target, with {i} for any layer.

    \b
      migrate explain gpt2                             all parameters
      migrate explain bert "*LayerNorm*"               some of them
      migrate explain gpt2 h.{i}.attn.c_attn.weight --to torch
    """
    plan = explain(Wanted(subject, **choices))
    entries = choose_entries(plan, name)
    if as_json:
        click.echo(json.dumps(explanation(plan, entries), indent=2))
    else:
        print_explanation(out(), plan, entries)


main = ByArchitecture(
    name="migrate", build=_build, names=architecture_names, help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
main.add_command(inspect)
main.add_command(explain_command, "explain")
