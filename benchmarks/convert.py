"""What porting a checkpoint costs, against copying the file and against MindSpore's own recipe.

Every measurement is a process of its own, which tells its peak memory itself; the variants take
turns, so that a busy moment of the machine meets all of them. All of them find the source in memory
(it is read before each) and write to a new file. The recipe is that of MindSpore's FAQ: torch.load,
Tensor(p.numpy()), save_checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sides import describe_machine, quiet_environment

SIZES = {
    "small": {"n_embd": 768, "n_layer": 12, "n_head": 12},
    "medium": {"n_embd": 1024, "n_layer": 24, "n_head": 16},
    "xl": {"n_embd": 1600, "n_layer": 48, "n_head": 25},
}
SOURCE, TORCH_SOURCE = "hf/model.safetensors", "bin/pytorch_model.bin"
LIMIT = 10**9  # bytes of addresses, for the variant that is held to it
_begun = 0.0  # when the work of a variant began, its imports done
Variant = Callable[[Path], None]


def make_source(folder: Path, size: str) -> None:
    """Write a GPT-2 of random weights."""
    from mindport.migrate.architectures import load_architecture
    from mindport.validate.checkpoints import ReferenceChoice, random_checkpoint

    gpt2 = load_architecture("gpt2")
    config = {**gpt2.sizes["tiny"], "vocab_size": 50257, "n_positions": 1024, **SIZES[size]}
    (folder / "config.json").write_text(json.dumps(config))
    choice = ReferenceChoice("random", folder / "config.json", None, "lm", 0)
    random_checkpoint(gpt2, choice, folder / "hf")


def make_torch_source(folder: Path) -> None:
    """Write the same as a torch file, for the recipe."""
    from mindport.migrate.options import Options
    from mindport.migrate.porting import carry_out, prepare

    options = Options(file_format="torch", verify=False)
    carry_out(prepare(folder / "hf", "gpt2", to="torch", options=options), folder / "bin", options)


def begin() -> None:
    """Note that the imports are done."""
    global _begun
    _begun = time.perf_counter()


def port_with(file_format: str, *, verify: bool) -> Variant:
    """Return a variant that ports to MindSpore."""

    def run(folder: Path) -> None:
        from mindport.migrate.options import Options
        from mindport.migrate.porting import carry_out, prepare

        begin()
        options = Options(file_format=file_format, verify=verify)
        carry_out(prepare(folder / "hf", "gpt2", to="mindspore"), folder / "out", options)

    return run


def follow_recipe(file_format: str) -> Variant:
    """Return the recipe of the FAQ."""

    def run(folder: Path) -> None:
        import mindspore
        import torch

        begin()
        state = torch.load(folder / TORCH_SOURCE, map_location="cpu")
        tensors = [
            {"name": name, "data": mindspore.Tensor(value.numpy())} for name, value in state.items()
        ]
        mindspore.save_checkpoint(tensors, str(folder / "out"), format=file_format)

    return run


def call(*command: str | Path) -> None:
    """Run a program to its end."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def copy(folder: Path) -> None:
    """Copy the file, as ``cp`` does: to the system's memory."""
    source = folder / SOURCE if (folder / SOURCE).exists() else folder / TORCH_SOURCE
    call("cp", source, folder / "out")


def copy_to_disk(folder: Path) -> None:
    """Copy the file and wait until it is on the disk, as a port does."""
    copy(folder)
    call("sync", folder / "out")


def copy_and_check(folder: Path) -> None:
    """Copy the file by the system's own tools with what a verified port gives.

    It is on the disk, was read back from there and compared, and both files have their sha256.
    """
    copy_to_disk(folder)
    file = os.open(folder / "out", os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)
    script = 'sha256sum "$1" & sha256sum "$2" && cmp "$1" "$2" && wait'
    call("sh", "-c", script, "sh", folder / SOURCE, folder / "out")


def interpret(folder: Path) -> None:
    """Import what a port imports, and do nothing."""
    import mindport.migrate.porting  # noqa: F401


def interpret_frameworks(folder: Path) -> None:
    """Import what the recipe imports, and do nothing."""
    import mindspore  # noqa: F401
    import torch  # noqa: F401


