"""The ``prompts`` commands that run no model: list, show, lint, convert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mindport.migrate.commands import Group, Option, complete_words, version_option
from mindport.migrate.console import command, label
from mindport.migrate.errors import EXIT_FAIL, EXIT_PASS, MindportError
from mindport.migrate.language import tell
from mindport.prompts.formats.convert import convert as convert_prompts
from mindport.prompts.lint import lint as find_problems
from mindport.prompts.planning import make_plan
from mindport.prompts.render import render_prompt
from mindport.prompts.shots import FewShotSampler
from mindport.prompts.show import item_lines, plan_lines, told
from mindport.prompts.task import load_task, task_names
from mindport.prompts.template import SHAPES, Shape
from mindport.prompts.tokenizer import PromptTokenizer

_COLOURS = {"error": "red", "warning": "yellow", "info": None}
_HELP = """Prompt tasks: a data set, a template, and words for its labels.

Exit codes: 0 done, 1 the comparison failed, 2 bad input, 3 a side could not run.
"""
_EXAMPLES = {
    "mindport prompts list": "the tasks that are there",
    "mindport prompts show sentiment --checkpoint ./gpt2-hf": "prompts as the model gets them",
    "mindport prompts lint ./mine.yaml --checkpoint ./gpt2-hf": "what may go wrong with them",
    "mindport prompts convert ./templates.yaml --to task -o mine.yaml": "another tool's prompts",
    "mindport prompts run sentiment gpt2 -o runs/torch": "what a model answers",
    "mindport prompts compare runs/torch runs/mindspore": "whether two answer alike",
    "mindport prompts learn sentiment gpt2 --method soft-prompt": "learn a prompt on both",
}


main = Group("prompts", params=[version_option()], help=_HELP, examples=_EXAMPLES)


@main.command(name="list", examples={"mindport prompts list": ""})
@command
def list_tasks() -> None:
    """List the tasks that mindport brings."""
    for name in task_names():
        task = load_task(name)
        labels = ", ".join(task.verbalizer.labels)
        click.echo(f"{name}  version {task.version}: {task.description} ({labels})")


task_argument = click.argument("task", shell_complete=complete_words(task_names))
checkpoint_option = click.option(
    "--checkpoint",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with the tokenizer files.",
)
shape_option = click.option(
    "--shape",
    type=click.Choice(SHAPES),
    help="By default cloze if the vocabulary has a mask, else prefix.",
)
length_option = click.option(
    "--max-length", default=512, show_default=True, help="The most tokens in a prompt."
)


@main.command(examples={
    "mindport prompts show sentiment --checkpoint ./gpt2-hf": "",
    "mindport prompts show ./mine.yaml --checkpoint ./bert-hf --shots 4 --limit 1": "few-shot, one",
})  # fmt: skip
@task_argument
@checkpoint_option
@shape_option
@length_option
@click.option("--shots", type=click.IntRange(min=0), default=0, show_default=True,
              help="Demonstrations before each prompt.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the demonstrations.")
@click.option("--limit", "items", cls=Option, aliases=("--items", "-n"), default=3,
              type=click.IntRange(min=1), show_default=True,
              help="At most so many items.")  # fmt: skip
@command
def show(
    task: str,
    checkpoint: Path,
    shape: Shape | None,
    max_length: int,
    shots: int,
    seed: int,
    items: int,
) -> None:
    """Show prompts of TASK, a name or a YAML file: text, tokens, answer and label words."""
    tokenizer = PromptTokenizer.from_folder(checkpoint)
    loaded = load_task(task)
    sampler = FewShotSampler(num_examples_total=shots, seed=seed) if shots else None
    drawn = loaded.draw_shots(sampler)
    data = loaded.read_data()
    plan = make_plan(
        loaded,
        tokenizer,
        architecture_shape=shape or default_shape(tokenizer),
        max_length=max_length,
        limit=items,
        dataset=data,
        shots=drawn,
    )
    for line in plan_lines(plan, tokenizer):
        click.echo(told(line))
    examples = {example.id: example for example in data}
    template = loaded.templates[plan.shape]
    for item, name in enumerate(plan.ids):
        click.echo()
        text = render_prompt(template, loaded.verbalizer, drawn, examples[name])
        for line in item_lines(plan, item, text, tokenizer):
            click.echo(told(line))


def default_shape(tokenizer: PromptTokenizer) -> Shape:
    """Return the shape of prompt that a vocabulary is for."""
    return "prefix" if tokenizer.mask_id is None else "cloze"


@main.command(examples={
    "mindport prompts lint ./mine.yaml --checkpoint ./gpt2-hf": "",
    "mindport prompts lint sentiment --checkpoint ./bert-hf --shape cloze": "",
})  # fmt: skip
@task_argument
@checkpoint_option
@shape_option
@length_option
@command
def lint(task: str, checkpoint: Path, shape: Shape | None, max_length: int) -> int:
    """Look for what may go wrong with TASK: words, spaces, lengths, labels.

    Exit code 1 if something cannot be meant.
    """
    tokenizer = PromptTokenizer.from_folder(checkpoint)
    loaded = load_task(task)
    wanted = shape or default_shape(tokenizer)
    if wanted not in loaded.templates:
        raise MindportError(
            f"The task {loaded.name!r} has no {wanted} template.",
            f"It has: {', '.join(loaded.templates)}.",
        )
    words = {
        name: [answer if len(answer) > 1 else answer[0] for answer in entry]
        for name, entry in loaded.verbalizer.label_words.items()
    }
    template = loaded.templates[wanted].text
    findings = find_problems(template, wanted, words, tokenizer, loaded.read_data(), max_length)
    for finding in findings:
        said = f"{label(finding.level, 8)}{finding.code}: {tell(finding.message)}"
        click.secho(said, fg=_COLOURS[finding.level])
        if finding.hint:
            click.echo(f"        {tell(finding.hint)}")
    errors = sum(finding.level == "error" for finding in findings)
    click.echo(tell(f"{len(findings)} findings, {errors} of them errors"))
    return EXIT_FAIL if errors else EXIT_PASS


@main.command(examples={
    "mindport prompts convert ./templates.yaml --to openprompt -o ./words": "",
    "mindport prompts convert t.txt --verbalizer w.txt --classes neg,pos --data r.jsonl -o m.yaml":
        "from OpenPrompt's files",
})  # fmt: skip
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), metavar="FILE",
              help="The file to make.")  # fmt: skip
@click.option("--from", "source_format", metavar="FORMAT",
              help="The source's format; by default found out.")  # fmt: skip
@click.option(
    "--to",
    "target_format",
    metavar="FORMAT",
    default="task",
    show_default=True,
    help="The format to write.",
)
@click.option(
    "--verbalizer", type=click.Path(path_type=Path), metavar="FILE", help="The file with the words."
)
@click.option("--classes", help="The labels in order, with commas, where the words lack them.")
@click.option("--choice", type=int, help="Which line of templates, from 0.")
@click.option("--verbalizer-choice", type=int, help="Which set of words, from 0.")
@click.option("--template", help="Which template of several, by name.")
@click.option("--text", help="The field that [X] stands for.")
@click.option("--data", metavar="FILE", help="The rows' file, as seen from the task's folder.")
@click.option("--shots-file", "shots", cls=Option, aliases=("--shots",), metavar="FILE",
              help="The demonstrations' file, likewise.")  # fmt: skip
@click.option(
    "--verbalizer-output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the words are written.",
)
@command
def convert(
    source: Path,
    output: Path,
    source_format: str | None,
    target_format: str,
    classes: str | None,
    data: str | None,
    shots: str | None,
    verbalizer_output: Path | None,
    **options: Any,
) -> None:
    """Carry a prompt file over to another tool; what cannot be carried over is named.

    Formats: task (mindport's own), plain, openprompt, promptsource, lm_eval, pet.
    """
    if classes is not None:
        options["classes"] = [name.strip() for name in classes.split(",")]
    done = convert_prompts(
        source,
        output,
        target_format,
        source_format=source_format,
        options=options,
        write_options={"data": data, "shots": shots, "verbalizer": verbalizer_output},
    )
    click.echo(tell(f"read {source} as {done.source_format}, wrote {output} as {target_format}"))
    for lost in done.lost:
        click.secho(tell(f"not carried over: {lost}"), fg="yellow")
