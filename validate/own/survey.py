"""``validate taps``: run a user's network alone and write down where its taps are."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mindport.migrate.architectures import load_architecture
from mindport.migrate.console import write_whole
from mindport.migrate.errors import DestinationError, EnvironmentUnavailableError
from mindport.validate.case import Run
from mindport.validate.launch import Job, NotRun, find_python, run_jobs
from mindport.validate.making import make_case
from mindport.validate.own.candidate import own_backend, own_files, own_weights
from mindport.validate.own.places import Place, write_places
from mindport.validate.reference import prepare_reference
from mindport.validate.request import Request


def survey(request: Request) -> str:
    """Return the mapping file of a network, with every tap that can be told.

    Args:
        request: With a candidate; only what concerns it is looked at.

    Raises:
        MindportError: If the network cannot be built or run.
    """
    architecture = load_architecture(request.architecture)
    name = own_backend(
        request.candidate, request.taps_file, request.backend, request.mode, Request.backend
    )
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        prepared = prepare_reference(architecture, request, work).prepared
        weights = own_weights(prepared, request.candidate_checkpoint, request.taps_file, work)
        make_case(architecture, request, prepared, work)
        factory, taps_file = own_files(request.candidate, request.taps_file)
        run = Run(
            name,
            str(weights.folder.resolve()),
            request.device,
            request.dtype,
            request.mode,
            str(work / "case"),
            request.threads,
            factory=factory,
            taps_file=taps_file,
        )
        job = Job("candidate", (run,), find_python(request.python), work)
        outcome = run_jobs([job], request.timeout)["candidate"][0]
        if isinstance(outcome, NotRun):
            raise EnvironmentUnavailableError(
                f"The network could not run: {outcome.reason}",
                "\n".join((outcome.hint, *outcome.last_lines)),
            )
        notes = outcome.notes()
    plan = prepared.plan
    places = {name: Place.from_yaml(content) for name, content in notes["places"].items()}
    return write_places(
        f"Taps of {architecture.title} in {notes['factory']}, as proposed; correct what is wrong.",
        places,
        [tap for tap in plan.head.taps if not tap.output],
        plan.config[architecture.layers],
    )


def write_mapping(path: Path, text: str, force: bool) -> None:
    """Write a mapping file.

    Args:
        path: Where to.
        text: From :func:`survey`.
        force: Replace a file that exists.

    Raises:
        DestinationError: If the file exists or cannot be written.
    """
    if path.exists() and not force:
        raise DestinationError(f"{path} exists already.", "Add --force to replace it.")
    write_whole(path, text)
