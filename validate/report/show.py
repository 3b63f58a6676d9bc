"""A verdict as a command ends with it: written, printed, and turned into an exit code."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from mindport.migrate.console import label, out
from mindport.migrate.language import tell
from mindport.validate.report.forms.terminal import print_verdict
from mindport.validate.report.publish import publish
from mindport.validate.verdict import Verdict


def show_verdict(verdict: Verdict, report: Path | None, *, quiet: bool) -> int:
    """Print a verdict and return the exit code.

    Args:
        verdict: What to print.
        report: A folder for ``verdict.json`` and ``index.html``, or None.
        quiet: Whether to print one line alone.
    """
    written, lacking = publish(report, verdict) if report is not None else ([], "")
    console = out()
    if quiet:
        console.print(f"{verdict.verdict}: {escape(tell(verdict.headline))}", soft_wrap=True)
        return verdict.exit_code
    print_verdict(console, verdict)
    for path in written:
        console.print(escape(tell(f"wrote {path}")), soft_wrap=True)
    if lacking:
        said = tell(f"no HTML page: {lacking}")
        console.print(f"[yellow]{label('note', 5)}[/]{escape(said)}", soft_wrap=True)
    return verdict.exit_code
