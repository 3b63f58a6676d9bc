"""``prompts run`` and ``prompts compare``."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.markup import escape

from mindport.migrate.architectures import architecture_names
from mindport.migrate.commands import Command, complete_words
from mindport.migrate.console import command, label, out, show_progress, write_report
from mindport.migrate.language import tell
from mindport.prompts import PromptParity
from mindport.prompts.task import task_names
from mindport.validate.backend import backend_names
from mindport.validate.case import DTYPES, MODES
from mindport.validate.device_option import DeviceName
from mindport.validate.emulation.asking import BACKEND as EMULATED
from mindport.validate.own.candidate import BACKEND as OWN
from mindport.validate.prompting.asking import Question
from mindport.validate.prompting.compare import compare_runs
from mindport.validate.prompting.run import PromptRequest, PromptRun, run_prompts
from mindport.validate.report.prompts import prompt_lines

_EXIT = {"pass": 0, "fail": 1, "uninformative": 1}
_path = click.Path(path_type=Path)


@click.command(cls=Command, examples={
    "mindport prompts run sentiment gpt2 -o runs/torch": "",
    "mindport prompts run sentiment gpt2 --backend mindspore -o runs/mindspore": "",
    "mindport prompts compare runs/torch runs/mindspore": "whether both answer alike",
})  # fmt: skip
@click.argument("task", shell_complete=complete_words(task_names))
@click.argument("architecture", type=click.Choice(architecture_names()))
@click.option(
    "--output", "-o", type=_path, required=True, metavar="DIR", help="The folder to make."
)
@click.option(
    "--checkpoint",
    default=PromptRequest.checkpoint,
    show_default=True,
    metavar="PATH|NAME|embedded",
    shell_complete=complete_words(lambda: ("embedded", "embedded-zh")),
    help="The weights, in the torch layout; ported on the fly if the backend needs it.",
)
@click.option("--head", metavar="HEAD", help="The head; by default the checkpoint's.")
@click.option(
    "--backend",
    # The others need more than a name: a network of the user's own, a unit to emulate.
    type=click.Choice([name for name in backend_names() if name not in (OWN, EMULATED)]),
    default=PromptRequest.backend,
    show_default=True,
    help="What runs the model.",
)
@click.option(
    "--device",
    type=DeviceName(),
    default=PromptRequest.device,
    show_default=True,
    help="The device; cuda, gpu and npu are understood too.",
)
@click.option("--dtype", type=click.Choice(DTYPES), default=PromptRequest.dtype, show_default=True,
              help="Of weights and computation.")  # fmt: skip
@click.option("--mode", type=click.Choice(MODES), default=PromptRequest.mode, show_default=True,
              help="Eager, or a graph.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), help="At most so many items.")
@click.option(
    "--shots", type=click.IntRange(min=0), default=0, show_default=True,
    help="Demonstrations before each prompt.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the demonstrations.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--python", metavar="PATH", help="The interpreter that runs the model.")
@click.option(
    "--timeout", type=click.FloatRange(min=1), default=PromptRequest.timeout, show_default=True,
    help="Seconds that it may take.",
)  # fmt: skip
@command
def run(
    task: str, architecture: str, output: Path, limit: int | None, shots: int, seed: int,
    **choices: object,
) -> None:  # fmt: skip
    """Ask a model the prompts of TASK; write plan, rows, scores and samples.

    samples.jsonl has one line per item, in the style of lm-evaluation-harness; run.json the
    accuracy, F1 and what really ran.
    """
    request = PromptRequest(
        architecture,
        Question(task, limit, shots, seed),
        **choices,  # type: ignore[arg-type]
    )
    with show_progress() as hear:
        done = run_prompts([(request, output)], hear)[0]
    for line in run_lines(done):
        out().print(line, soft_wrap=True)


def run_lines(run: PromptRun) -> list[str]:
    """Return what a run came to, with rich's markup."""
    identity, metrics = run.summary["identity"], run.summary["metrics"]
    low, high = run.scores.accuracy_interval
    counts = ", ".join(f"{name} {n}" for name, n in zip(run.scores.labels, run.scores.counts,
                                                          strict=True))  # fmt: skip
    said = {
        "ran": f"{identity['framework']} {identity['version']} on {identity['device']}, "
        f"{identity['dtype']}, {identity['mode']}",
        "task": f"{run.plan.task}, {len(run.plan)} items, {len(run.plan.shot_ids)} demonstrations",
        "accuracy": f"{run.scores.accuracy:.3f} (95 %: {low:.3f} to {high:.3f}), "
        f"macro F1 {metrics['macro_f1']:.3f}; chance {run.plan.chance:.3f}",
        "labels": counts,
    }
    lines = [f"[bold]{label(word, 10)}[/]{escape(tell(words))}" for word, words in said.items()]
    if not run.summary["load"]["clean"]:
        lines.append(_note("not every parameter was loaded: see run.json"))
    if run.scores.degenerate:
        lines.append(_note("one label takes more than 95 % of the items"))
    return [*lines, escape(tell(f"wrote {run.folder}"))]


def _note(words: str) -> str:
    return f"[yellow]{label('note', 5)}[/]{escape(tell(words))}"


@click.command(cls=Command, examples={
    "mindport prompts compare runs/torch runs/mindspore": "",
    "mindport prompts compare runs/torch runs/mindspore --markdown": "for a pull request",
})  # fmt: skip
@click.argument("reference", type=_path)
@click.argument("candidate", type=_path)
@click.option("--atol", type=click.FloatRange(min=0), help="How far a logit may be off.  [default: "
              "a share of the logits' size that depends on the dtype]")  # fmt: skip
@click.option("--report", type=_path, metavar="FILE", help="Write the report as JSON.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for a pull request.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@command
def compare(
    reference: Path,
    candidate: Path,
    atol: float | None,
    report: Path | None,
    markdown: bool,
    as_json: bool,
) -> int:
    """Judge whether two runs answer alike; needs no framework.

    Exit code 1 if they do not, or if the prompts could not have shown a fault.
    """
    parity = compare_runs(reference, candidate, atol=atol)
    if report is not None:
        write_report(report, parity.to_dict())
    if as_json:
        click.echo(json.dumps(parity.to_dict(), indent=2, ensure_ascii=False))
    elif markdown:
        click.echo(parity.to_markdown(), nl=False)
    else:
        for line in parity_lines(parity):
            out().print(line, soft_wrap=True)
    return _EXIT[parity.status]


def parity_lines(parity: PromptParity) -> list[str]:
    """Return a verdict on prompts, with rich's markup."""
    badge = {"pass": "bold green", "fail": "bold red", "uninformative": "bold yellow"}
    notices = [_note(notice) for notice in parity.notices]
    style = badge[parity.status]
    return [
        *prompt_lines(parity.to_dict()),
        *notices,
        f"[{style}]{tell(parity.status.upper())}[/] {escape(tell(parity.headline))}",
    ]
