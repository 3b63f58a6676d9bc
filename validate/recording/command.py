"""``validate case``, ``record``, ``compare``, ``bundle`` and ``import-dump``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from mindport.migrate.architecture import Architecture
from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.commands import ByArchitecture, Command
from mindport.migrate.console import command, label, out, show_progress
from mindport.migrate.language import tell
from mindport.validate.api import compare as judge_recorded
from mindport.validate.api import save_case
from mindport.validate.case import DTYPES
from mindport.validate.departures.asking import ACCEPT
from mindport.validate.departures.known import DEPARTURES
from mindport.validate.recording.bundle import make_bundle
from mindport.validate.recording.dumps.importing import DumpRequest, import_dump
from mindport.validate.recording.dumps.reading import TOOLS
from mindport.validate.recording.order import SETTLED, Order
from mindport.validate.recording.running import record
from mindport.validate.report.show import show_verdict
from mindport.validate.request import Request
from mindport.validate.stages import PREPARING, WRITING, Stages
from mindport.validate.tolerance import POLICIES

Parameters = Callable[[Architecture], list[click.Parameter]]
_path = click.Path(path_type=Path)
_CASE = ("checkpoint", *SETTLED)
_RUN = ("candidate_checkpoint", "backend", "device", "dtype", "mode", "attention", "threads",
        "timeout")  # fmt: skip
_HERE = ("candidate", "taps_file", "python")


def _output(what: str, kind: str = "DIR") -> click.Option:
    return click.Option(["--output", "-o"], type=_path, required=True, metavar=kind, help=what)


def _weights(default: str) -> click.Option:
    said = f"Whether the weights are carried along.  [default: {default}]"
    return click.Option(["--with-weights/--without-weights"], default=None, help=said)


def _case() -> click.Option:
    return click.Option(["--case"], type=_path, metavar="PATH",
                        help="Run this case (of validate case), or that of a recorded run, "
                        "instead of making one.")  # fmt: skip


def recording_commands(parameters: Parameters) -> tuple[click.Command, ...]:
    """Return the commands.

    Args:
        parameters: Gives the options of ``validate ARCHITECTURE``, some of which are theirs too.
    """
    small = "those of at most 64 MiB"
    return (
        _group(
            "case", parameters, _make_case, _CASE,
            (_output("The folder to make."), _weights(small)),
            "Write down what is to be run, for several places to run it.",
            "validate case gpt2 --prompts sentiment -o case",
        ),
        _group(
            "record", parameters, _record, (*_CASE, *_RUN, *_HERE),
            (
                _output("The folder to make."),
                click.Option(["--reference"], is_flag=True,
                             help="Record the reference on torch: with float64 oracle, noise "
                             "floor and control."),
                _case(),
                _weights(f"{small}, for a reference"),
            ),
            "Run one side alone, and keep what comes out for `validate compare`.",
            "validate record gpt2 --reference -o reference",
            "validate record gpt2 --device Ascend --case reference -o capture",
        ),
        _group(
            "bundle", parameters, _bundle, (*_CASE, *_RUN),
            (_output("The file to make.", "FILE"), _case(), _weights("yes")),
            "Pack a candidate's run into one file, for a machine without network.",
            "validate bundle gpt2 --device Ascend --case reference -o job.zip",
        ),
        compare,
        import_dump_command,
    )  # fmt: skip


def _group(
    name: str,
    parameters: Parameters,
    act: Callable[..., int | None],
    options: Collection[str],
    own: tuple[click.Option, ...],
    summary: str,
    *examples: str,
) -> click.Command:
    def build(architecture: str) -> click.Command:
        described = load_architecture(architecture)
        every = parameters(described)
        return Command(
            architecture,
            params=[*own, *(option for option in every if option.name in options)],
            callback=command(lambda **choices: act(architecture, **choices)),
            help=summary,
            short_help=f"For a {described.title}.",
            examples={line.replace("gpt2", architecture): "" for line in examples},
        )

    return ByArchitecture(
        name=name, build=build, names=architecture_names, help=summary,
        short_help=summary, examples=dict.fromkeys(examples, ""),
    )  # fmt: skip


def _wrote(path: Path) -> None:
    out().print(escape(tell(f"wrote {path}")), soft_wrap=True)


def _make_case(architecture: str, output: Path, with_weights: bool | None, **choices: Any) -> None:
    request = Request(architecture, **choices)
    with show_progress() as hear:
        save_case(request, output, with_weights=with_weights, on_progress=hear)
    _wrote(output)


def _order(
    architecture: str, case: Path | None, with_weights: bool | None, reference: bool,
    choices: dict[str, Any],
) -> Order:  # fmt: skip
    request = Request(architecture, **choices)
    return Order(request, "reference" if reference else "candidate", case, with_weights,
                 request.named_checkpoint)  # fmt: skip


def _record(
    architecture: str, output: Path, reference: bool, case: Path | None,
    with_weights: bool | None, **choices: Any,
) -> None:  # fmt: skip
    order = _order(architecture, case, with_weights, reference, choices)
    with show_progress() as hear:
        record(order, output, hear)
    _wrote(output)


def _bundle(
    architecture: str, output: Path, case: Path | None, with_weights: bool | None, **choices: Any
) -> None:
    order = _order(architecture, case, with_weights, False, choices)
    with show_progress() as hear:
        needs = make_bundle(order, output, Stages(hear, PREPARING, WRITING))
    _wrote(output)
    said = tell(f"there: python {output.name} -o capture.zip; it needs {needs}")
    out().print(escape(said), soft_wrap=True)


@click.command(cls=Command, examples={
    "validate compare reference capture": "",
    "validate compare reference capture.zip --report report": "",
})  # fmt: skip
@click.argument("reference", type=_path)
@click.argument("candidate", type=_path)
@click.option("--checkpoint", metavar="PATH|NAME", help="The reference's weights, if no capture "
              "carries them; they are known by their sha256.")  # fmt: skip
@click.option("--policy", type=click.Choice(POLICIES), help="How the tolerance is chosen.  "
              "[default: derived, from the float64 oracle and the noise floor]")  # fmt: skip
@click.option("--atol", type=float, help="Absolute tolerance, instead of a policy.")
@click.option("--rtol", type=float, help="Relative tolerance, instead of a policy.")
@click.option("--accept", type=click.Choice(tuple(DEPARTURES)), multiple=True,
              help=ACCEPT)  # fmt: skip
@click.option("--report", type=_path, metavar="DIR", help="Write DIR/verdict.json and "
              "DIR/index.html.")  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="Print the verdict line alone.")
@command
def compare(
    reference: Path, candidate: Path, report: Path | None, quiet: bool, **choices: Any
) -> int:
    """Judge two recorded sides, each a folder or a zip file; needs no framework."""
    with show_progress() as hear:
        verdict = judge_recorded(reference, candidate, on_progress=hear, **choices)
    return show_verdict(verdict, report, quiet=quiet)


@click.command("import-dump", cls=Command, examples={
    "validate import-dump dump --from msprobe --case reference -o imported": "",
    "validate compare reference imported": "what it is for",
})  # fmt: skip
@click.argument("folder", type=_path)
@click.option("--from", "tool", type=click.Choice(tuple(TOOLS)), required=True,
              help="What wrote the .npy files: msprobe, troubleshooter (ts.save), or anything that "
              "names them TAP.npy.")  # fmt: skip
@click.option("--case", type=_path, required=True, metavar="PATH", help="What was run: a case, or "
              "a recorded reference.")  # fmt: skip
@click.option("--map", "mapping", type=_path, metavar="FILE", help="Which file is which tap "
              "(YAML, tap: file); what it leaves open is found by module path.")  # fmt: skip
@click.option("--write-map", type=_path, metavar="FILE",
              help="Write down what was found, to correct it.")  # fmt: skip
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True,
              help="What the dumped run computed in.")  # fmt: skip
@click.option("--output", "-o", type=_path, required=True, metavar="DIR",
              help="The folder to make.")  # fmt: skip
@command
def import_dump_command(folder: Path, output: Path, **choices: Any) -> None:
    """Turn a dump of another tool into a capture that can be compared.

    Nothing proves what such files are, and the verdict says so.
    """
    found = import_dump(DumpRequest(folder, **choices), output)
    console = out()
    console.print(tell(f"{len(found.places)} taps mapped"), soft_wrap=True)
    for line in found.notices:
        console.print(f"[yellow]{label('note', 5)}[/]{escape(tell(line))}", soft_wrap=True)
    _wrote(output)
