"""The ``validate`` command: parse, call, print, exit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from mindport.migrate.architecture import Architecture
from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.commands import (
    ByArchitecture,
    Command,
    Option,
    complete_words,
    version_option,
)
from mindport.migrate.console import command, err, show_progress
from mindport.migrate.language import tell
from mindport.prompts.task import task_names
from mindport.validate.acceptance.command import accept_command
from mindport.validate.api import validate
from mindport.validate.backend import backend_names
from mindport.validate.case import ATTENTIONS, DTYPES, EAGER, MODES, SDPA
from mindport.validate.checkpoints import embedded_checkpoints
from mindport.validate.departures.asking import ACCEPT
from mindport.validate.departures.known import DEPARTURES
from mindport.validate.device_option import DeviceName
from mindport.validate.doctor.command import doctor
from mindport.validate.emulation.units import UNITS
from mindport.validate.environments.command import env
from mindport.validate.own.survey import survey, write_mapping
from mindport.validate.recording.command import recording_commands
from mindport.validate.report.command import diff, report
from mindport.validate.report.show import show_verdict
from mindport.validate.request import Request
from mindport.validate.selftest.command import selftest
from mindport.validate.tolerance import POLICIES

_HELP = """Run a model on PyTorch and on MindSpore, compare every layer, and judge.

