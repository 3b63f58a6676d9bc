"""Processes that take turns: what the benchmarks that compare whole frameworks share."""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

Times = dict[str, list[float]]  # "seconds" and "cpu", by round
_LAST = 4000  # bytes of what a side that died has said


class Side:
    """A process that does what it is told, one line of JSON at a time.

    Args:
        command: What starts it; it says what it is in its first line.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=quiet_environment(),
        )
        self.about = self._read()

    def ask(self, work: Mapping[str, Any]) -> dict[str, float]:
        """Return wall and processor seconds of some work."""
        if self._process.stdin is None:
            raise AssertionError("it was opened")
        self._process.stdin.write(json.dumps(work) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._said.close()

    def _read(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise AssertionError("it was opened")
        line = self._process.stdout.readline()
        if not line:
            print(f"{self._process.args} ended with {self._process.wait()}:", file=sys.stderr)
            self._said.seek(0)
            print(self._said.read()[-_LAST:].decode("utf-8", "replace"), file=sys.stderr)
            raise SystemExit(3)
        answer: dict[str, Any] = json.loads(line)
        return answer


def quiet_environment() -> dict[str, str]:
    """Return the environment for a side: offline, and threads that wait do not spin.

    Python may keep the bytecode of what it compiles, as pip does for what it installs: otherwise
    the source of this project would be compiled again by every process, and the frameworks not.
    """
    quiet = {"HF_HUB_OFFLINE": "1", "GLOG_v": "3", "TOKENIZERS_PARALLELISM": "false"}
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **quiet, "OMP_WAIT_POLICY": "PASSIVE"}


def take_turns(
    sides: Mapping[str, Side], work: Mapping[str, Any], rounds: int
) -> tuple[dict[str, Times], dict[str, float]]:
    """Let every side do the same work in every round, in random order, one at a time.

    Returns:
        Seconds by side; and those of the first run, which is not counted: it compiles.
    """
    first = {name: side.ask(work)["seconds"] for name, side in sides.items()}
    times: dict[str, Times] = {name: {"seconds": [], "cpu": []} for name in sides}
    for number in range(rounds):
        for name in random.sample(sorted(sides), len(sides)):
            for kind, value in sides[name].ask(work).items():
                times[name][kind].append(value)
        said = {name: round(found["seconds"][-1], 3) for name, found in times.items()}
        print(f"round {number + 1} of {rounds}: {said}", file=sys.stderr, flush=True)
    return times, first


def ratio(times: Times, reference: Times, kind: str) -> str:
    """Return the ratio of the medians, and in brackets the least and greatest of a round."""
    middle = statistics.median(times[kind]) / statistics.median(reference[kind])
    rounds = [one / other for one, other in zip(times[kind], reference[kind], strict=True)]
    return f"{middle:.2f} ({min(rounds):.2f} to {max(rounds):.2f})"


def describe_machine() -> str:
    """Return what the figures were measured on."""
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
