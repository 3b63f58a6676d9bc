"""What the commands that write a checkpoint share: their options, and carrying a plan out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mindport.migrate.checkpoints.formats import FORMATS
from mindport.migrate.checkpoints.tensors import FLOATS
from mindport.migrate.commands import complete_words
from mindport.migrate.console import err, out, write_report
from mindport.migrate.errors import MindportError, PlanError
from mindport.migrate.options import Options
from mindport.migrate.porting import carry_out, check_format
from mindport.migrate.report import migration_report, print_report
from mindport.migrate.streaming.parts import parse_size
from mindport.migrate.telling import JsonLines, listen
from mindport.migrate.transfer import Ready

_PATH = click.Path(path_type=Path)


def places() -> list[click.Parameter]:
    """Return the arguments: from where, to where."""
    return [
        click.Argument(["source"], metavar="SRC", shell_complete=complete_words(tuple)),
        click.Argument(["destination"], metavar="DST", type=_PATH, required=False),
    ]


def carrying_options() -> list[click.Parameter]:
    """Return the options that :func:`carry` takes."""
    return [
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
        click.Option(["--verify/--no-verify"], default=True, show_default=True,
                     help="Read what was written back from the disk and compare it with SRC."),
        click.Option(["--dry-run"], is_flag=True, help="Plan from the headers; write nothing."),
        click.Option(["--report"], type=_PATH, metavar="FILE",
                     help="Write the report as JSON."),
        click.Option(["--force"], is_flag=True, help="Replace DST if it exists."),
        click.Option(["--json", "as_json"], is_flag=True,
                     help="Print events as JSON, one a line, instead of the report."),
        click.Option(["--quiet", "-q"], is_flag=True, help="Print only errors."),
    ]  # fmt: skip


def carry(
    name: str | None, prepare: Callable[..., Ready], *, as_json: bool, **options: Any
) -> None:
    """Prepare a plan, carry it out, and say what came of it.

    Args:
        name: The architecture, or None.
        prepare: Makes the plan of a source; takes what :func:`carrying_options` does not name.
        as_json: Whether to print events.
        options: The others.

    Raises:
        MindportError: For anything that does not fit.
    """
    try:
        _run(name, prepare, as_json=as_json, **options)
    except MindportError as error:
        if as_json:
            JsonLines().event("error", message=error.message, hint=error.hint,
                              exit_code=error.exit_code)  # fmt: skip
        raise


def _run(
    name: str | None,
    prepare: Callable[..., Ready],
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
        prepared = prepare(source, options=options, **choices)
    except PlanError as error:
        if report is not None:
            write_report(report, {"schema": 1, "architecture": name, "written_to": None,
                                  "problems": list(error.problems)})  # fmt: skip
        raise
    check_format(file_format, prepared.plan.framework)
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
        print_report(out(), err(), prepared.plan, written)
