"""Feed damaged files to the readers: ``python -m tests.fuzz.run --target npz --runs 100000``.

``--engine own`` needs nothing; ``--engine atheris`` is guided by coverage and needs ``atheris``.
Finds are kept, once per place in the code; the exit code is 1 if there were any.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import sys
import time
import traceback
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
MEMORY = 512 << 20  # bytes above what the process has when it starts


class Finds:
    """Inputs that were answered neither with tensors nor with one clear error.

    Args:
        folder: Where to keep them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: dict[str, int] = {}

    def keep(self, target: str, data: bytes, error: BaseException) -> None:
        """Keep an input, unless one was kept that fails at the same place."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} {Path(last.filename).name}:{last.lineno} {error!s:.80}"
        key = place.split(" ", 2)[:2] if not isinstance(error, AssertionError) else [place]
        self.places[" ".join(key)] = self.places.get(" ".join(key), 0) + 1
        if self.places[" ".join(key)] > 1:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{target}-{hashlib.sha256(data).hexdigest()[:12]}"
        (self.folder / name).write_bytes(data)
        print(f"FIND {name}: {place}", flush=True)
        traceback.print_exception(error, limit=-4)


def limit_memory() -> None:
    """Make an allocation fail that takes more than :data:`MEMORY` beyond what there is now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def seeds_of(target: str) -> list[bytes]:
    """Return the files of the corpus for one reader."""
    return [file.read_bytes() for file in sorted((CORPUS / target).iterdir())]


def run_own(target: str, runs: int, seed: int, finds: Finds) -> int:
    """Mutate without guidance. Returns how many inputs were accepted."""
    from tests.fuzz.harness import ask_owner, examine_memory
    from tests.fuzz.mutate import mutate

    rng = random.Random(seed)
    seeds = seeds_of(target)
    alive = list(seeds)  # what was accepted lately, to be changed further
    accepted = 0
    started = time.monotonic()
    for done in range(1, runs + 1):
        data = mutate(target, rng.choice(alive if rng.random() < 0.5 else seeds), seeds, rng)
        try:
            if examine_memory(target, data):
                accepted += 1
                ask_owner(target, data)
                alive.append(data)
                if len(alive) > 200:
                    alive[rng.randrange(len(alive))] = alive.pop()
        except Exception as error:  # any kind of exception is what is looked for
            finds.keep(target, data, error)
        if done % 10_000 == 0:
            rate = done / (time.monotonic() - started)
            print(f"{target}: {done} runs, {accepted} accepted, {rate:.0f}/s", flush=True)
    return accepted


def run_atheris(target: str, runs: int, seed: int, finds: Finds) -> None:
    """Mutate guided by coverage; atheris ends the process."""
    import atheris

    with atheris.instrument_imports(include=["mindport.migrate.checkpoints"]):
        from tests.fuzz.harness import examine_memory
    from tests.fuzz.mutate import mutate

    seeds = seeds_of(target)

    def examine(data: bytes) -> None:
        try:
            examine_memory(target, data)
        except Exception as error:  # any kind of exception is what is looked for
            finds.keep(target, data, error)

    def change(data: bytes, most: int, seed: int) -> bytes:
        if seed % 4 == 0:
            return atheris.Mutate(data, most)
        return mutate(target, data, seeds, random.Random(seed))[:most]

    grown = finds.folder / f"corpus-{target}"
    grown.mkdir(parents=True, exist_ok=True)
    options = [f"-runs={runs}", f"-seed={seed}", "-timeout=0", "-max_len=65536", "-rss_limit_mb=0"]
    atheris.Setup(
        [sys.argv[0], *options, str(grown), str(CORPUS / target)], examine, custom_mutator=change
    )
    limit_memory()
    atheris.Fuzz()


def main() -> int:
    """Parse, run, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    targets = sorted(folder.name for folder in CORPUS.iterdir())
    parser.add_argument("--target", choices=targets, action="append", help="default: all")
    parser.add_argument("--runs", type=int, default=100_000, help="per target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("own", "atheris"), default="own")
    parser.add_argument("--finds", type=Path, default=Path("build/fuzz"))
    asked = parser.parse_args()
    finds = Finds(asked.finds)
    if asked.engine == "atheris":
        if len(asked.target or ()) != 1:
            parser.error("--engine atheris takes one --target")
        run_atheris(asked.target[0], asked.runs, asked.seed, finds)
    else:
        limit_memory()
        for target in asked.target or targets:
            accepted = run_own(target, asked.runs, asked.seed, finds)
            print(f"{target}: {asked.runs} runs, {accepted} accepted")
    print(f"{len(finds.places)} finds{f' in {asked.finds}' if finds.places else ''}")
    return 1 if finds.places else 0


if __name__ == "__main__":
    sys.exit(main())
