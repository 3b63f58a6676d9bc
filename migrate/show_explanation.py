"""An explanation on the screen: what is the same in all layers once."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mindport.migrate.entry import Entry
from mindport.migrate.expected import name_pattern
from mindport.migrate.explain import way_back
from mindport.migrate.language import tell
from mindport.migrate.plan import Plan


def print_explanation(console: Console, plan: Plan, entries: Sequence[Entry]) -> None:
    """Print one line per rule that takes some parameters somewhere."""
    counts: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        counts.setdefault(_row(entry, pattern=True), []).append(entry)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (f"{plan.source.name} (source)", f"{plan.target.name} (target)"):
        table.add_column(tell(column), overflow="fold", ratio=4)
    for column in ("kind", "shape"):
        table.add_column(tell(column), no_wrap=True)
    for column in ("operation", "way back", "fate"):
        table.add_column(tell(column), ratio=2)
    for row, members in counts.items():
        shown = row if len(members) > 1 else _row(members[0], pattern=False)
        many = f" (x {len(members)})" if len(members) > 1 else ""
        table.add_row(*map(escape, shown[:-1]), escape(shown[-1] + many))
    console.print(table)
    said = tell(
        f"{plan.architecture.title} {plan.head.class_name}, {plan.source.name} to "
        f"{plan.target.name}: {len(entries)} of {len(plan.entries)} tensors"
    )
    console.print(f"\n{said}", soft_wrap=True)


def _row(entry: Entry, *, pattern: bool) -> tuple[str, ...]:
    def name(text: str) -> str:
        return name_pattern(text) if pattern else text

    before, after = ("x".join(map(str, s)) or "-" for s in (entry.shape, entry.target_shape))
    fate = tell(entry.action) + (f": {tell(name(entry.reason))}" if entry.reason else "")
    return (
        " + ".join(map(name, entry.sources)) or "-",
        name(entry.target) or "-",
        entry.kind.value if entry.kind else "-",
        before if before == after or after == "-" else f"{before} to {after}",
        entry.layout if entry.action == "ported" else "-",
        tell(way_back(entry)),
        fate,
    )
