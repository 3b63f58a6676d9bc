"""Run the job that this file was packed with: ``python job.zip -o capture.zip``.

Or unpack the zip file and run ``python run.py -o capture.zip`` there. Nothing but the standard
library is imported before it is known that the rest is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_OLDEST, _TOO_NEW = (3, 10), (3, 13)


def main() -> int:
    """Unpack the job if it is a zip file, check it and its surroundings, and run it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    here = Path(__file__).resolve().parent
    if here.is_dir():
        return _run(here)
    with tempfile.TemporaryDirectory(prefix="mindport-job-") as scratch:
        with zipfile.ZipFile(here) as archive:
            archive.extractall(scratch)  # the file that is being run itself
        return _run(Path(scratch))


def _run(folder: Path) -> int:
    job: dict[str, Any] = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    run = job["run"]
    parser = argparse.ArgumentParser(description="Run one side and write capture.zip.")
    parser.add_argument("-o", "--output", type=Path, default=Path("capture.zip"))
    parser.add_argument("--device", default=run["device"], help="default: %(default)s")
    parser.add_argument("--mode", default=run["mode"], help="eager or graph; default: %(default)s")
    parser.add_argument("--threads", type=int, default=run["threads"])
    parser.add_argument("--timeout", type=float, default=job["timeout"], help="seconds")
    parser.add_argument("--weights", type=Path, help="their folder, if the job carries none")
    parser.add_argument("--check", action="store_true", help="check everything and run nothing")
    chosen = parser.parse_args()
    weights = chosen.weights or folder / "weights"
    problem = _surroundings(job) or _damage(folder, job["files"], "the job")
    problem = problem or _damage(weights, job["weights"], "the weights")
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        return 3
    if chosen.check:
        print("everything that the job needs is there")
        return 0
    sys.path.insert(0, str(folder))
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([inherited] if inherited else [])])
    from mindport.validate.recording.job import run_job

    asked = {name: getattr(chosen, name) for name in ("device", "mode", "threads", "timeout")}
    try:
        return run_job(folder, job, weights, chosen.output, asked)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _surroundings(job: dict[str, Any]) -> str:
    """Return what is missing here, or nothing."""
    if not _OLDEST <= sys.version_info[:2] < _TOO_NEW:
        return (
            f"this is Python {sys.version.split()[0]}; 3.10, 3.11 or 3.12 is needed. Run the job "
            "with the Python that has the framework."
        )
    absent = [name for name, module in job["needs"].items() if find_spec(module) is None]
    if absent:
        return (
            f"this Python ({sys.executable}) has no {', '.join(absent)}. The job needs "
            f"{', '.join(job['needs'])}; requirements.txt in it has the versions that it was made "
            "with. Run it with the Python that has them."
        )
    return ""


def _damage(folder: Path, files: dict[str, str], what: str) -> str:
    """Return which file is missing or is another, or nothing."""
    for name, meant in files.items():
        path = folder / name
        if not path.is_file():
            asked = " (say where they lie with --weights FOLDER)" if what == "the weights" else ""
            return f"{what} lack {name}{asked}." if asked else f"{what} lacks {name}."
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        if digest.hexdigest() != meant:
            return f"{name} of {what} is not what was packed (its sha256 differs): copy it again."
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
