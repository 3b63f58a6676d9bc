"""The ``validate selftest`` command."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.status import Status
from rich.table import Table

from mindport.migrate.architectures import architecture_names
from mindport.migrate.commands import Command
from mindport.migrate.console import command, err, out, write_report, write_whole
from mindport.migrate.errors import (
    EXIT_ENVIRONMENT,
    EXIT_FAIL,
    EXIT_PASS,
    MindportError,
)
from mindport.migrate.language import tell
from mindport.validate.selftest.markdown import selftest_page
from mindport.validate.selftest.running import Outcome, run_trials
from mindport.validate.selftest.summary import Summary, describe, summarise, to_dict
from mindport.validate.selftest.trials import (
    DEVELOPMENT,
    HELD_OUT_SET,
    Trial,
    chosen_trials,
    correct_trials,
    fault_trials,
)

_HELP = """Test the validator itself: put faults into correct ports, and look what it says.

Prints for each set of faults how many were detected, placed at the right tap and given the right
cause, and how many correct ports of random configurations were called wrong.

Exit codes: 0 all goals met, 1 not, 3 a trial could not run.
"""
_EXAMPLES = {
    "validate selftest": "",
    "validate selftest --architecture gpt2 --limit 10 --correct 20": "a few of them",
    "validate selftest --report selftest.md": "a page of the figures",
}


@click.command(
    "selftest", cls=Command, examples=_EXAMPLES, help=_HELP, short_help="Test the validator itself."
)
@click.option(
    "--architecture",
    "architectures",
    multiple=True,
    type=click.Choice(architecture_names()),
    help="Only this one; may be given again.  [default: all]",
)
@click.option(
    "--faults",
    "sets",
    multiple=True,
    default=(DEVELOPMENT, HELD_OUT_SET),
    type=click.Choice((DEVELOPMENT, HELD_OUT_SET)),
    show_default=True,
    help="Which sets of faults; may be given again.",
)
@click.option(
    "--fault",
    "chosen",
    multiple=True,
    metavar="NAME[@BLOCK][=SEVERITY]",
    help="Only this fault; may be given again.",
)
@click.option("--size", metavar="SIZE", help="With --fault: in random weights of this size.")
@click.option("--no-faults", is_flag=True, help="Only correct ports.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many faults, evenly chosen.")
@click.option("--sweep", is_flag=True, help="Try every severity of a fault that has several.")
@click.option(
    "--correct",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="Correct ports to try.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the correct ports.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE",
              help="Write a page: .md, or .json with every trial.")  # fmt: skip
@command
def selftest(
    architectures: tuple[str, ...],
    sets: tuple[str, ...],
    chosen: tuple[str, ...],
    size: str | None,
    no_faults: bool,
    limit: int | None,
    sweep: bool,
    correct: int,
    seed: int,
    report: Path | None,
) -> int:
    """Run the trials and print what came of them."""
    names = architectures or architecture_names()
    if size is not None and not chosen:
        raise MindportError("--size goes with --fault.", "Name a fault, or leave it out.")
    faults: list[Trial] = []
    if chosen:
        faults = list(chosen_trials(names, chosen, size))
    elif not no_faults:
        faults = list(fault_trials(names, sets, sweep=sweep))
    if limit is not None and limit < len(faults):
        faults = faults[:: -(-len(faults) // limit)]
    trials: list[Trial] = [*faults, *correct_trials(names, correct, seed)]
    with Status(tell("starting"), console=err()) as status:
        outcomes = list(
            run_trials(trials, lambda done, total: status.update(tell(f"{done} of {total} trials")))
        )
    summary = summarise(outcomes)
    _print(out(), summary, outcomes, bool(chosen))
    if report is not None:
        _write(report, summary, outcomes)
    if summary.not_run:
        return EXIT_ENVIRONMENT
    return EXIT_PASS if summary.ok else EXIT_FAIL


def _print(
    console: Console, summary: Summary, outcomes: list[Outcome], chosen: bool = False
) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("set", "faults", "detected", "right tap", "right cause", "confirmed"):
        table.add_column(tell(column), justify="left" if column == "set" else "right")
    for label, rates in summary.rates.items():
        counts = (rates.detected, rates.placed, rates.named, rates.confirmed)
        shares = (f"{count / rates.faults:.1%}" for count in counts)
        table.add_row(label, str(rates.faults), *shares)
    if summary.rates:
        console.print(table)
    for outcome in outcomes:
        if outcome.trial.fault and not outcome.trial.sweep and not outcome.not_run:
            _print_miss(console, outcome)
            if chosen:
                _print_found(console, outcome)
        if outcome.trial.fault is None and outcome.detected:
            _say(console, f"false alarm: {describe(outcome)}: {outcome.tap}")
    for line in summary.not_run:
        _say(console, f"not run: {line}")
    if summary.correct:
        used = ", ".join(f"{use:.0%} in {dtype}" for dtype, use in summary.largest_use.items())
        _say(console, f"correct ports: {summary.correct}, called wrong: {summary.alarms}, "
             f"largest use of the tolerance: {used}")  # fmt: skip


def _say(console: Console, text: str) -> None:
    console.print(tell(text), soft_wrap=True)


def _print_found(console: Console, outcome: Outcome) -> None:
    why = outcome.diagnosis
    if outcome.detected and outcome.placed and outcome.named and why:
        how = "confirmed" if why.confirmed else "suspected"
        _say(console, f"found: {describe(outcome)}: {outcome.tap}, {why.cause}, {how} "
             f"({why.detail})")  # fmt: skip


def _print_miss(console: Console, outcome: Outcome) -> None:
    fault, why = outcome.trial.fault, outcome.diagnosis
    if fault is None or (outcome.detected and outcome.placed and outcome.named):
        return
    cause = f"{why.cause} ({why.detail})" if why else "nothing"
    _say(console, f"missed: {describe(outcome)}: expected {outcome.expected_tap}, {fault.cause}; "
         f"found {outcome.tap or 'nothing'}, {cause}")  # fmt: skip


def _write(path: Path, summary: Summary, outcomes: list[Outcome]) -> None:
    if path.suffix == ".json":
        write_report(path, to_dict(summary, outcomes))
        return
    context = click.get_current_context()
    given = [f"--{name.replace('_', '-')} {value}" for name, value in context.params.items()
             if name in ("correct", "seed")]  # fmt: skip
    flags = ["--sweep"] if context.params["sweep"] else []
    page = selftest_page(summary, outcomes, " ".join(["validate selftest", *flags, *given]))
    write_whole(path, page)
