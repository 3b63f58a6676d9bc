"""What comparing two captures costs, against reading them and against plain NumPy.

Every measurement is a process of its own, so that its peak memory is its own; the variants take
turns, so that a busy moment of the machine meets all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from safetensors import safe_open

from mindport.validate.pairs import bits
from mindport.validate.pairs.accumulate import CHUNK, Accumulator
from mindport.validate.pairs.facts import compare_streams
from mindport.validate.pairs.stored import StoredTensor

BLOCKS, SEQ, WIDTH, VOCAB = 24, 1024, 1024, 8192
NOISE = 3e-7  # relative to values of scale 1: what a correct port shows
AIM = 2.0
READ_BYTES = 1 << 18  # the fastest here: the buffer stays in cache
SIDES = ("reference", "candidate")


def list_taps(batch: int) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Name the taps of a GPT-2 like capture with their shapes."""
    yield "embeddings", (batch, SEQ, WIDTH)
    for block in range(BLOCKS):
        for part in (".attention", ".mlp", ""):
            yield f"block.{block}{part}", (batch, SEQ, WIDTH)
    yield "final_norm", (batch, SEQ, WIDTH)
    yield "logits", (batch, SEQ, VOCAB)


def make_captures(folder: Path, size: float) -> int:
    """Write both sides, tap by tap; return the bytes of one."""
    one = sum(4 * int(np.prod(shape)) for _, shape in list_taps(1))
    taps = dict(list_taps(-(-int(size * 2**30) // one)))
    header: dict[str, object] = {}
    end = 0
    for name, shape in taps.items():
        start, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(0)
    with (folder / SIDES[0]).open("wb") as first, (folder / SIDES[1]).open("wb") as second:
        for file in (first, second):
            file.write(len(text).to_bytes(8, "little") + text)
        for shape in taps.values():
            for _ in range(shape[0]):
                values = rng.standard_normal(shape[1:], dtype=np.float32)
                values.tofile(first)
                noise = rng.standard_normal(shape[1:], dtype=np.float32) * np.float32(NOISE)
                (values + noise).tofile(second)
    return end


def read(folder: Path) -> None:
    """Read both files once into a reused buffer."""
    buffer = bytearray(READ_BYTES)
    for side in SIDES:
        descriptor = os.open(folder / side, os.O_RDONLY)
        offset = 0
        while got := os.preadv(descriptor, [buffer], offset):
            offset += got
        os.close(descriptor)


def naive(folder: Path) -> None:
    """Get the same figures from expressions over whole taps."""
    with (
        safe_open(str(folder / SIDES[0]), framework="numpy") as first,
        safe_open(str(folder / SIDES[1]), framework="numpy") as second,
    ):
        for name in first.keys():  # noqa: SIM118 - it is no mapping
            naive_pair(first.get_tensor(name), second.get_tensor(name))


def naive_pair(r: np.ndarray, c: np.ndarray) -> dict[str, object]:
    """Return the figures of one tap."""
    a, b = r.astype(np.float64), c.astype(np.float64)
    difference = np.abs(b - a)
    distance = bits.ulp_distance(r, c, "float32")
    differing = r != c
    figures: dict[str, object] = {
        "max_abs": difference.max(),
        "mean_abs": difference.mean(),
        "reference_rms": np.sqrt(np.mean(a * a)),
        "difference_rms": np.sqrt(np.mean(difference * difference)),
        "cosine": np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)),
        "worst_index": np.unravel_index(difference.argmax(), r.shape),
        "equal": 1 - differing.mean(),
        "ulps": bits.count_distances(distance),
        "max_ulp": distance.max(),
        "first_difference": differing.argmax(),
    }
    for side, values in zip(SIDES, (r, c), strict=True):
        for kind in (np.isnan, np.isposinf, np.isneginf):
            found = kind(values)
            figures[f"{side} {kind.__name__}"] = (found.sum(), found.argmax())
    return figures


def ours(folder: Path) -> None:
    """Compare every tap in one pass."""
    for name, _ in list_taps(1):
        compare_streams(*(StoredTensor(folder / side, name) for side in SIDES), threads=1)


def ours_two_threads(folder: Path) -> None:
    """Compare every tap in one pass that two threads share."""
    for name, _ in list_taps(1):
        compare_streams(*(StoredTensor(folder / side, name) for side in SIDES), threads=2)


def arithmetic(folder: Path) -> None:
    """Do the arithmetic for as many elements on one chunk that stays in cache, on one thread."""
    rng = np.random.default_rng(0)
    r = rng.standard_normal(CHUNK, dtype=np.float32)
    c = r + rng.standard_normal(CHUNK, dtype=np.float32) * np.float32(NOISE)
    accumulator = Accumulator("float32", CHUNK)
    for _ in range((folder / SIDES[0]).stat().st_size // r.nbytes):
        accumulator.add(r, c, lambda index: index)


VARIANTS: dict[str, Callable[[Path], object]] = {
    "read": read,
    "ours": ours,
    "ours, two threads": ours_two_threads,
    "arithmetic": arithmetic,
    "naive": naive,
}


def measure_here(variant: str, folder: Path) -> None:
    """Run one variant and print its seconds, processor seconds and peak memory."""
    start, used = time.perf_counter(), time.process_time()
    VARIANTS[variant](folder)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu": used, "peak": peak}))


def run_here(task: str, folder: Path, *options: str) -> str:
    """Run this file in a process of its own; return what it prints."""
    command = [sys.executable, __file__, "--measure", task, "--folder", str(folder), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout


def spread(values: list[float]) -> str:
    """Return min / median / max."""
    return f"{min(values):.2f} / {statistics.median(values):.2f} / {max(values):.2f}"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-gb", type=float, default=1.0, help="of each capture, at least")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", choices=[*VARIANTS, "make"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure == "make":
        print(make_captures(given.folder, given.size_gb))
        return
    if given.measure:
        measure_here(given.measure, given.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A child's ru_maxrss starts at its parent's, so the parent stays small.
        size = int(run_here("make", folder, "--size-gb", str(given.size_gb)))
        rounds = [
            {variant: json.loads(run_here(variant, folder)) for variant in VARIANTS}
            for _ in range(given.rounds)
        ]
    report(size, given.rounds, rounds, given.size_gb)


def report(
    size: int, count: int, rounds: list[dict[str, dict[str, float]]], size_gb: float
) -> None:
    """Print ratios of every round's measurements, and what limits them."""

    def ratios(one: str, other: str, what: str = "seconds") -> list[float]:
        return [found[one][what] / found[other][what] for found in rounds]

    print(f"python benchmarks/compare.py --size-gb {size_gb:g} --rounds {count}")
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}; two "
        f"captures of {size / 2**30:.2f} GiB in the page cache; {count} rounds; "
        f"{CHUNK} elements a chunk\n"
    )
    print("| ratio | min / median / max |\n| --- | --- |")
    against_reading = ratios("ours", "read")
    print(f"| ours / reading both files once | {spread(against_reading)} |")
    print(f"| with two threads | {spread(ratios('ours, two threads', 'read'))} |")
    print(f"| ours / reading, in processor time | {spread(ratios('ours', 'read', 'cpu'))} |")
    print(f"| ours / plain NumPy | {spread(ratios('ours', 'naive'))} |")
    print(f"| plain NumPy / reading | {spread(ratios('naive', 'read'))} |")
    alone = ratios("arithmetic", "read", "cpu")
    print(f"| arithmetic of ours in cache, one thread / reading, processor | {spread(alone)} |\n")
    print("| | peak memory, MiB |\n| --- | --- |")
    for variant in VARIANTS:
        print(f"| {variant} | {max(found[variant]['peak'] for found in rounds):.0f} |")
    if statistics.median(against_reading) <= AIM:
        print(f"\nThe aim, at most {AIM:g} times reading, is reached.")
        return
    print(
        f"\nThe aim, at most {AIM:g} times reading, is missed. Arithmetic limits it: with all data "
        f"in cache it takes one thread {statistics.median(alone):.1f} times as long as reading. "
        "Above that are the reading itself and cores that others use: the load "
        f"was {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    )


if __name__ == "__main__":
    main()
