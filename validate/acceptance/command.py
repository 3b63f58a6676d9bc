"""``validate accept``: a task file to a folder of evidence, and that folder checked again.

What does the work is imported when it is asked for: every command of ``validate`` imports this.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.status import Status

from mindport.migrate.commands import Command
from mindport.migrate.console import command, err, out, write_whole
from mindport.migrate.errors import DestinationError, MindportError
from mindport.migrate.language import tell
from mindport.validate.acceptance import templates
from mindport.validate.acceptance.folder import PAGE

if TYPE_CHECKING:
    from mindport.validate.acceptance.summary import Summary

_TEMPLATES = {
    path.stem: path for path in sorted(Path(str(templates.__file__)).parent.glob("*.toml"))
}
_COLOURS = {"pass": "green", "fail": "red", "not-run": "yellow"}
_SIGNATURE = re.compile(r"[^<>]+ <[^<>@\s]+@[^<>@\s]+>")
_path = click.Path(path_type=Path)


@click.command("accept", cls=Command, examples={
    "validate accept --template gpt2 task.toml": "a task to edit",
    'validate accept task.toml -o accepted --signed-off-by "Ada Lovelace <ada@example.org>"': "",
    "validate accept --verify accepted": "nothing is run",
})  # fmt: skip
@click.argument("task", type=_path, required=False)
@click.option("--output", "-o", type=_path, default=Path("accepted"), show_default=True,
              metavar="DIR", help="The folder to make; an interrupted or an earlier run in it "
              "goes on.")  # fmt: skip
@click.option("--signed-off-by", default="", metavar="NAME <MAIL>",
              help="Who says that the check was run as the task says. A statement: nothing proves "
              "who made it.")  # fmt: skip
@click.option("--plan", is_flag=True, help="Show the cells of the task, and run nothing.")
@click.option("--template", type=click.Choice(tuple(_TEMPLATES)),
              help="Write a task file with comments, and run nothing.")  # fmt: skip
@click.option("--verify", "folder", type=_path, metavar="DIR",
              help="Check a finished folder; runs nothing, and needs no framework.")  # fmt: skip
@click.option("--digest", default="", metavar="SHA256",
              help="With --verify: the digest that the run printed.")  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="Print the outcome and the digest alone.")
@command
def accept_command(
    task: Path | None,
    output: Path,
    signed_off_by: str,
    plan: bool,
    template: str | None,
    folder: Path | None,
    digest: str,
    quiet: bool,
) -> int:
    """Run every check that a migration task demands, and write the evidence.

    Exit codes: 0 accepted, 1 something failed, 2 bad task or a folder that was changed, 3 nothing
    failed, but a cell that is demanded could not run.
    """
    _check_options(task, plan, template, folder, digest, signed_off_by)
    if template is not None:
        return _write_template(template, task or Path("task.toml"))
    if folder is not None:
        return _verify(folder, digest, quiet)
    if task is None:
        raise MindportError(
            "There is no task.", "Name its file, or write one: validate accept --template gpt2."
        )
    if plan:
        return _show_plan(task)
    return _accept(task, output, signed_off_by, quiet)


def _check_options(
    task: Path | None, plan: bool, template: str | None, folder: Path | None, digest: str,
    signed_off_by: str,
) -> None:  # fmt: skip
    chosen = [name for name, given in (("--plan", plan), ("--template", template is not None),
                                       ("--verify", folder is not None)) if given]  # fmt: skip
    if len(chosen) > 1:
        raise MindportError(f"{' and '.join(chosen)} exclude each other.", "Leave out one.")
    if folder is not None and task is not None:
        raise MindportError(
            "--verify reads the task that lies in the folder.", f"Leave out {task}."
        )
    if digest and folder is None:
        raise MindportError("--digest belongs to --verify.", "Leave it out.")
    if digest and not re.fullmatch(r"(sha256:)?[0-9a-fA-F]{64}", digest):
        raise MindportError(f"{digest!r} is no digest.", "It is sha256: and 64 digits, 0 to f.")
    if signed_off_by and not _SIGNATURE.fullmatch(signed_off_by):
        raise MindportError(
            f"{signed_off_by!r} is no name with a mail address.", 'Write "Name <mail@example.org>".'
        )
    if signed_off_by and chosen:
        raise MindportError(f"{chosen[0]} signs nothing off.", "Leave out --signed-off-by.")


def _write_template(name: str, path: Path) -> int:
    if path.exists():
        raise DestinationError(f"{path} is there already.", "Name another file.")
    if not path.parent.is_dir():
        raise DestinationError(f"There is no folder {path.parent}.", "Make it first.")
    write_whole(path, _TEMPLATES[name].read_text(encoding="utf-8"))
    out().print(escape(tell(f"wrote {path}; next: validate accept {path}")), soft_wrap=True)
    return 0


def _show_plan(path: Path) -> int:
    from mindport.validate.acceptance.reading import read_task

    task = read_task(path)
    console = out()
    for cell in task.cells():
        words = [f"left out: {cell.left_out}"] if cell.left_out else [
            f"recorded in {cell.capture}" if cell.capture else "run",
            *["prompts"] * bool(cell.prompts), *["gradients"] * cell.gradients,
            *["timed"] * cell.performance, *["may be absent"] * cell.may_be_absent,
        ]  # fmt: skip
        said = ", ".join(map(tell, words))
        console.print(f"{escape(cell.name)}: {escape(said)}", soft_wrap=True)
    return 0


def _accept(task: Path, output: Path, signed_off_by: str, quiet: bool) -> int:
    from mindport.validate.acceptance.running import accept

    console = err()
    if quiet:
        accepted = accept(task, output, signed_off_by)
    else:
        status = Status(tell("weights"), console=console)

        def told(cell: str, words: str) -> None:
            said = f"{escape(cell)}: {escape(tell(words))}"
            if words == "kept" or words == "new" or words.startswith("again"):
                console.print(said, soft_wrap=True)
            status.update(said)

        with status:
            accepted = accept(task, output, signed_off_by, told)
    _show(accepted.summary, quiet)
    if not quiet:
        out().print(escape(tell(f"wrote {output / PAGE} and the evidence beside it")),
                    soft_wrap=True)  # fmt: skip
    out().print(tell(f"digest sha256:{accepted.digest}"), soft_wrap=True)
    return accepted.summary.exit_code


def _verify(folder: Path, digest: str, quiet: bool) -> int:
    from mindport.validate.acceptance.verifying import verify

    if quiet:
        found = verify(folder, digest)
    else:
        with Status(tell("checking"), console=err()):
            found = verify(folder, digest)
    _show(found.summary, quiet)
    console = out()
    if not quiet:
        again = f"{len(found.recomputed)} computed again from their captures"
        kept = again if found.recomputed else "not computed again: no captures were kept"
        console.print(
            tell("every file is what was written, and the outcome follows from the verdicts; "
                 f"{kept}"),
            soft_wrap=True,
        )  # fmt: skip
        if not digest:
            console.print(
                tell("the digest was not compared: ask for it by another way (--digest)"),
                soft_wrap=True,
            )
    console.print(tell(f"digest sha256:{found.digest}"), soft_wrap=True)
    return found.summary.exit_code


def _show(summary: Summary, quiet: bool) -> None:
    console = out()
    if not quiet:
        for result in summary.results:
            said = result.status.replace("-", " ")
            said += " (may be absent)" if result.excused else ""
            console.print(f"[{_COLOURS[result.status]}]{tell(said)}[/] {escape(result.cell.name)}",
                          soft_wrap=True)  # fmt: skip
            for check in result.checks:
                if check.status != "pass":
                    console.print(f"  {escape(tell(check.what))}: {escape(tell(check.said))}",
                                  soft_wrap=True)  # fmt: skip
        for cell in summary.left_out:
            console.print(escape(tell(f"left out {cell.name}: {cell.left_out}")), soft_wrap=True)
    console.print(f"[bold]{escape(tell(summary.headline))}[/]", soft_wrap=True)
    if summary.made.signed_off_by:
        console.print(f"Signed-off-by: {escape(summary.made.signed_off_by)}", soft_wrap=True)
