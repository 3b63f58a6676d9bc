"""Our networks against torch and MindNLP: forwards and decoding at full size, as ratios.

    python benchmarks/forward.py --mindnlp-python PATH

GPT-2 (12 layers of 768, 50257 tokens) and BERT (12 of 768, 30522), random weights, float32, on the
CPU. Each side is a process of its own that stays alive; in every round all of them do the same
work, one at a time and in random order, so that a busy moment of the machine meets all. The
reference is ``transformers`` on torch in ``inference_mode`` with its usual attention (SDPA).
Decoding is greedy with a cache: ours by ``generate``, torch's by a plain loop.

Exit codes: 0 measured, 2 bad options, 3 a side does not start.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

from sides import Side, Times, describe_machine, ratio, take_turns

REFERENCE = "torch sdpa"
SIDES = {
    REFERENCE: ("torch", "sdpa"),
    "torch eager": ("torch", "eager"),
    "ours graph": ("mindspore", "graph"),
    "ours eager": ("mindspore", "eager"),
    "MindNLP": ("mindnlp", "eager"),
}
KINDS = {"seconds": "Wall time", "cpu": "Processor time"}
PROGRAM = str(Path(__file__).with_name("forward_side.py"))


def main() -> None:
    """Measure and print two tables, of wall and of processor time."""
    options = parse_options()
    print(f"{describe_machine()}; {options.rounds} rounds\n")
    tables: dict[str, list[str]] = {kind: [] for kind in KINDS}
    notes = []
    for architecture in options.architectures:
        sides = start(architecture, options)
        try:
            for name, work in works(architecture, options).items():
                print(f"{architecture}, {name}", file=sys.stderr, flush=True)
                # MindNLP's cache is transformers' own; what is asked of it is the forward.
                doing = {n: s for n, s in sides.items() if n != "MindNLP" or not work["new"]}
                times, first = take_turns(doing, work, options.rounds)
                for kind, rows in tables.items():
                    cells = [cell(times, side, kind) for side in SIDES if side != REFERENCE]
                    middle = statistics.median(times[REFERENCE][kind])
                    rows.append(
                        f"| {architecture}, {name} | {middle:.2f} s | {' | '.join(cells)} |"
                    )
                if "ours graph" in first:
                    seconds = first["ours graph"]
                    notes.append(f"{architecture}, {name}: first run of a graph {seconds:.1f} s")
            versions = {
                n: ", ".join(f"{k} {v}" for k, v in s.about.items()) for n, s in sides.items()
            }
        finally:
            for side in sides.values():
                side.close()
    heads = [side for side in SIDES if side != REFERENCE]
    for kind, rows in tables.items():
        print(f"{KINDS[kind]}, over {REFERENCE}: of medians (least to greatest of a round)\n")
        print(f"| | {REFERENCE} | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 2)}")
        print("\n".join(rows) + "\n")
    for line in [*notes, *(f"{name}: {said}" for name, said in versions.items())]:
        print(f"- {line}")
    print(f"- load at the end {os.getloadavg()[0]:.1f}")


def cell(times: dict[str, Times], side: str, kind: str) -> str:
    """Return the entry of a side, which may not have been measured."""
    return ratio(times[side], times[REFERENCE], kind) if side in times else "not run"


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shapes", nargs="*", default=["8x64", "4x512"], metavar="BATCHxLENGTH")
    parser.add_argument("--decode", nargs="*", type=int, default=[1, 8], metavar="BATCH",
                        help="batches to decode 64 tokens for, after 64")  # fmt: skip
    parser.add_argument("--architectures", nargs="+", choices=["gpt2", "bert"],
                        default=["gpt2", "bert"])  # fmt: skip
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--mindnlp-python", help="of an environment with MindNLP; or it is not run")
    parser.add_argument("--threads", type=int, help="of each side; by default its own choice")
    parser.add_argument("--quick", action="store_true", help="8x64 alone, 3 rounds, no decoding")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.shapes, options.decode = 3, ["8x64"], []
    for shape in options.shapes:
        batch, _, length = shape.partition("x")
        if not (batch.isdigit() and length.isdigit() and int(batch) and int(length)):
            parser.error(f"--shapes: {shape} is not BATCHxLENGTH, as 8x64 is")
        if int(length) > 512:  # BERT's positions
            parser.error(f"--shapes: {shape} is longer than 512")
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    if options.mindnlp_python and not os.access(options.mindnlp_python, os.X_OK):
        parser.error(f"--mindnlp-python: there is no Python at {options.mindnlp_python}")
    return options


def works(architecture: str, options: argparse.Namespace) -> dict[str, dict[str, int]]:
    """Return what is to be measured, by name."""
    found = {}
    for shape in options.shapes:
        batch, length = map(int, shape.split("x"))
        found[f"{batch} x {length}"] = {"batch": batch, "length": length, "new": 0}
    for batch in options.decode if architecture == "gpt2" else []:
        found[f"decoding 64 after 64, batch {batch}"] = {"batch": batch, "length": 64, "new": 64}
    return found


def start(architecture: str, options: argparse.Namespace) -> dict[str, Side]:
    """Start the sides that are wanted, the reference always."""
    threads = [str(options.threads)] if options.threads else []
    sides = {}
    for name, (framework, mode) in SIDES.items():
        if name not in options.sides and name != REFERENCE:
            continue
        if framework == "mindnlp" and not options.mindnlp_python:
            continue
        python = options.mindnlp_python if framework == "mindnlp" else sys.executable
        print(f"starting {name}", file=sys.stderr, flush=True)
        sides[name] = Side([python, PROGRAM, framework, mode, architecture, *threads])
    return sides


if __name__ == "__main__":
    main()