Exit codes: 0 pass, or an emulation within its prediction, 1 the comparison failed, 2 bad input, 3 a
side could not run.
"""
_EXAMPLES = {
    "validate gpt2": "the embedded weights",
    "validate bert --prompts topic": "and what they predict",
    "validate gpt2 --checkpoint ./gpt2-hf --mode graph": "your own, graph mode",
    "validate gpt2 --checkpoint ./gpt2-hf --candidate-checkpoint ./gpt2-ms": "ported already",
    "validate bert --checkpoint random --size base": "full size, no download",
    "validate gpt2 --candidate my_port.py:build": "a MindSpore port of your own",
    "validate bert --gradients": "the backward pass as well",
    "validate gpt2 --backend mindnlp": "MindNLP, in an environment of its own",
    "validate gpt2 --backend mindnlp --accept mindspore-cpu-tanh": "but for a kernel of it",
    "validate gpt2 --emulate ascend-fp16": "what to expect of a device",
    "validate record gpt2 --device Ascend -o capture": "one side, where the device is",
    "validate compare reference capture": "two recorded sides, judged",
    "validate report ./report --format markdown": "a stored verdict in another form",
    "validate diff ./report-before ./report": "what became worse, of two of them",
    "validate accept task.toml": "all that a migration task demands",
}


def _build(name: str) -> click.Command:
    architecture = load_architecture(name)
    return Command(
        name,
        params=_parameters(architecture),
        callback=command(lambda **options: _validate(name, **options)),
        help=f"Validate a {architecture.title} on two backends.",
        short_help=f"Validate a {architecture.title}.",
        examples={
            f"validate {name}": "",
            f"validate {name} --checkpoint ./{name}-hf --mode graph": "your own, graph mode",
            f"validate {name} --dtype float16 --report ./report": "half precision; an HTML page",
        },
    )


def _parameters(architecture: Architecture) -> list[click.Parameter]:
    path = click.Path(path_type=Path)
    default = Request(architecture.name)
    return [
        click.Option(["--checkpoint"], default=default.checkpoint, show_default=True,
                     metavar="PATH|NAME|embedded|random",
                     shell_complete=complete_words(
                         lambda: (*embedded_checkpoints(architecture.name), "random")),
                     help="The weights: a Hugging Face folder or file, a model's name in the "
                     f"Hugging Face cache or hub, {_shipped(architecture.name)}or random ones."),
        click.Option(["--candidate-checkpoint"], type=path, metavar="PATH",
                     help="An already ported folder or file; by default the weights are ported "
                     "on the fly."),
        click.Option(["--candidate"], metavar="FILE.py:FUNCTION",
                     help="A MindSpore network of your own: a function build(config, checkpoint) "
                     "that returns an nn.Cell."),
        click.Option(["--taps", "taps_file"], type=path, metavar="FILE",
                     help="Where the taps are in it (YAML, tap: cell); what it leaves open is "
                     "proposed."),
        click.Option(["--config", "config_file"], type=path, metavar="FILE",
                     help="config.json, for weights that lie without one, and for random ones."),
        click.Option(["--size"], type=click.Choice(tuple(architecture.sizes)),
                     help="Size of random weights.  [default: tiny]"),
        click.Option(["--head"], type=click.Choice(tuple(architecture.heads)),
                     help="The head; by default the checkpoint's."),
        click.Option(["--inputs"], type=path, metavar="FILE",
                     help="Inputs: .npz or .safetensors arrays, or .txt with one text a line; by "
                     "default random ones with padding."),
        click.Option(["--batch"], type=int, default=default.batch, show_default=True,
                     help="Rows of random inputs."),
        click.Option(["--length"], type=int,
                     help="Tokens of random inputs.  [default: 64, or all positions if fewer]"),
        click.Option(["--seed"], type=int, default=default.seed, show_default=True,
                     help="Of random inputs and weights."),
        click.Option(["--prompts"], metavar="TASK|FILE",
                     shell_complete=complete_words(task_names),
                     help="Classify a labelled set by prompt on both sides: a task that `mindport "
                     "prompts list` shows, or a file of your own."),
        Option(["--limit", "prompt_limit"], aliases=["--prompt-limit"],
               type=click.IntRange(min=1),
                     help="At most so many items."),
        click.Option(["--shots"], type=click.IntRange(min=0), default=default.shots,
                     show_default=True, help="Demonstrations before each prompt."),
        click.Option(["--allow-missing"], is_flag=True,
                     help="Run both sides with the initial values of what the checkpoint lacks."),
        click.Option(["--policy"], type=click.Choice(POLICIES),
                     help="How the tolerance is chosen.  [default: derived, from the float64 "
                     "oracle and the noise floor]"),
        click.Option(["--atol"], type=float, help="Absolute tolerance, instead of a policy."),
        click.Option(["--rtol"], type=float, help="Relative tolerance, instead of a policy."),
        click.Option(["--accept"], type=click.Choice(tuple(DEPARTURES)), multiple=True,
                     help=ACCEPT),
        click.Option(["--emulate"], type=click.Choice(tuple(UNITS)),
                     help="Run no candidate, but predict: the network with the inputs of matrix "
                     "products rounded as this unit does. Never a pass of the device."),
        click.Option(["--matmul"], type=click.Choice(tuple(UNITS)),
                     help="The matrix unit that the candidate's device may use for float32 "
                     "products; the tolerance allows for its rounding.  [default: none, strict "
                     "float32]"),
        click.Option(["--blocks-only"], is_flag=True,
                     help="Capture blocks, not the operations inside: less to write and compare, "
                     "but a fault is placed by block."),
        click.Option(["--gradients"], is_flag=True,
                     help="Compare the loss and the gradient of every parameter too."),
        click.Option(["--backend"], type=click.Choice(backend_names()), default=default.backend,
                     show_default=True, help="What runs the candidate."),
        click.Option(["--device"], type=DeviceName(), default=default.device, show_default=True,
                     help="The candidate's device; cuda, gpu and npu are understood too."),
        click.Option(["--reference-device"], type=DeviceName(), default=default.reference_device,
                     show_default=True, help="The reference's device."),
        click.Option(["--dtype"], type=click.Choice(DTYPES), default=default.dtype,
                     show_default=True, help="Of the candidate's weights and computation."),
        click.Option(["--reference-dtype"], type=click.Choice(DTYPES),
                     help="Of the reference's.  [default: the candidate's]"),
        click.Option(["--mode"], type=click.Choice(MODES), default=default.mode,
                     show_default=True, help="The candidate's mode."),
        click.Option(["--attention"], type=click.Choice(ATTENTIONS), default=default.attention,
                     show_default=True, help="The candidate's: the plain formula (eager), or one "
                     "kernel, whose inside is not captured: sdpa of torch and mindnlp, fused of "
                     "mindspore (on Ascend)."),
        click.Option(["--reference-attention"], type=click.Choice((EAGER, SDPA)),
                     default=default.reference_attention, show_default=True,
                     help="The reference's."),
        click.Option(["--python"], metavar="PATH",
                     help="The candidate's interpreter.  [default: this one, or the backend's "
                     "own environment (validate env)]"),
        click.Option(["--reference-python"], metavar="PATH", help="The reference's interpreter."),
        click.Option(["--reference-capture"], type=path, metavar="DIR",
                     help="Use a recorded reference (validate record) instead of running it."),
        click.Option(["--candidate-capture"], type=path, metavar="DIR",
                     help="The same for the candidate."),
        click.Option(["--threads"], type=click.IntRange(min=1), help="CPU threads for each side."),
        click.Option(["--timeout"], type=click.FloatRange(min=1), default=default.timeout,
                     show_default=True, help="Seconds that a side may take."),
        click.Option(["--report"], type=path, metavar="DIR",
                     help="Write DIR/verdict.json and DIR/index.html."),
        click.Option(["--quiet", "-q"], is_flag=True, help="Print the verdict line alone."),
    ]  # fmt: skip


def _shipped(architecture: str) -> str:
    names = list(embedded_checkpoints(architecture))
    return f"those that ship with mindport ({', '.join(names)}), " if names else ""


def _validate(name: str, *, report: Path | None, quiet: bool, **choices: Any) -> int:
    with show_progress(quiet=quiet) as hear:
        verdict = validate(name, on_progress=hear, **choices)
    return show_verdict(verdict, report, quiet=quiet)


@click.command(cls=Command, examples={
    "validate taps gpt2 --candidate my_port.py:build -o taps.yaml": "",
    "validate gpt2 --candidate my_port.py:build --taps taps.yaml": "with them, corrected",
})  # fmt: skip
@click.argument("architecture", type=click.Choice(architecture_names()))
@click.option("--candidate", required=True, metavar="FILE.py:FUNCTION", help="A MindSpore network "
              "of your own: a function build(config, checkpoint) that returns an nn.Cell."
              )  # fmt: skip
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write FILE; by default it is printed.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--checkpoint",
    default=Request.checkpoint,
    metavar="PATH|NAME|embedded|random",
    help="The reference's weights.  [default: embedded, or random if none are]",
)
@click.option(
    "--candidate-checkpoint",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="An already ported folder or file; by default the weights are ported on the fly.",
)
@click.option("--head", metavar="HEAD", help="The head; by default the checkpoint's.")
@click.option("--size", metavar="SIZE", help="Size of random weights.  [default: tiny]")
@click.option(
    "--taps",
    "taps_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the taps are in it (YAML, tap: cell); what it leaves open is proposed.",
)
@click.option("--python", metavar="PATH", help="The candidate's interpreter.  [default: this one, "
              "or the backend's own environment (validate env)]")  # fmt: skip
@command
def taps(architecture: str, output: Path | None, force: bool, **choices: Any) -> None:
    """Propose where the taps are in a network of your own, as a file to correct."""
    text = survey(Request(architecture, **choices))
    if output is None:
        click.echo(text, nl=False)
        return
    write_mapping(output, text, force)
    err().print(escape(tell(f"wrote {output}")), soft_wrap=True)


main = ByArchitecture(
    name="validate", build=_build, names=architecture_names, help=_HELP, examples=_EXAMPLES,
    params=[version_option()],
)  # fmt: skip
main.add_command(taps)
main.add_command(selftest)
main.add_command(env)
main.add_command(doctor)
main.add_command(report)
main.add_command(accept_command)
main.add_command(diff)
for recording_command in recording_commands(_parameters):
    main.add_command(recording_command)
