"""Show a proposal: as a table, and as a map file."""

from __future__ import annotations

import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mindport.migrate.guess.proposal import Guess, Proposal
from mindport.migrate.language import tell


def print_guess(console: Console, guess: Guess) -> None:
    """Print one row per pattern."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("source", "target"):
        table.add_column(tell(column), overflow="fold")
    for column in ("shape", "x", "done", "alike"):
        table.add_column(tell(column), no_wrap=True)
    table.add_column(tell("verdict"), overflow="fold")
    for proposal in guess.proposals:
        verdict = (
            f"[green]{tell('sure')}[/]" if proposal.sure else f"[yellow]{tell('ambiguous')}[/]"
        )
        table.add_row(
            escape(" + ".join(proposal.rule.sources)),
            escape(" + ".join(proposal.rule.targets)),
            "x".join(map(str, proposal.shape)) or "scalar",
            str(proposal.count),
            _done(proposal),
            f"{proposal.likeness:.2f}",
            f"{verdict}: {escape(tell(proposal.why))}",
        )
    for word, groups in (("source", guess.sources), ("target", guess.targets)):
        for group in groups:
            names = [group.pattern, "-"] if word == "source" else ["-", group.pattern]
            shape = "x".join(map(str, group.shape)) or "scalar"
            count = str(len(group.indices))
            lone = f"[red]{tell('no counterpart')}[/]"
            table.add_row(*map(escape, names), shape, count, "-", "-", lone)
    console.print(table)
    console.print()
    console.print(tell(summary(guess)), soft_wrap=True)


def summary(guess: Guess) -> str:
    """Return the outcome in one sentence."""
    sure = sum(proposal.sure for proposal in guess.proposals)
    open_ = len(guess.proposals) - sure
    text = f"{len(guess.proposals)} rules: {sure} sure, {open_} ambiguous"
    if guess.sources or guess.targets:
        text += (f"; without a counterpart {len(guess.sources)} patterns of the source, "
                 f"{len(guess.targets)} of the target")  # fmt: skip
    return text


def _done(proposal: Proposal) -> str:
    rule = proposal.rule
    words = ["tie"] if rule.tied else []
    if rule.axis is not None:
        how = f", {rule.heads} heads" if rule.heads else ""
        words.append(f"{'split' if rule.split else 'fuse'} axis {rule.axis}{how}")
    if rule.transpose:
        words.append("transpose")
    return " + ".join(words) or "copy"


def map_text(guess: Guess, source: str, target: str) -> str:
    """Return a proposal as a map file; what is not sure is marked, and refused until decided.

    Args:
        guess: The proposal.
        source: What it was made from, for the head of the file.
        target: What for.
    """
    lines = [f"# From {source} to {target}: {summary(guess)}.", "schema: 1", "tensors:"]
    for proposal in guess.proposals:
        rule = proposal.rule
        lines.append(f"  # {proposal.why} (names alike: {proposal.likeness:.2f})")
        lines.append(f"  - source: {_name(rule.sources)}")
        lines.append(f"    target: {_name(rule.targets)}")
        if rule.transpose:
            lines.append("    transpose: true")
        if rule.tied:
            lines.append("    tie: true")
        if rule.axis is not None:
            heads = f", heads: {rule.heads}" if rule.heads else ""
            lines.append(f"    {'split' if rule.split else 'fuse'}: {{axis: {rule.axis}{heads}}}")
        if not proposal.sure:
            lines.append("    ambiguous: true")
            lines.append(f"    candidates: {json.dumps(list(rule.candidates))}")
    lines += [f"  # without a source: {_name((group.pattern,))}" for group in guess.targets]
    if guess.sources:
        lines.append("# To leave these out, take away the signs before them and give the reason.")
        lines.append("# drop:")
        lines += [f"#   - {{source: {_name((g.pattern,))}, reason: …}}" for g in guess.sources]
    return "\n".join(lines) + "\n"


def _name(names: tuple[str, ...]) -> str:
    quoted = [json.dumps(name, ensure_ascii=False) for name in names]
    return quoted[0] if len(quoted) == 1 else f"[{', '.join(quoted)}]"
