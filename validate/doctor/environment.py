"""An interpreter and what is installed in it: facts from metadata, and trials in processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.validate.environments.code import isolated
from mindport.validate.environments.finding import is_managed

_PROBE = Path(__file__).with_name("probe.py")
_FACTS_SECONDS = 60.0
_LAST_LINES = 6
_AT_ONCE = 2
_QUIET = {"GLOG_v": "3", "TOKENIZERS_PARALLELISM": "false"}

End = Literal["ok", "raised", "crashed", "hung"]


@dataclass(frozen=True)
class Distribution:
    """An installed distribution.

    Attributes:
        name: As the index spells it.
        version: Its version.
        location: The folder that it is installed in.
        claims: Which of the watched top-level names it installs.
    """

    name: str
    version: str
    location: str
    claims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Something on the path that has the name of a package.

    Attributes:
        entry: The entry of the path.
        path: The file or folder.
        kind: ``package``, ``module``, or ``folder`` without ``__init__.py``.
    """

    entry: str
    path: str
    kind: str


@dataclass(frozen=True)
class Module:
    """Where a top-level name is found.

    Attributes:
        origin: The file that an import runs, or the folder; empty if there is none.
        places: Everything on the path with the name, in order.
    """

    origin: str = ""
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What an interpreter has.

    Attributes:
        python: ``version``, ``implementation``, ``executable``, ``prefix``, ``bits``.
        platform: ``system``, ``machine``, ``release``, ``libc``.
        distributions: What is installed of what matters; one of them twice if its metadata is.
        modules: Where each watched name is found.
        plugins: Device plugins in the wheel of MindSpore.
        path: Where the interpreter looks for modules.
    """

    python: Mapping[str, Any]
    platform: Mapping[str, str]
    distributions: tuple[Distribution, ...] = ()
    modules: Mapping[str, Module] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    path: tuple[str, ...] = ()

    def installed(self, *names: str) -> Distribution | None:
        """Return the first distribution of these names, or None."""
        return next((d for name in names for d in self.distributions if d.name == name), None)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Facts:
        """Read what the probe wrote."""
        return cls(
            python=content["python"],
            platform=content["platform"],
            distributions=tuple(
                Distribution(d["name"], d["version"], d["location"], tuple(d["claims"]))
                for d in content["distributions"]
            ),
            modules={
                name: Module(m["origin"], tuple(Place(**place) for place in m["places"]))
                for name, m in content["modules"].items()
            },
            plugins=tuple(content["plugins"]),
            path=tuple(content["path"]),
        )


@dataclass(frozen=True)
class Trial:
    """What came of importing a framework and computing on a device.

    Attributes:
        name: The framework.
        device: Where it was to compute; empty if it was only imported.
        end: How the process ended.
        version: What the framework calls its version; empty if the import failed.
        seconds: How long the import took, or the whole until it ended badly.
        message: What went wrong, in the framework's words.
        where: The device's own name, if it computed.
        sees: Which other devices the framework says are there.
        last_lines: The last output, if it died.
    """

    name: str
    device: str
    end: End
    version: str = ""
    seconds: float = 0.0
    message: str = ""
    where: str = ""
    sees: Mapping[str, bool] | None = None
    last_lines: tuple[str, ...] = ()

    @property
    def imported(self) -> bool:
        """Whether the import went well, whatever came after."""
        return bool(self.version) or self.end == "ok"


def find_environment(name: str | None) -> Path:
    """Return the interpreter that a user names.

    Args:
        name: An interpreter, the folder of a virtual environment, or the name of a conda
            environment; None is this interpreter.

    Raises:
        MindportError: If there is none.
    """
    if name is None:
        return Path(sys.executable)
    path = Path(name).expanduser()
    candidates = [path, path / "bin" / "python"]
    if os.sep not in name:
        candidates += [folder / "bin" / "python" for folder in _conda_environments(name)]
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.absolute()
    raise MindportError(
        f"There is no Python at {name}, and no environment of that name.",
        "Give an interpreter, the folder of a virtual environment, or a conda environment's name.",
    )


def _conda_environments(name: str) -> list[Path]:
    try:
        known = (Path.home() / ".conda" / "environments.txt").read_text(encoding="utf-8")
    except (OSError, RuntimeError):
        return []
    return [Path(line) for line in known.splitlines() if Path(line).name == name]


def gather_facts(python: Path) -> Facts:
    """Ask an interpreter what it has; no framework is imported.

    Raises:
        EnvironmentUnavailableError: If the interpreter does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="mindport-doctor-") as scratch:
        out = Path(scratch) / "facts.json"
        end, said = _run(python, ["facts", str(out)], Path(scratch), _FACTS_SECONDS)
        if end != "ok" or not out.is_file():
            last = said[-1] if said else f"it {end}"
            raise EnvironmentUnavailableError(
                f"The interpreter {python} does not answer: {last}.",
                "Give --python the path of a Python 3.7 or newer that starts.",
            )
        return Facts.from_json(json.loads(out.read_text(encoding="utf-8")))


def try_all(python: Path, wanted: Sequence[tuple[str, str]], timeout: float) -> tuple[Trial, ...]:
    """Import frameworks and compute, each in a process of its own.

    Args:
        python: The interpreter.
        wanted: Framework and device; an empty device only imports.
        timeout: Seconds for each.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(lambda pair: try_one(python, pair[0], pair[1], timeout), wanted))


def try_one(python: Path, name: str, device: str, timeout: float) -> Trial:
    """Import a framework and compute on a device, in a process of its own."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mindport-doctor-") as scratch:
        out = Path(scratch) / "steps.jsonl"
        end, said = _run(python, ["try", name, device, str(out)], Path(scratch), timeout)
        text = out.read_text(encoding="utf-8") if out.is_file() else ""
    steps = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    by_step = {step["step"]: step for step in steps}
    imported = by_step.get("imported", {})
    message = ""
    if raised := by_step.get("raised"):
        end = "raised"
        message = f"{raised['error']}: {raised['message']} ({raised['place']})"
    elif end == "hung":
        message = f"did not end within {timeout:g} s and was stopped"
    elif end == "crashed":
        message = said.pop() if said else "the process ended without a word"
    elif (done := by_step.get("computed")) and not done["right"]:
        end, message = "raised", f"a product of ones summed to {done['total']}"
    return Trial(
        name=name,
        device=device,
        end=end,
        version=imported.get("version", "") or ("?" if imported else ""),
        seconds=imported.get("seconds", round(time.monotonic() - started, 2)),
        message=message,
        where=by_step.get("computed", {}).get("where", ""),
        sees={s["device"]: s["available"] for s in steps if s["step"] == "sees"},
        last_lines=tuple(said[-_LAST_LINES:]) if end in ("crashed", "hung") else (),
    )


def _run(python: Path, arguments: list[str], folder: Path, timeout: float) -> tuple[End, list[str]]:
    """Run the probe; return how it ended and its output, whose last line names a signal."""
    log = folder / "log"
    environ = {**_QUIET, **os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    if is_managed(python):  # as a worker runs in it
        environ = isolated(environ, folder)
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own probe, in the user's interpreter
                [str(python), str(_PROBE), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd=folder,
                start_new_session=True,
            )
    except OSError as error:
        return "crashed", [f"it cannot be started: {error.strerror}"]
    end: End = "ok"
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        end, code = "hung", 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if code < 0:
        return "crashed", [*lines, f"the process was killed by {signal.Signals(-code).name}"]
    return ("crashed" if code else end), lines
