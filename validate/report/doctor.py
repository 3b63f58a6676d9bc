"""What the doctor found, on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mindport.validate.doctor.examination import Diagnosis

_MARKS = {
    "ok": "[green]ok[/]",
    "warning": "[yellow]warning[/]",
    "broken": "[bold red]broken[/]",
    "unknown": "[magenta]unknown[/]",
    "absent": "[dim]absent[/]",
}


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print a table of what was looked at, what it comes to, and what would mend it.

    Args:
        console: Where to.
        diagnosis: What to print.
    """
    console.print(f"[bold]interpreter [/]{escape(diagnosis.interpreter)}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("found", overflow="fold", ratio=3)
    table.add_column("needed", overflow="fold", ratio=2)
    table.add_column("verdict", no_wrap=True)
    table.add_column("what to do", overflow="fold", ratio=5)
    for finding in diagnosis.findings:
        advice = escape(finding.advice)
        if finding.source and finding.verdict != "ok":
            advice += f" [dim]({escape(finding.source)})[/]"
        table.add_row(
            escape(finding.what), escape(finding.found), escape(finding.needed),
            _MARKS[finding.verdict], advice,
        )  # fmt: skip
    console.print(table)
    console.print()
    console.print(_summary(diagnosis), soft_wrap=True)
    if diagnosis.install:
        console.print("[bold]to mend it:[/]")
        for line in diagnosis.install:
            console.print(f"  {escape(line)}", soft_wrap=True)
    for note in diagnosis.notes:
        console.print(f"[yellow]note [/]{escape(note)}", soft_wrap=True)


def _summary(diagnosis: Diagnosis) -> str:
    tried = "" if diagnosis.tried else ", as far as can be told without running anything"
    if diagnosis.job is not None:
        if diagnosis.verdict == "broken":
            return f"[bold red]{diagnosis.job} cannot run here[/]"
        return f"[bold green]{diagnosis.job} can run here[/]{tried}{_doubt(diagnosis)}"
    able = [backend for backend, can in diagnosis.can_run.items() if can]
    if not able:
        return "[bold red]no backend can run here[/]"
    return f"[bold]on the CPU can run:[/] {', '.join(able)}{tried}{_doubt(diagnosis)}"


def _doubt(diagnosis: Diagnosis) -> str:
    words = [finding.verdict for finding in diagnosis.findings]
    counts = [(words.count(word), word) for word in ("broken", "warning", "unknown")]
    listing = ", ".join(f"{count} {word}" for count, word in counts if count)
    return f" ({listing})" if listing else ""
