"""What the machine has and what came of the trials, as findings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mindport.validate.devices import Device
from mindport.validate.doctor.absence import ways_on
from mindport.validate.doctor.compatibility import Table
from mindport.validate.doctor.environment import Facts, Trial
from mindport.validate.doctor.finding import BACKENDS, Finding, Job
from mindport.validate.doctor.machine import Ascend, Cuda, Machine

_GIB = 1024**3
_LEAST_DISK = 2 * _GIB  # captures of a base model, both sides
_LEAST_MEMORY = 2 * _GIB  # what a framework with a base model takes
_SHOWN = 240
_NEEDED_BY = {
    "torch": ("torch",),
    "mindspore": ("mindspore", "mindnlp"),
    "transformers": ("torch", "mindnlp"),
    "mindnlp": ("mindnlp",),
}


def look_at_hardware(machine: Machine, facts: Facts, job: Job | None) -> Iterator[Finding]:
    """Yield Ascend, GPU, disk and memory."""
    yield from _ascend(machine.ascend, facts, job)
    yield _cuda(machine.cuda, job)
    if machine.free_disk < _LEAST_DISK:
        yield Finding(
            "disk", "room for temporary files", f"{machine.free_disk / _GIB:.1f} GiB",
            f"{_LEAST_DISK / _GIB:.0f} GiB for a base model", "warning",
            "Make room, or set TMPDIR to a disk that has some.", concerns=BACKENDS,
        )  # fmt: skip
    else:
        yield Finding("disk", "room for temporary files", f"{machine.free_disk / _GIB:.1f} GiB",
                      f"{_LEAST_DISK / _GIB:.0f} GiB for a base model", "ok")  # fmt: skip
    memory, enough = machine.memory, machine.memory is None or machine.memory >= _LEAST_MEMORY
    yield Finding(
        "memory", "free memory",
        "unknown" if memory is None else f"{memory / _GIB:.1f} GiB, {machine.cpus} CPUs",
        f"{_LEAST_MEMORY / _GIB:.0f} GiB for a base model",
        "unknown" if memory is None else "ok" if enough else "warning",
        "" if enough else "Both sides at once may be killed for want of memory.",
        concerns=BACKENDS,
    )  # fmt: skip


def _ascend(ascend: Ascend, facts: Facts, job: Job | None) -> Iterator[Finding]:
    wanted = job is not None and job.device.kind == "Ascend"
    device = job.device if job is not None and wanted else Device("Ascend")
    found = "; ".join(ascend.looked)
    if not ascend.present:
        yield Finding(
            "ascend", "Ascend device", found, "a driver, npu-smi and /dev/davinci*",
            "broken" if wanted else "absent",
            f"There is no Ascend here. {ways_on(device)}" if wanted else "",
            concerns=BACKENDS, device="Ascend",
        )  # fmt: skip
    elif not (ascend.driver and ascend.devices):
        yield Finding(
            "ascend", "Ascend device", found, "a driver and /dev/davinci*", "warning",
            "Part of it is there: the driver may be installed elsewhere, or a container may have "
            "been started without the devices.", concerns=BACKENDS, device="Ascend",
        )  # fmt: skip
    else:
        yield Finding("ascend", "Ascend device", found, "", "ok", concerns=BACKENDS,
                      device="Ascend")  # fmt: skip
    if not (ascend.present or ascend.home or wanted):
        return
    if ascend.home is None:
        yield Finding(
            "cann", "CANN", "none", "for Ascend", "broken",
            "Install CANN and run its set_env.sh, which sets ASCEND_HOME_PATH and the paths.",
            concerns=BACKENDS, device="Ascend",
        )  # fmt: skip
    elif not ascend.cann:
        yield Finding(
            "cann", "CANN", f"{ascend.home}, of unknown version", "compiler/version.info",
            "unknown", "MindSpore then skips its own check of the version.",
            concerns=BACKENDS, device="Ascend",
        )  # fmt: skip
    else:
        yield Finding("cann", "CANN", f"{ascend.cann} ({ascend.cann_file})", "", "ok",
                      concerns=BACKENDS, device="Ascend")  # fmt: skip
    plugins = [name for name in facts.plugins if "ascend" in name]
    if facts.installed("mindspore") and not plugins:
        yield Finding(
            "plugin-ascend", "MindSpore's Ascend plugin", "not in the wheel",
            "lib/plugin/libmindspore_ascend.so*", "broken",
            "This MindSpore was built without Ascend.", ("stack:mindspore",),
            concerns=("mindspore", "mindnlp"), device="Ascend",
        )  # fmt: skip


def _cuda(cuda: Cuda, job: Job | None) -> Finding:
    wanted = job is not None and job.device.kind == "GPU"
    found = "; ".join(cuda.looked)
    needed = "a driver, nvidia-smi and libcuda"
    if cuda.present:
        whole = bool(cuda.library and cuda.driver)
        return Finding(
            "gpu", "GPU", found, needed, "ok" if whole else "warning",
            "" if whole else "Part of it is there: the trial below decides.",
            concerns=BACKENDS, device="GPU",
        )  # fmt: skip
    return Finding(
        "gpu", "GPU", found, needed, "broken" if wanted else "absent",
        f"There is no GPU here. {ways_on(Device('GPU'))}" if wanted else "",
        concerns=BACKENDS, device="GPU",
    )  # fmt: skip


def judge_trial(trial: Trial, table: Table) -> Finding:
    """Return what a trial shows."""
    kind = trial.device.partition(":")[0]
    what = f"{trial.name} computes on {trial.device}" if kind else f"import {trial.name}"
    # What cannot even be imported runs on no device.
    concerns, device = _NEEDED_BY[trial.name], kind if trial.imported else ""
    ident = f"run-{trial.name}{f'-{kind}' if kind else ''}"
    if trial.end == "ok":
        where = f" on {trial.where}" if trial.where not in ("", "CPU") else ""
        sees = [
            f"sees {'a' if there else 'no'} {name}" for name, there in (trial.sees or {}).items()
        ]
        found = "; ".join([f"yes{where}, import {trial.seconds:.1f} s", *sees])
        return Finding(ident, what, found, "", "ok", concerns=concerns, device=device)
    stage = "" if trial.imported or not kind else "the import "
    found = {"raised": "fails", "crashed": "crashes", "hung": "hangs"}[trial.end]
    advice = essence(trial.message)
    mend: tuple[str, ...] = ()
    if row := table.recognise(trial.message):
        versions = ", ".join(f"{part} {ranges}" for part, ranges in row.when.items())
        advice += f". Known of {versions}: {row.says}; needed: {row.needs}"
        mend = row.mend
    if trial.end == "hung":
        advice += ". Allow more with --timeout; a first import without .pyc files may take minutes"
    if trial.last_lines:
        advice += f". Last lines: {' / '.join(trial.last_lines)[-_SHOWN:]}"
    return Finding(
        ident, what, f"{stage}{found}", "", "broken", f"{advice}.", mend, "", concerns, device
    )


def essence(message: str) -> str:
    """Return the first sentence of an error text, and which library it could not load."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    if len(first) > _SHOWN:
        first = re.split(r"(?<=\.)\s", first)[0][:_SHOWN]
    loads = [line for line in lines[1:] if "cannot open shared object" in line]
    return " ".join([first, *loads[:1]]).rstrip(".")
