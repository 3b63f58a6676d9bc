"""Kill ports at random moments: what is there then, and what the next run makes of it.

``python -m tests.migrate.kills 200`` from the root kills 200 of them, each after another moment.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mindport.migrate.errors import MindportError
from mindport.migrate.manifest import sha256_of
from mindport.migrate.options import Options
from mindport.migrate.porting import carry_out, prepare
from mindport.migrate.streaming import feed, read_back, sink, verify, weights

OPTIONS = Options(max_shard_bytes=150_000)


def hashes_of(folder: Path) -> dict[str, str]:
    """Return the hash of every file of a folder."""
    return {file.name: sha256_of(file) for file in sorted(folder.iterdir())}


def start(source: Path, destination: Path, options: Options) -> int:
    """Port in a process of its own and return its id; small chunks make many moments."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        for module in (weights, feed, verify):
            module.CHUNK = 1 << 12
        read_back.BLOCK = 1 << 12
        sink.FLUSH_BYTES = 1 << 15
        carry_out(prepare(source, "gpt2"), destination, options)
        code = 0
    except MindportError as error:
        code = 2
        print(error, file=sys.stderr)
    finally:
        os._exit(code)


def port_whole(source: Path, destination: Path, options: Options) -> float:
    """Port without a kill and return the seconds that it took."""
    begin = time.monotonic()
    _, status = os.waitpid(start(source, destination, options), 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return time.monotonic() - begin


def state_of(destination: Path) -> str:
    """Name how far a killed process came, by what it left."""
    work = destination.with_name(f".{destination.name}.partial")
    if not work.exists():
        return "published" if destination.exists() else "not begun"
    if not (work / "files").exists():
        return "published, not tidied" if destination.exists() else "locked"
    finished = (work / "journal.json").exists()
    written = len(list((work / "files").glob("model*")))
    if (work / "files" / "config.json").exists():
        return "all parts whole"
    return f"{written} parts, journal" if finished else f"{written} parts, no journal"


def kill_many(count: int, source: Path, folder: Path, seed: int) -> Counter[str]:
    """Kill ``count`` ports; assert that nothing partial has a final name and reruns are the same.

    Every third replaces an older destination, which must be there, whole, until the new one is.

    Returns:
        How often a process was killed in which state.
    """
    moments = random.Random(seed)
    port_whole(source, folder / "wanted", OPTIONS)
    wanted = hashes_of(folder / "wanted")
    states: Counter[str] = Counter()
    for number in range(count):
        destination = folder / "ms"
        replaces = number % 3 == 2
        options = Options(max_shard_bytes=OPTIONS.max_shard_bytes, force=replaces)
        if replaces:
            destination.mkdir()
            (destination / "old").write_text("old")
        seconds = port_whole(source, folder / "clock", OPTIONS)
        shutil.rmtree(folder / "clock")
        child = start(source, destination, options)
        time.sleep(moments.uniform(0, 1.1 * seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        states[state_of(destination)] += 1
        found = hashes_of(destination) if destination.exists() else {}
        assert found == wanted or list(found) == ["old"] * replaces, (number, found)
        if found != wanted or folder.joinpath(".ms.partial").exists():
            port_whole(source, destination, options)
        assert hashes_of(destination) == wanted, number
        assert sorted(p.name for p in folder.iterdir()) == ["ms", "wanted"], number
        shutil.rmtree(destination)
    return states


def main() -> None:
    """Kill as many as the command line says."""
    from tests.conftest import make_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        source = make_checkpoint(Path(folder) / "source", "gpt2", "lm")
        work = Path(folder) / "work"
        work.mkdir()
        for state, times in sorted(kill_many(int(sys.argv[1]), source, work, 0).items()):
            print(f"{times:5} {state}")


if __name__ == "__main__":
    main()
