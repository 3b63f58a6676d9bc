"""A verdict as a command ends with it: written, printed, and turned into an exit code."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from mindport.migrate.console import out
from mindport.validate.report.json import write_verdict
from mindport.validate.report.terminal import print_verdict
from mindport.validate.verdict import Verdict


def show_verdict(verdict: Verdict, report: Path | None, *, quiet: bool) -> int:
    """Print a verdict and return the exit code.

    Args:
        verdict: What to print.
        report: A folder for ``verdict.json``, or None.
        quiet: Whether to print one line alone.
    """
    written = write_verdict(report, verdict) if report is not None else None
    console = out()
    if quiet:
        console.print(f"{verdict.verdict}: {escape(verdict.headline)}", soft_wrap=True)
    else:
        print_verdict(console, verdict)
        if written is not None:
            console.print(f"wrote {escape(str(written))}", soft_wrap=True)
    return verdict.exit_code
