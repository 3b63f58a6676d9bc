"""What the doctor found, on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mindport.migrate.console import label
from mindport.migrate.language import tell
from mindport.validate.doctor.examination import Diagnosis

_STYLES = {
    "ok": "green",
    "warning": "yellow",
    "broken": "bold red",
    "unknown": "magenta",
    "absent": "dim",
}


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print a table of what was looked at, what it comes to, and what would mend it.

    Args:
        console: Where to.
        diagnosis: What to print.
    """
    console.print(
        f"[bold]{label('interpreter', 12)}[/]{escape(diagnosis.interpreter)}", soft_wrap=True
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(tell("what"), no_wrap=True)
    table.add_column(tell("found"), overflow="fold", ratio=3)
    table.add_column(tell("needed"), overflow="fold", ratio=2)
    table.add_column(tell("verdict"), no_wrap=True)
    table.add_column(tell("what to do"), overflow="fold", ratio=5)
    for finding in diagnosis.findings:
        advice = escape(tell(finding.advice))
        if finding.source and finding.verdict != "ok":
            advice += f" [dim]({escape(finding.source)})[/]"
        table.add_row(
            escape(tell(finding.what)), escape(tell(finding.found)), escape(tell(finding.needed)),
            f"[{_STYLES[finding.verdict]}]{tell(finding.verdict)}[/]", advice,
        )  # fmt: skip
    console.print(table)
    console.print()
    console.print(_summary(diagnosis), soft_wrap=True)
    if diagnosis.install:
        console.print(f"[bold]{tell('to mend it:')}[/]")
        for line in diagnosis.install:
            console.print(f"  {escape(line)}", soft_wrap=True)
    for note in diagnosis.notes:
        console.print(f"[yellow]{label('note', 5)}[/]{escape(tell(note))}", soft_wrap=True)


def _summary(diagnosis: Diagnosis) -> str:
    words = ", as far as can be told without running anything"
    tried = "" if diagnosis.tried else tell(words)
    if diagnosis.job is not None:
        if diagnosis.verdict == "broken":
            return f"[bold red]{tell(f'{diagnosis.job} cannot run here')}[/]"
        said = tell(f"{diagnosis.job} can run here")
        return f"[bold green]{said}[/]{tried}{_doubt(diagnosis)}"
    able = [backend for backend, can in diagnosis.can_run.items() if can]
    if not able:
        return f"[bold red]{tell('no backend can run here')}[/]"
    said = tell("on the CPU can run:")
    return f"[bold]{said}[/] {', '.join(able)}{tried}{_doubt(diagnosis)}"


def _doubt(diagnosis: Diagnosis) -> str:
    words = [finding.verdict for finding in diagnosis.findings]
    counts = [(words.count(word), word) for word in ("broken", "warning", "unknown")]
    listing = ", ".join(f"{count} {tell(word)}" for count, word in counts if count)
    return f" ({listing})" if listing else ""
