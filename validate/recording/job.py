"""The part of a carried job that runs on the other machine; no command line library is there."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindport.migrate.errors import EXIT_ENVIRONMENT, DestinationError, MindportError
from mindport.validate.backend import check_choices
from mindport.validate.case import Run
from mindport.validate.devices import parse_device
from mindport.validate.launch import Job, NotRun, find_python, run_jobs
from mindport.validate.recording.archive import files_below, write_zip
from mindport.validate.recording.record import CAPTURE, CASE, Record, check_free, seal


def run_job(
    folder: Path, job: Mapping[str, Any], weights: Path, output: Path, asked: Mapping[str, Any]
) -> int:
    """Run a job and write what came out as one file; return the exit code.

    Args:
        folder: The unpacked job.
        job: The contents of ``job.json``.
        weights: Folder of the weights.
        output: The zip file to make.
        asked: ``device``, ``mode``, ``threads`` and ``timeout``.
    """
    try:
        check_free(output)
        check_choices(job["run"]["backend"], asked["mode"])
        return _run(folder, job, weights, output, asked)
    except MindportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _run(
    folder: Path, job: Mapping[str, Any], weights: Path, output: Path, asked: Mapping[str, Any]
) -> int:
    settled = job["run"]
    run = Run(
        settled["backend"],
        str(weights.resolve()),
        str(parse_device(asked["device"])),
        settled["dtype"],
        asked["mode"],
        str((folder / CASE).resolve()),
        asked["threads"],
        gradients=settled["gradients"],
        attention=settled["attention"],
    )
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        started = Job("candidate", (run,), find_python(None), work)
        done = run_jobs([started], asked["timeout"])["candidate"][0]
        if isinstance(done, NotRun):
            print(f"not run: {done.reason}", *done.last_lines, done.hint, sep="\n", file=sys.stderr)
            return EXIT_ENVIRONMENT
        whole = work / "recorded"
        shutil.copytree(folder / CASE, whole / CASE)
        shutil.copytree(done.folder, whole / CAPTURE)
        seal(
            whole,
            Record(
                side="candidate",
                case=job["case"],
                backend=settled["backend"],
                dtype=settled["dtype"],
                gradients=settled["gradients"],
                own=False,
                origin=job["origin"],
                notices=tuple(job["notices"]),
            ),
        )
        _publish(whole, output)
    identity = done.manifest.identity
    print(
        f"ran {identity.framework} {identity.version} on {identity.device}, {identity.dtype}, "
        f"{identity.mode}\nwrote {output}\nthere: validate compare REFERENCE {output.name}"
    )
    return 0


def _publish(folder: Path, output: Path) -> None:
    part = output.with_name(f".{output.name}.{secrets.token_hex(4)}")
    try:
        write_zip(part, [(p.relative_to(folder).as_posix(), p) for p in files_below(folder)])
        check_free(output)
        part.rename(output)
    except OSError as error:
        raise DestinationError(
            f"{output} cannot be written: {error.strerror or error}.", "Choose another place."
        ) from None
    finally:
        part.unlink(missing_ok=True)
