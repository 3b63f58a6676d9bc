"""``validate report`` and ``validate diff``: stored verdicts, shown and compared."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.markup import escape

from mindport.migrate.commands import Command
from mindport.migrate.console import command, err, out
from mindport.migrate.language import tell
from mindport.validate.report.comparison import print_difference
from mindport.validate.report.difference import FACTOR, compare_verdicts
from mindport.validate.report.forms import form_names, load_form
from mindport.validate.report.forms.terminal import print_verdict
from mindport.validate.report.publish import write_document
from mindport.validate.report.stored import read_verdict

_path = click.Path(path_type=Path)
_FORMS = "\n".join(f"  {name:9} {load_form(name).summary}" for name in form_names())


@click.command(
    help=f"""Show a stored verdict again, in any form; nothing is run.

VERDICT is a folder that --report wrote, or a verdict.json.

\b
{_FORMS}
""",
    cls=Command,
    examples={
        "validate report ./report": "",
        "validate report ./report --format markdown -o summary.md": "",
    },
    short_help="Show a stored verdict in another form.",
)
@click.argument("verdict", type=_path)
@click.option("--format", "form", type=click.Choice(form_names()), default="terminal",
              show_default=True, help="The form.")  # fmt: skip
@click.option("--output", "-o", type=_path, metavar="FILE",
              help="Write FILE; by default it is printed.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@command
def report(verdict: Path, form: str, output: Path | None, force: bool) -> None:
    """Show a stored verdict."""
    read = read_verdict(verdict)
    if output is not None:
        document = load_form(form).render(read, output.stem)
        for path in write_document(output, document, force=force):
            err().print(escape(tell(f"wrote {path}")), soft_wrap=True)
    elif form == "terminal":
        print_verdict(out(), read)  # in colour, where there is any
    else:
        click.echo(load_form(form).render(read, "").text, nl=False)


@click.command(cls=Command, examples={
    "validate diff report-mindspore-2.9 report-mindspore-2.10": "",
})  # fmt: skip
@click.argument("before", type=_path)
@click.argument("after", type=_path)
@click.option("--factor", type=click.FloatRange(min=1), default=FACTOR, show_default=True,
              help="From what use of the tolerance on a tap is worse, as a multiple of its use "
              "before.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@command
def diff(before: Path, after: Path, factor: float, as_json: bool) -> int:
    """Compare two stored verdicts: what became worse, and what was changed.

    Exit codes: 0 the same or better, 1 worse, 2 bad input.
    """
    found = compare_verdicts(read_verdict(before), read_verdict(after), factor)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        print_difference(out(), found)
    return found.exit_code