VARIANTS: dict[str, Variant] = {
    "cp": copy,
    "cp, to the disk": copy_to_disk,
    "cp, read back, cmp, sha256sum": copy_and_check,
    "safetensors": port_with("safetensors", verify=True),
    "safetensors, no-verify": port_with("safetensors", verify=False),
    "ckpt": port_with("ckpt", verify=True),
    "ckpt, no-verify": port_with("ckpt", verify=False),
    "safetensors in 1 GB": port_with("safetensors", verify=True),
    "recipe, safetensors": follow_recipe("safetensors"),
    "recipe, ckpt": follow_recipe("ckpt"),
    "imports of a port": interpret,
    "imports of the recipe": interpret_frameworks,
}


def measure(variant: str, folder: Path) -> dict[str, float]:
    """Run one variant in a process of its own; return seconds, and MB at the peak."""
    for path in folder.glob("*out*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    recipe = "recipe" in variant or not (folder / SOURCE).exists()
    warm(folder / (TORCH_SOURCE if recipe else SOURCE))
    os.sync()
    command: Sequence[str | Path] = (
        sys.executable, __file__, "--variant", variant, "--place", folder
    )  # fmt: skip
    if "in 1 GB" in variant:
        command = ("sh", "-c", f'ulimit -v {LIMIT // 1024}; exec "$@"', "sh", *command)
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, env=quiet_environment()
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{variant} failed: {done.stderr[-2000:]}")
    return {"process": seconds, **json.loads(done.stdout.splitlines()[-1])}


def warm(path: Path) -> None:
    """Read a file, so that it is in the system's memory."""
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass


def run_variant(variant: str, folder: Path) -> None:
    """Be the process of one measurement."""
    begin()
    VARIANTS[variant](folder)
    work = time.perf_counter() - _begun
    times = os.times()
    status = Path("/proc/self/status").read_text()
    # Not ru_maxrss: that is at least what the parent had when it started this process.
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    addresses = int(status.split("VmPeak:")[1].split()[0]) * 1024 / 1e6
    inside = times.children_user + times.children_system if variant[:2] == "cp" else sum(times[:2])
    print(json.dumps({"work": work, "cpu": inside, "peak": peak, "addresses": addresses}))


def print_table(results: dict[str, list[dict[str, float]]]) -> None:
    """Print the medians, and ratios to the copy of the same round."""
    print("| variant | work / `cp` | work / `cp` to the disk | work s | process s | cpu s | MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, rounds in results.items():
        middle = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        ratios = [_ratio(rounds, results.get(f"cp{end}")) for end in ("", ", to the disk")]
        peak = "" if name.startswith("cp") else f"{middle['peak']:.0f}"
        print(
            f"| {name} | {' | '.join(ratios)} | {middle['work']:.2f} | {middle['process']:.2f} | "
            f"{middle['cpu']:.2f} | {peak} |"
        )
    for ours in ("safetensors", "safetensors, no-verify", "ckpt", "ckpt, no-verify"):
        recipe = results.get(f"recipe, {ours.split(',')[0]}")
        if recipe and ours in results:
            print(
                f"recipe / {ours}: work {_ratio(recipe, results[ours])}, process "
                f"{_ratio(recipe, results[ours], 'process')}, cpu "
                f"{_ratio(recipe, results[ours], 'cpu')}"
            )


def _ratio(
    rounds: list[dict[str, float]], others: list[dict[str, float]] | None, key: str = "work"
) -> str:
    """Return the median of the ratios of each round, and the least and greatest."""
    if not others:
        return ""
    ratios = [one[key] / other[key] for one, other in zip(rounds, others, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", type=Path, help="where to work: a disk, not a RAM disk")
    parser.add_argument("--only", help="variants, separated by ;")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.variant:
        run_variant(chosen.variant, chosen.place)
        return
    names = chosen.only.split(";") if chosen.only else list(VARIANTS)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(dir=chosen.place) as place:
        folder = Path(place)
        make_source(folder, chosen.size)
        size = (folder / SOURCE).stat().st_size
        if any("recipe" in name for name in names):
            make_torch_source(folder)
        print(f"{describe_machine()}, {size / 1e6:,.0f} MB, {chosen.rounds} rounds", flush=True)
        for _ in range(chosen.rounds):
            for name in names:
                results[name].append(measure(name, folder))
                print(f"{name}: {results[name][-1]}", file=sys.stderr, flush=True)
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    print_table(results)


if __name__ == "__main__":
    main()
