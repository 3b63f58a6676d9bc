"""The ``learn`` command: parse, call, print, exit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import click
from rich.markup import escape
from rich.status import Status

from mindport.migrate.architectures import architecture_names
from mindport.migrate.commands import Command, Option, complete_words
from mindport.migrate.console import command, err, out
from mindport.migrate.language import tell
from mindport.prompts.learning.methods import method_names
from mindport.prompts.learning.settings import PLACES, SCHEDULES, LearningSettings
from mindport.prompts.task import task_names
from mindport.validate.backend import backend_names
from mindport.validate.case import MODES
from mindport.validate.device_option import DeviceName
from mindport.validate.learning.pipeline import learn as learn_prompt
from mindport.validate.learning.report import print_learning
from mindport.validate.learning.request import LearnRequest

_SETTINGS = LearningSettings("soft-prompt")
_REQUEST = LearnRequest("", "", _SETTINGS)
_PATH = click.Path(path_type=Path)

_HELP = """Learn a prompt for TASK on PyTorch and on MindSpore, and compare what was learned.

TASK is a prompt task's name or file, ARCH an architecture whose head predicts words. Both sides
begin at the same place and see the same batches. The rows of the task itself are held out: they
measure, before and after.

Exit codes: 0 pass, 1 the sides learned different things, 2 bad input, 3 a side could not run.
"""
_EXAMPLES = {
    "mindport prompts learn sentiment gpt2 --method soft-prompt": "",
    "mindport prompts learn ./mine.yaml bert --method prefix-tuning --train rows.jsonl -o out": "",
}


def _backends(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    if len(names) != 2 or not set(names) <= set(backend_names()):
        raise click.BadParameter(f"give two of {', '.join(backend_names())}, as torch,mindspore")
    return names


@click.command(name="learn", help=_HELP, cls=Command, examples=_EXAMPLES)
@click.argument("task", shell_complete=complete_words(task_names))
@click.argument("architecture", metavar="ARCH", type=click.Choice(architecture_names()))
@click.option("--method", type=click.Choice(method_names()), required=True,
              help="How a prompt is learned.")  # fmt: skip
@click.option(
    "--checkpoint",
    default=_REQUEST.checkpoint,
    show_default=True,
    metavar="PATH|NAME|embedded",
    help="The weights, with their tokenizer.",
)
@click.option(
    "--train",
    type=_PATH,
    metavar="FILE",
    help="Rows to learn from.  [default: those that demonstrations come from]",
)
@click.option(
    "--tokens",
    default=_SETTINGS.tokens,
    show_default=True,
    help="How many vectors, or trigger tokens.",
)
@click.option("--steps", default=_SETTINGS.steps, show_default=True, help="Steps of learning.")
@click.option("--batch-size", default=_SETTINGS.batch_size, show_default=True,
              help="Rows of a step.")  # fmt: skip
@click.option("--learning-rate", type=float, help="Adam's.  [default: the method's own]")
@click.option(
    "--schedule",
    type=click.Choice(SCHEDULES),
    default=_SETTINGS.schedule,
    show_default=True,
    help="Of the learning rate.",
)
@click.option(
    "--seed",
    default=_SETTINGS.seed,
    show_default=True,
    help="Of the start and of the order of the rows.",
)
@click.option(
    "--place",
    type=click.Choice(PLACES),
    default=_SETTINGS.place,
    show_default=True,
    help="Where the tokens stand.",
)
@click.option(
    "--start-text",
    default="",
    metavar="TEXT",
    help="Start from the tokens of this text; by default from random words.",
)
@click.option(
    "--candidates",
    default=_SETTINGS.candidates,
    show_default=True,
    help="How many tokens AutoPrompt tries in a step.",
)
@click.option(
    "--validation",
    default=_SETTINGS.validation,
    show_default=True,
    help="Share of the rows that is set aside to choose the best step by.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many items.")
@click.option(
    "--backends",
    "backends",
    cls=Option,
    aliases=("--backend",),
    metavar="NAME,NAME",
    default=",".join(_REQUEST.backends),
    show_default=True,
    callback=_backends,
    help="Reference and candidate.",
)
@click.option(
    "--device",
    type=DeviceName(),
    default=_REQUEST.device,
    show_default=True,
    help="The candidate's device; cuda, gpu and npu are understood too.",
)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default=_REQUEST.mode,
    show_default=True,
    help="The candidate's mode.",
)
@click.option(
    "--python",
    metavar="PATH",
    help="The candidate's interpreter.  "
    "[default: this one, or the backend's own environment (validate env)]",
)
@click.option("--reference-python", metavar="PATH", help="The reference's interpreter.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads for each side.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=_REQUEST.timeout,
    show_default=True,
    help="Seconds that a side may take.",
)
@click.option(
    "--output", "-o", type=_PATH, metavar="DIR", help="Write verdict.json and both sides' results."
)
@command
def learn(task: str, architecture: str, **options: Any) -> int:
    """Learn a prompt on two backends."""
    names = LearningSettings.__dataclass_fields__.keys() & options.keys()
    settings = LearningSettings(**{name: options.pop(name) for name in names})
    backends = cast("tuple[str, str]", options.pop("backends"))
    request = LearnRequest(task, architecture, settings, backends=backends, **options)
    with Status("", console=err()) as status:
        verdict = learn_prompt(request, lambda what: status.update(escape(tell(what))))
    print_learning(out(), verdict)
    return verdict.exit_code
