"""The one program that imports a framework: a run and a case in, a capture out.

``python -m mindport.validate.worker RUN.json CAPTURE_FOLDER [RUN.json CAPTURE_FOLDER …]``. It
writes ``CAPTURE_FOLDER`` whole, or ``CAPTURE_FOLDER.failure.json`` with what stood in the way, or,
if it dies, nothing.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from mindport.migrate.architectures import load_architecture
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.computation import network_steps
from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.migrate.manifest import sha256_of
from mindport.prompts import Plan
from mindport.validate.backend import (
    GradientReference,
    GradientSession,
    ReferenceSession,
    Session,
    load_backend,
)
from mindport.validate.capture import CaptureManifest, save_capture
from mindport.validate.case import (
    Run,
    SettledCase,
    hash_arrays,
    load_case,
    load_targets,
    prompts_folder,
)
from mindport.validate.formula.validity import valid_elements
from mindport.validate.gradient_capture import Oracle, measure, save_gradients
from mindport.validate.guard import watch_parent
from mindport.validate.metrics import rms
from mindport.validate.missing_kernel import missing_kernel
from mindport.validate.prompting.rows import ask
from mindport.validate.steps import tell_step

LOAD, FORWARD, PROMPTS, GRADIENTS, ORACLE = "load", "forward", "prompts", "gradients", "oracle"


def main(*pairs: str) -> int:
    """Run one case after the other and return the exit code of the first that failed."""
    watch_parent()
    runs = zip(pairs[::2], pairs[1::2], strict=True)
    codes = [_guarded(run_file, Path(capture)) for run_file, capture in runs]
    return next((code for code in codes if code), 0)


def _guarded(run_file: str, folder: Path) -> int:
    part = _part(folder)
    try:
        _work(Run.load(Path(run_file)), folder)
    except MindportError as error:
        failure = error
    except MemoryError:
        failure = EnvironmentUnavailableError(
            "The worker ran out of memory.",
            "Run a smaller case (--batch, --length, --blocks-only), or use a larger machine.",
        )
    except (TypeError, RuntimeError) as error:
        told = missing_kernel(error)
        if told is None:
            raise
        failure = told
    except (OSError, SafetensorError) as error:
        if not _disk_is_full(error):
            raise
        failure = EnvironmentUnavailableError(
            f"The disk is full: there is no room for the capture in {folder.parent}.",
            "Free some space, or set TMPDIR to a place that has it.",
        )
    else:
        return 0
    finally:
        shutil.rmtree(part, ignore_errors=True)  # first, so that there is room to say why
    content = {"exit_code": failure.exit_code, "message": failure.message, "hint": failure.hint}
    written = folder.with_name(f"{folder.name}.saying")
    written.write_text(json.dumps(content), encoding="utf-8")
    written.rename(failure_path(folder))
    return failure.exit_code


def _part(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.part")


def _disk_is_full(error: OSError | SafetensorError) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return os.strerror(errno.ENOSPC) in str(error) or f"os error {errno.ENOSPC}" in str(error)


def failure_path(capture: Path) -> Path:
    """Return where a worker says what stood in its way."""
    return capture.with_name(f"{capture.name}.failure.json")


def _work(run: Run, folder: Path) -> None:
    case, inputs = load_case(Path(run.case))
    steps = _steps(run, case)
    tell_step(folder, steps, LOAD)
    started = time.perf_counter()
    session = load_backend(run.backend).open_session(run, case)
    loaded = time.perf_counter()
    if case.taps:
        tell_step(folder, steps, FORWARD)
    # A case without taps only asks prompts.
    taps = session.forward(inputs) if case.taps else {}
    ran = time.perf_counter()
    again = hash_arrays(session.forward(inputs)) if case.taps else {}
    first = hash_arrays(taps)
    repeated = time.perf_counter()
    part = _part(folder)
    part.mkdir(parents=True)
    prompts = None
    if case.prompts:
        tell_step(folder, steps, PROMPTS)
        plan = Plan.load(prompts_folder(Path(run.case)))
        prompts = ask(session, plan, part, control_seed=case.seed if run.control else None)
    asked = time.perf_counter()
    if run.gradients:
        tell_step(folder, steps, GRADIENTS)
    targets = load_targets(Path(run.case)) if run.gradients else {}
    gradients = _gradients(session, run, inputs, targets) if run.gradients else None
    learnt = time.perf_counter()
    if run.oracle:
        tell_step(folder, steps, ORACLE)
    oracle, floor = _oracle(session, case, inputs, taps) if run.oracle else (None, {})
    known = time.perf_counter()
    manifest = CaptureManifest(
        identity=session.identity,
        load_report=session.load_report,
        weights={file.name: sha256_of(file) for file in _files(run)},
        inputs=hash_arrays(inputs),
        taps=tuple(taps),
        unstable=tuple(name for name in taps if first[name] != again[name]),
        floor=floor,
        seconds={
            "load": loaded - started,  # the import of the framework included
            "forward": ran - loaded,
            "repeat": repeated - ran,
            "prompts": asked - repeated,
            "gradients": learnt - asked,
            "oracle": known - learnt,
        },
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        targets=hash_arrays(targets),
        prompts=prompts,
    )
    save_capture(part, manifest, taps, oracle, notes=_notes(session))
    if gradients is not None:
        save_gradients(part, *gradients)
    part.rename(folder)


def _steps(run: Run, case: SettledCase) -> tuple[str, ...]:
    asked = {FORWARD: case.taps, PROMPTS: case.prompts, GRADIENTS: run.gradients,
             ORACLE: run.oracle}  # fmt: skip
    return LOAD, *(name for name, wanted in asked.items() if wanted)


def _files(run: Run) -> list[Path]:
    path = Path(run.checkpoint)
    if not run.factory:
        return list(open_checkpoint(path).reader.files)
    # A port of the user's own may read any format: whatever lies there, and the code itself.
    files = sorted(f for f in path.iterdir() if f.is_file()) if path.is_dir() else [path]
    return [*files, Path(run.factory.rpartition(":")[0])]


def _notes(session: Session) -> Mapping[str, Any] | None:
    notes = getattr(session, "notes", None)
    return notes() if notes is not None else None


def _gradients(
    session: Session,
    run: Run,
    inputs: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
) -> tuple[float, dict[str, np.ndarray], Oracle | None]:
    """Return the loss, the gradients and, of the reference, what they should be."""
    wanted = GradientReference if run.oracle else GradientSession
    if not isinstance(session, wanted):
        raise MindportError(
            f"The backend {run.backend!r} gives no gradients.", "Leave out --gradients."
        )
    loss, gradients = session.gradients(inputs, targets)
    if not isinstance(session, GradientReference) or not run.oracle:
        return loss, gradients, None
    return loss, gradients, measure(session.gradient_runs(inputs, targets), loss, gradients)


def _oracle(
    session: Session,
    case: SettledCase,
    inputs: Mapping[str, np.ndarray],
    taps: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, float]]]:
    if not isinstance(session, ReferenceSession):
        raise EnvironmentUnavailableError("This backend has no float64 oracle.")
    # The oracle comes last, since the network stays in float64.
    runs = {"as fed": taps, **dict(session.reordered(inputs))}
    oracle = session.oracle(inputs)
    head = load_architecture(case.architecture).heads[case.head]
    real = inputs["attention_mask"] != 0
    steps = {step.tap: step for step in network_steps(head.steps, session.layers)}
    floor: dict[str, dict[str, float]] = {}
    for name, found in runs.items():
        floor[name] = {}
        for tap, array in found.items():
            valid = valid_elements(steps[tap], real, array.shape)
            floor[name][tap] = rms((array - oracle[tap])[valid])
    return oracle, floor


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
