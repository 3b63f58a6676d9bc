"""How well rounding theory predicts what correct runs do: the table in docs/tolerance.md.

    python benchmarks/rounding.py

Runs the embedded models on torch and on MindSpore in every dtype that the CPU can run, recomputes
each operation from its own inputs in float64, and prints the error in units of the predicted
deviation: the largest root mean square and the largest element over all taps. A dtype that a
framework cannot run is "not run".
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.validate.capture import Capture
from mindport.validate.case import DTYPES, Run
from mindport.validate.expectation import tap_reader
from mindport.validate.formula.recompute import recompute
from mindport.validate.formula.rounding import PRECISIONS
from mindport.validate.launch import Job, find_python, run_jobs
from mindport.validate.metrics import errors_of
from mindport.validate.selftest.running import StageSet, set_up
from mindport.validate.selftest.trials import Stage
from mindport.validate.tolerance import isolated_limits

BACKENDS = (("torch", "eager"), ("mindspore", "eager"), ("mindspore", "graph"))


def main() -> None:
    """Print one row per model, dtype and backend."""
    print("| model | dtype | run | largest rms of z | largest z | at |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in architecture_names():
        head = load_architecture(name).default_head
        for dtype in DTYPES:
            with tempfile.TemporaryDirectory() as scratch:
                stage = Stage(name, head, "embedded", batch=4, length=64, dtype=dtype)
                _rows(set_up(stage, Path(scratch) / "stage"), Path(scratch))


def _rows(made: StageSet, work: Path) -> None:
    stage = made.stage
    for number, (backend, mode) in enumerate(BACKENDS):
        folder = made.prepared.source.folder if backend == "torch" else made.ported
        run = Run(backend, str(folder.resolve()), "CPU", stage.dtype, mode, str(made.case_folder))
        job = Job(f"run-{number}", (run,), find_python(None), work)
        capture = run_jobs((job,), 600)[job.side][0]
        label = f"| {stage.architecture} | {stage.dtype} | {backend}, {mode} |"
        if isinstance(capture, Capture):
            print(label, _largest(made, capture), flush=True)
        else:
            print(label, f"not run | | {capture.reason} |", flush=True)


def _largest(made: StageSet, capture: Capture) -> str:
    network, read = made.network, tap_reader(capture)
    precision = PRECISIONS[made.stage.dtype]
    found = []
    for item in recompute(network.steps, network.setting, {"run": read}, precision, copies=1):
        array, view = read(item.step.tap), item.isolated["run"]
        if array is None:
            raise LookupError(f"{item.step.tap} was not captured")
        limits = isolated_limits(array.size)
        errors = errors_of(array, view.expected, view.deviation, item.valid, limits)
        found.append((errors.rms, errors.peak, item.step.tap))
    rms = max(found)
    peak = max(found, key=lambda row: row[1])
    return f"{rms[0]:.2f} | {peak[1]:.1f} | {rms[2]}, {peak[2]} |"


if __name__ == "__main__":
    main()
