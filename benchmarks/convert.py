"""What porting a checkpoint costs, against copying the file and against MindSpore's own recipe.

Every measurement is a process of its own, so that its peak memory is its own; the variants take
turns, so that a busy moment of the machine meets all of them. The recipe is that of MindSpore's
FAQ: torch.load, Tensor(p.numpy()), save_checkpoint.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SIZES = {
    "small": {"n_embd": 768, "n_layer": 12, "n_head": 12},
    "medium": {"n_embd": 1024, "n_layer": 24, "n_head": 16},
    "xl": {"n_embd": 1600, "n_layer": 48, "n_head": 25},
}
_begun = 0.0  # when the work of a variant began, its imports done
LIMIT = 10**9  # bytes of addresses, for the variant that is held to it


def make_source(folder: Path, size: str) -> Path:
    """Write a GPT-2 of random weights, as safetensors and as a torch file."""
    from mindport.migrate.architectures import load_architecture
    from mindport.migrate.options import Options
    from mindport.migrate.porting import carry_out, prepare
    from mindport.validate.checkpoints import ReferenceChoice, random_checkpoint

    gpt2 = load_architecture("gpt2")
    config = {**gpt2.sizes["tiny"], "vocab_size": 50257, "n_positions": 1024, **SIZES[size]}
    (folder / "config.json").write_text(json.dumps(config))
    choice = ReferenceChoice("random", folder / "config.json", None, "lm", 0)
    source = random_checkpoint(gpt2, choice, folder / "hf")
    options = Options(file_format="torch", verify=False)
    carry_out(prepare(source, "gpt2", to="torch", options=options), folder / "bin", options)
    return source


def port_with(file_format: str, verify: bool) -> Callable[[Path], None]:
    """Return a variant that ports to MindSpore."""

    def run(folder: Path) -> None:
        from mindport.migrate.options import Options
        from mindport.migrate.porting import carry_out, prepare

        global _begun
        _begun = time.perf_counter()
        options = Options(file_format=file_format, verify=verify)
        carry_out(prepare(folder / "hf", "gpt2", to="mindspore"), folder / "out", options)

    return run


def port_limited(folder: Path) -> None:
    """Port with few addresses, interpreter and all."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    port_with("safetensors", verify=True)(folder)


def follow_recipe(file_format: str) -> Callable[[Path], None]:
    """Return the recipe of the FAQ."""

    def run(folder: Path) -> None:
        import mindspore
        import torch

        global _begun
        _begun = time.perf_counter()
        state = torch.load(folder / "bin" / "pytorch_model.bin", map_location="cpu")
        tensors = [
            {"name": name, "data": mindspore.Tensor(value.numpy())} for name, value in state.items()
        ]
        mindspore.save_checkpoint(tensors, str(folder / "out"), format=file_format)

    return run


def copy(folder: Path) -> None:
    """Copy the file, as ``cp`` does."""
    command = ["cp", str(folder / "hf" / "model.safetensors"), str(folder / "out")]
    subprocess.run(command, check=True)  # noqa: S603


def interpret(folder: Path) -> None:
    """Start the interpreter with what a port imports, and do nothing."""
    import mindport.migrate.porting  # noqa: F401


VARIANTS: dict[str, Callable[[Path], None]] = {
    "cp": copy,
    "interpreter": interpret,
    "safetensors": port_with("safetensors", verify=True),
    "safetensors, no-verify": port_with("safetensors", verify=False),
    "ckpt": port_with("ckpt", verify=True),
    "ckpt, no-verify": port_with("ckpt", verify=False),
    "recipe, safetensors": follow_recipe("safetensors"),
    "recipe, ckpt": follow_recipe("ckpt"),
    "safetensors in 1 GB": port_limited,
}


def measure(variant: str, folder: Path) -> dict[str, float]:
    """Run one variant in a process of its own; return seconds, and MB at the peak."""
    subprocess.run(["rm", "-rf", *map(str, folder.glob("*out*"))], check=True)  # noqa: S603, S607
    subprocess.run(["sync"], check=True)  # noqa: S607
    begin = time.perf_counter()
    done = subprocess.run(  # noqa: S603
        [sys.executable, __file__, "--variant", variant, "--folder", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{variant} failed: {done.stderr[-2000:]}")
    inside = json.loads(done.stdout.splitlines()[-1])
    return {"process": seconds, **inside}


def run_variant(variant: str, folder: Path) -> None:
    """Be the process of one measurement."""
    times = resource.getrusage(resource.RUSAGE_SELF)
    begin, processor = time.perf_counter(), times.ru_utime + times.ru_stime
    VARIANTS[variant](folder)
    work = time.perf_counter() - (_begun or begin)
    children = variant == "cp"
    times = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "work": work,
                "processor": times.ru_utime + times.ru_stime - (0 if children else processor),
                "peak": times.ru_maxrss * 1024 / 1e6,
            }
        )
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", type=Path, help="where to work, such as a RAM disk")
    parser.add_argument("--only", help="variants, separated by ;")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.variant:
        run_variant(chosen.variant, chosen.folder)
        return
    names = chosen.only.split(";") if chosen.only else list(VARIANTS)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(dir=chosen.place) as place:
        folder = Path(place)
        source = make_source(folder, chosen.size) / "model.safetensors"
        size = source.stat().st_size
        for _ in range(chosen.rounds):
            for name in names:
                results[name].append(measure(name, folder))
    print(f"{platform.machine()}, {size / 1e6:,.0f} MB, {chosen.rounds} rounds; medians")
    print("| variant | work s | / cp | process s | / cp | processor s | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, rounds in results.items():
        row = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        ratios = {
            key: statistics.median(
                r[key] / c["work"] for r, c in zip(rounds, results["cp"], strict=True)
            )
            for key in ("work", "process")
        }
        print(
            f"| {name} | {row['work']:.2f} | {ratios['work']:.2f} | {row['process']:.2f} | "
            f"{ratios['process']:.2f} | {row['processor']:.2f} | {row['peak']:.0f} |"
        )


if __name__ == "__main__":
    main()
