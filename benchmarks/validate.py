"""The whole of ``validate`` against the least that it could do, as a ratio.

    python benchmarks/validate.py

The least is two processes side by side, each of which imports a framework, loads the weights and
runs one forward: nothing is compared. ``validate`` imports the same, and then runs each side
twice, the reference in other orders and in float64 too, recomputes every operation in float64
with disturbed copies, and diagnoses. The two take turns; processor time, children included, is
the better figure on a busy machine. Where the wall time of ``validate`` goes is listed by stage.

Exit codes: 0 measured, 1 a verdict was not a pass, 2 bad options.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sides import Times, describe_machine, quiet_environment, ratio

from mindport.migrate import port, prepare
from mindport.migrate.architectures import load_architecture
from mindport.validate.checkpoints import ReferenceChoice, embedded_checkpoint, random_checkpoint

BATCH, LENGTH = 4, 64  # what validate feeds by default
HERE = Path(__file__).parent
STAGES = """
import json, sys, time
marks = [("imports", time.perf_counter())]
from mindport.validate import validate
def stage(progress):
    if progress.stage != marks[-1][0]: marks.append((progress.stage, time.perf_counter()))
name, checkpoint, mode = sys.argv[1:]
verdict = validate(name, checkpoint=checkpoint, mode=mode, on_progress=stage)
parts = {n: b - a for (n, a), (_, b) in zip(marks, marks[1:])}
print(json.dumps({"parts": parts, "outcome": verdict.verdict, "headline": verdict.headline,
                  "timings": dict(verdict.timings)}, default=str))
"""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--architectures", nargs="+", choices=["gpt2", "bert"],
                        default=["gpt2", "bert"])  # fmt: skip
    parser.add_argument("--sizes", nargs="+", choices=["embedded", "base"],
                        default=["embedded", "base"])  # fmt: skip
    parser.add_argument("--mode", choices=["eager", "graph"], default="eager")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    print(f"{describe_machine()}; {options.rounds} rounds; {options.mode} mode\n")
    rows, listed = [], []
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        for architecture in options.architectures:
            for size in options.sizes:
                name = f"{architecture}, {size}"
                print(name, file=sys.stderr, flush=True)
                folder, ported = weights(architecture, size, Path(scratch))
                times, parts = measure(architecture, folder, ported, options)
                wall, used = (
                    ratio(times["validate"], times["bare"], k) for k in ("seconds", "cpu")
                )
                rows.append(f"| {name} | {wall} | {used} |")
                total = statistics.median(times["validate"]["seconds"])
                shares = ", ".join(f"{part} {100 * t / total:.0f} %" for part, t in parts.items())
                listed.append(f"- {name}: {shares}")
    print("| | validate / bare, wall | processor |\n|---|---|---|")
    print("\n".join(rows))
    print("\nShares of the wall time of validate, medians; those of a side lie within the stage in")
    print("which both run:\n")
    print("\n".join(listed))
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


def weights(architecture: str, size: str, scratch: Path) -> tuple[Path, Path]:
    """Return the reference's folder and its port, which the bare forward starts from."""
    described = load_architecture(architecture)
    if size == "embedded":
        folder = embedded_checkpoint(architecture)
    else:
        choice = ReferenceChoice("random", None, size, described.default_head, 0)
        folder = random_checkpoint(described, choice, scratch / f"{architecture}-{size}")
    ported = scratch / f"{architecture}-{size}-ported"
    return folder, port(prepare(folder, architecture), ported)


def measure(
    architecture: str, folder: Path, ported: Path, options: argparse.Namespace
) -> tuple[dict[str, Times], dict[str, float]]:
    """Return seconds by variant, and the median seconds of each stage of ``validate``."""
    parts: list[dict[str, float]] = []

    def validate() -> None:
        command = [sys.executable, "-c", STAGES, architecture, str(folder), options.mode]
        done = subprocess.run(  # noqa: S603
            command, check=True, capture_output=True, text=True, env=quiet_environment()
        )
        said = json.loads(done.stdout.splitlines()[-1])
        if said["outcome"] != "pass":
            raise SystemExit(f"The verdict is {said['outcome']}: {said['headline']}")
        sides = {
            f"{side} {part}": seconds
            for side, found in said["timings"].items()
            for part, seconds in found.items()
            if part != "peak_memory_bytes"
        }
        parts.append(said["parts"] | sides)

    def bare() -> None:
        name = json.loads((folder / "config.json").read_text("utf-8"))["architectures"][0]
        program = [sys.executable, str(HERE / "validate_bare.py")]
        rest = [str(BATCH), str(LENGTH)]
        commands = [
            [*program, "torch", name, str(folder), *rest],
            [*program, options.mode, name, str(ported), *rest],
        ]
        started = [
            subprocess.Popen(c, env=quiet_environment(), stderr=subprocess.DEVNULL)  # noqa: S603
            for c in commands
        ]
        if any(process.wait() for process in started):
            raise SystemExit("A bare forward failed.")

    variants: dict[str, Callable[[], None]] = {"validate": validate, "bare": bare}
    for run in variants.values():  # fills the page cache
        run()
    parts.clear()
    times: dict[str, Times] = {name: {"seconds": [], "cpu": []} for name in variants}
    for number in range(options.rounds):
        for name in random.sample(sorted(variants), len(variants)):
            started, used = time.perf_counter(), children()
            variants[name]()
            times[name]["seconds"].append(time.perf_counter() - started)
            times[name]["cpu"].append(children() - used)
        said = {name: [round(v[-1], 1) for v in found.values()] for name, found in times.items()}
        print(f"round {number + 1} of {options.rounds}: {said}", file=sys.stderr, flush=True)
    return times, {n: statistics.median(p[n] for p in parts) for n in parts[0]}


def children() -> float:
    """Return the processor time of all processes that have ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
