"""The ``validate doctor`` command."""

from __future__ import annotations

import json

import click
from rich.status import Status

from mindport.migrate.commands import Command
from mindport.migrate.console import command, err, out
from mindport.migrate.language import tell
from mindport.validate.device_option import DeviceName
from mindport.validate.devices import parse_device
from mindport.validate.doctor.environment import find_environment
from mindport.validate.doctor.examination import TIMEOUT, examine
from mindport.validate.doctor.finding import BACKENDS, Job
from mindport.validate.doctor.managed import own_interpreter
from mindport.validate.report.doctor import print_diagnosis

_HELP = """Find out what is installed here, whether it fits together, and what a job lacks.

Versions are read from metadata; each framework is imported in a process of its own, with a time
limit, and computes a small product on each device. A combination that nobody has noted is "not
known", never fine.

Exit codes: 0 the job could run, or without one some backend could; 2 bad input; 3 not.
"""
_EXAMPLES = {
    "validate doctor": "everything",
    "validate doctor --backend mindspore --device Ascend": "could this side run here?",
    "validate doctor --backend mindnlp": "in the environment that it would use",
    "validate doctor --python ./mindnlp-env --backend mindnlp": "",
}


@click.command(
    "doctor",
    cls=Command,
    examples=_EXAMPLES,
    help=_HELP,
    short_help="Find out what this environment can run.",
)
@click.option(
    "--backend", type=click.Choice(BACKENDS), help="Whether this backend could run a side."
)
@click.option("--device", type=DeviceName(), help="And on this device.  [default: CPU]")
@click.option(
    "--python",
    metavar="PATH|NAME",
    help="Another interpreter, the folder of a virtual environment, or a conda environment's name. "
    " [default: this one, or the backend's own environment (validate env)]",
)
@click.option("--quick", is_flag=True, help="Only look; run no framework.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=TIMEOUT,
    show_default=True,
    help="Seconds that a framework may take.",
)
@command
def doctor(
    backend: str | None,
    device: str | None,
    python: str | None,
    quick: bool,
    as_json: bool,
    timeout: float,
) -> int:
    """Examine an environment; the help says how."""
    job = None
    if backend or device:
        job = Job(backend or BACKENDS[0], parse_device(device or "CPU"))
    named = python is not None
    interpreter = find_environment(python) if named else own_interpreter(job)
    if as_json:
        diagnosis = examine(interpreter, job, named=named, quick=quick, timeout=timeout)
        click.echo(json.dumps(diagnosis.to_dict(), indent=2, ensure_ascii=False))
    else:
        with Status(tell("examining"), console=err()):
            diagnosis = examine(interpreter, job, named=named, quick=quick, timeout=timeout)
        print_diagnosis(out(), diagnosis)
    return diagnosis.exit_code
