"""The ``mindport prompts`` command: look at prompts before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mindport.migrate.errors import MindportError
from mindport.prompts.dataset import PromptDataset
from mindport.prompts.plan import Batch, Plan, make_plan
from mindport.prompts.task import load_task, task_names
from mindport.prompts.template import SHAPES, Shape, Template
from mindport.prompts.tokenizer import PromptTokenizer

_HELP = """Look at prompt tasks: a data set, a template, and words for its labels.

\b
  mindport prompts list                                 the tasks that are there
  mindport prompts show sentiment --checkpoint ./gpt2   prompts as the model gets them
  mindport prompts show ./mine.yaml --checkpoint ./bert a task of your own

Exit codes: 0 done, 2 bad input.
"""


class _Group(click.Group):
    """A group whose subcommands end with a message and an exit code, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MindportError as error:
            click.secho(f"error: {error.message}", fg="red", err=True)
            if error.hint:
                click.echo(f"  try: {error.hint}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Group, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Group the commands."""


@main.command(name="list")
def list_tasks() -> None:
    """List the tasks that mindport brings."""
    for name in task_names():
        task = load_task(name)
        labels = ", ".join(task.verbalizer.labels)
        click.echo(f"{name}  version {task.version}: {task.description} ({labels})")


@main.command()
@click.argument("task")
@click.option(
    "--checkpoint",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with the tokenizer files.",
)
@click.option(
    "--shape",
    type=click.Choice(SHAPES),
    help="By default cloze if the vocabulary has a mask, else prefix.",
)
@click.option("--max-length", default=512, show_default=True, help="The most tokens in a prompt.")
@click.option("-n", "--items", default=3, show_default=True, help="How many prompts to print.")
def show(task: str, checkpoint: Path, shape: Shape | None, max_length: int, items: int) -> None:
    """Show prompts of TASK, a name or a YAML file: text, tokens, answer and label words."""
    tokenizer = PromptTokenizer.from_folder(checkpoint)
    loaded = load_task(task)
    data = loaded.read_data()
    plan = make_plan(
        loaded,
        tokenizer,
        architecture_shape=shape or ("prefix" if tokenizer.mask_id is None else "cloze"),
        max_length=max_length,
        limit=items,
        dataset=data,
    )
    _show_plan(plan, tokenizer)
    _show_items(plan, loaded.templates[plan.shape], data, tokenizer)


def _show_plan(plan: Plan, tokenizer: PromptTokenizer) -> None:
    click.echo(f"task      {plan.task}, version {plan.task_version}")
    click.echo(f"template  {_quoted(plan.template)} ({plan.shape})")
    click.echo(f"tokens    {plan.tokenizer_family}, {plan.tokenizer_size} in the vocabulary")
    for label, ids in zip(plan.labels, plan.label_token_ids, strict=True):
        pieces = zip(tokenizer.pieces(ids), ids, strict=True)
        words = ", ".join(f"{_quoted(piece)} = {index}" for piece, index in pieces)
        click.echo(f"label     {label}: {words}")


def _show_items(
    plan: Plan, template: Template, data: PromptDataset, tokenizer: PromptTokenizer
) -> None:
    examples = {example.id: example for example in data}
    places: dict[int, tuple[Batch, int]] = {
        int(item): (batch, place)
        for batch in plan.batches
        for place, item in enumerate(batch.items)
    }
    for item in range(len(plan)):
        batch, place = places[item]
        ids = batch.input_ids[place][batch.attention_mask[place] == 1].tolist()
        row = int(batch.rows[place])
        pieces = tokenizer.pieces(ids)
        cut = ", its text cut to fit" if item in plan.truncated_items else ""
        click.echo()
        click.echo(f"item      {plan.ids[item]}: {plan.labels[plan.label_indices[item]]}{cut}")
        click.echo(f"text      {_quoted(template.render(examples[plan.ids[item]]))}")
        click.echo(f"tokens    {' '.join(map(_quoted, pieces))}")
        click.echo(f"ids       {' '.join(map(str, ids))}")
        click.echo(f"[Z]       logits of position {row} of {len(ids)}, {_quoted(pieces[row])}")


def _quoted(text: str) -> str:
    """Return the text in quotes, control characters spelt out."""
    return json.dumps(text, ensure_ascii=False)
