"""The migration report: a table on the screen, the same as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mindport.migrate.checkpoints.tensors import DTYPES, TensorReader
from mindport.migrate.entry import Entry
from mindport.migrate.language import tell
from mindport.migrate.options import Written
from mindport.migrate.transfer import Transfer
from mindport.migrate.vocabulary_rows import CutVocabulary, PadVocabulary

_STYLES = {
    "ported": "green",
    "tied": "cyan",
    "dropped": "dim",
    "ignored": "yellow",
    "generated": "yellow",
}


def migration_report(plan: Transfer, written: Written | None) -> dict[str, Any]:
    """Return the report as JSON-ready data.

    Args:
        plan: What was, or would be, done.
        written: What came of it, or None for a dry run.
    """
    return {
        "schema": 1,
        **plan.labels,
        "written_to": str(written.folder) if written else None,
        **(written.to_dict() if written else {}),
        "vocab_size": plan.stated.get("vocab_size"),
        "totals": plan.totals(),
        "parameters": [entry.to_dict() for entry in plan.entries],
        "missing": [e.target for e in plan.entries if e.action == "generated"],
        "unexpected": [e.source for e in plan.entries if e.action == "ignored"],
        "notes": list(plan.notes),
    }


def print_report(console: Console, notes: Console, plan: Transfer, written: Written | None) -> None:
    """Print what was, or would be, done, and what came of it.

    Args:
        console: For the report.
        notes: For what should be looked at.
        plan: What was to be done.
        written: What came of it, or None for a dry run.
    """
    print_plan(console, plan)
    console.print()
    console.print(tell(summary(plan)), soft_wrap=True)
    console.print(escape(tell(outcome(written))), soft_wrap=True)
    if written and written.overflows:
        count, names = sum(written.overflows.values()), len(written.overflows)
        console.print(tell(f"{count} values of {names} tensors became infinite"))
    if any(e.action in ("ignored", "generated") for e in plan.entries):
        notes.print(tell("note: some tensors were ignored or generated; see the table"))
    for note in plan.notes:
        notes.print(escape(tell(f"note: {note}")))


def print_plan(console: Console, plan: Transfer) -> None:
    """Print one row per tensor."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    labels = plan.labels
    for column in (f"{labels['source_layout']} (source)", f"{labels['target_layout']} (target)"):
        table.add_column(tell(column), overflow="fold")
    for column in ("shape", "layout", "dtype", "fate"):
        table.add_column(tell(column), no_wrap=True)
    for entry in plan.entries:
        table.add_row(*_row(entry))
    console.print(table)


def _row(entry: Entry) -> tuple[str, ...]:
    shape = "x".join(map(str, entry.shape)) or "scalar"
    cast = entry.dtype != entry.target_dtype
    style = _STYLES[entry.action]
    reason = f": {escape(tell(entry.reason))}" if entry.reason else ""
    fate = f"[{style}]{tell(entry.action)}[/]{reason}"
    return (
        " + ".join(entry.sources) or "-",
        entry.target or "-",
        shape,
        entry.layout if entry.action == "ported" else "-",
        f"{entry.dtype} to {entry.target_dtype}" if cast else entry.dtype,
        fate,
    )


def summary(plan: Transfer) -> str:
    """Return the totals in one sentence."""
    totals = plan.totals()
    parts = [f"{totals['ported']} ported ({totals['transposed']} transposed)"]
    words = {
        "tied": "tied",
        "dropped": "buffers dropped",
        "ignored": "ignored",
        "generated": "generated",
    }
    parts += [f"{totals[key]} {word}" for key, word in words.items() if totals[key]]
    if totals["cast"]:
        parts.append(f"{totals['cast']} cast")
    if "vocab_size" in plan.stated:
        parts.append(_resized(plan))
    return (
        f"{plan.title}, {plan.labels['source_layout']} to {plan.labels['target_layout']}: "
        f"{totals['source']} tensors in, {', '.join(parts)}, 0 left over"
    )


def outcome(written: Written | None) -> str:
    """Return what came of a plan in one sentence."""
    if written is None:
        return "dry run: nothing was written"
    checked = (
        "read back and equal to the source bit for bit"
        if written.verified
        else "not read back (--no-verify)"
    )
    return f"wrote {written.folder}: {checked}"


def _resized(plan: Transfer) -> str:
    done = [
        operation
        for entry in plan.entries
        for operation in entry.operations
        if isinstance(operation, (PadVocabulary, CutVocabulary))
    ]
    after, before = done[0].after, done[0].before
    what = f"{after - before} tokens added, each the mean of the others"
    if after < before:
        what = f"the last {before - after} tokens left out"
    return f"{len(done)} of another vocabulary ({what})"


def print_inspection(console: Console, reader: TensorReader) -> None:
    """Print what a checkpoint holds."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(tell("tensor"), overflow="fold")
    for column in ("shape", "dtype"):
        table.add_column(tell(column), no_wrap=True)
    for name, info in reader.infos.items():
        table.add_row(name, "x".join(map(str, info.shape)) or "scalar", info.dtype)
    console.print(table)


def inspection(reader: TensorReader) -> dict[str, Any]:
    """Return what a checkpoint holds as JSON-ready data."""
    infos = reader.infos
    return {
        "format": reader.format,
        "files": [str(file) for file in reader.files],
        "metadata": dict(reader.metadata),
        "tensors": {
            name: {"shape": list(info.shape), "dtype": info.dtype} for name, info in infos.items()
        },
        "count": len(infos),
        "parameters": sum(i.count for i in infos.values() if DTYPES[i.dtype].floating),
        "bytes": sum(i.nbytes for i in infos.values()),
    }
