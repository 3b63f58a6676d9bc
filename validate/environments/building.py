"""Build an environment from its lock file, whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindport.migrate.console import write_whole
from mindport.migrate.errors import DestinationError, EnvironmentUnavailableError
from mindport.validate.environments.code import isolated
from mindport.validate.environments.finding import (
    SCHEMA,
    STAMP,
    Environment,
    environments_folder,
    look_up,
)
from mindport.validate.environments.interpreters import Interpreter, find_interpreter
from mindport.validate.environments.specification import Specification

Say = Callable[[str], None]

_LOG = "build.log"
_LAST_LINES = 6
_STEPS = 6
_CHECK_SECONDS = 900
# What a user has set for other installations would change this one; the lock file says it all.
_MEDDLING = (
    "PIP_CONSTRAINT", "PIP_REQUIREMENT", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_NO_DEPS",
    "PIP_REQUIRE_VIRTUALENV", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_SYSTEM_PYTHON", "UV_TARGET",
    "UV_PREFIX", "UV_PYTHON",
)  # fmt: skip


def build(
    spec: Specification,
    folder: Path | None,
    base: Path | None,
    say: Say,
    *,
    anew: bool = False,
) -> Environment:
    """Build an environment, unless it is there.

    Args:
        spec: Which.
        folder: Where; a link in the place where environments are kept leads there. None builds
            it in that place.
        base: The Python to build it from; None looks for one.
        say: Told each step, in a line.
        anew: Whether to replace a complete one.

    Raises:
        DestinationError: If the place holds something else.
        EnvironmentUnavailableError: If it cannot be built here.
    """
    place = environments_folder() / spec.name
    target = folder.expanduser().absolute().resolve() if folder is not None else place.resolve()
    _make_folder(place.parent)
    with _alone(place.with_name(f".{spec.name}.lock")):
        _check_place(spec, place, target)
        found = look_up(spec, target)
        if found.state == "complete" and not anew:
            _link(place, target)
            say(f"{spec.name} is complete: {target}")
            return found
        if found.state == "foreign":
            raise DestinationError(
                f"{target} exists and was not made by mindport.", "Choose another --path."
            )
        # Look for what is needed before taking away what is there.
        interpreter = find_interpreter(spec.pythons, base)
        say(_step(1, f"interpreter: {interpreter.path} (Python {interpreter.version})"))
        _check_room(spec, target, say)
        if found.state != "absent":
            shutil.rmtree(target)
        _fill(spec, target, interpreter, say)
        _link(place, target)
    return look_up(spec)


def remove(spec: Specification) -> Path | None:
    """Remove an environment.

    Returns:
        Where it was, or None if there was none.

    Raises:
        DestinationError: If its place holds something that was not made here.
    """
    place = environments_folder() / spec.name
    if not place.exists() and not place.is_symlink():
        return None
    with _alone(place.with_name(f".{spec.name}.lock")):
        found = look_up(spec)
        if found.state == "foreign":
            raise DestinationError(
                f"{found.folder} was not made by mindport.", "Remove it yourself."
            )
        if found.folder.exists():
            shutil.rmtree(found.folder)
        if place.is_symlink():
            place.unlink()
    return found.folder


def _step(number: int, words: str) -> str:
    return f"[{number}/{_STEPS}] {words}"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DestinationError(
            f"{folder} cannot be made: {error.strerror}.",
            "Set MINDPORT_ENVS to a folder that can be written.",
        ) from None


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EnvironmentUnavailableError(
                "Another process is building or removing this environment.", "Wait for it."
            ) from None
        yield


def _check_place(spec: Specification, place: Path, target: Path) -> None:
    elsewhere = place.resolve()
    if elsewhere != target and look_up(spec).state != "absent":
        raise DestinationError(
            f"There is a {spec.name} environment in {elsewhere} already.",
            f"Remove it first: validate env remove {spec.name}.",
        )


def _check_room(spec: Specification, target: Path, say: Say) -> None:
    parent = next(p for p in target.parents if p.exists())
    free = shutil.disk_usage(parent).free / 1e9
    if free < spec.gigabytes:
        raise EnvironmentUnavailableError(
            f"{target} needs about {spec.gigabytes:.0f} GB, {free:.1f} GB are free there.",
            "Free some, or choose another place with --path or MINDPORT_ENVS.",
        )
    say(_step(2, f"place: {target} ({free:.0f} GB free, {spec.gigabytes:.0f} GB needed)"))


def _link(place: Path, target: Path) -> None:
    if place.resolve() == target:
        return
    if place.is_symlink() or place.exists():  # a link to nothing, or an empty folder
        place.unlink() if place.is_symlink() else place.rmdir()
    place.symlink_to(target, target_is_directory=True)


@dataclass(frozen=True)
class _Builder:
    """Runs one program after the other, and keeps what they say."""

    folder: Path
    variables: Mapping[str, str]

    def run(self, what: str, command: Sequence[str | Path], seconds: float | None = None) -> None:
        """Run a program.

        Raises:
            EnvironmentUnavailableError: If it fails, with its last lines.
        """
        log = self.folder / _LOG
        with log.open("ab") as file:
            start = file.tell()
            how = ""
            try:
                done = subprocess.run(  # noqa: S603 - venv, pip or uv, and our own check
                    [str(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=dict(self.variables),
                    cwd=self.folder,
                    timeout=seconds,
                    check=False,
                )
                how = f"exit code {done.returncode}" if done.returncode else ""
            except subprocess.TimeoutExpired:
                how = f"no end within {seconds:g} s"
            except OSError as error:
                how = error.strerror or str(error)
        if how:
            with log.open("rb") as file:
                file.seek(start)
                text = file.read().decode(errors="replace")
            last = [line for line in text.splitlines() if line.strip()][-_LAST_LINES:]
            raise EnvironmentUnavailableError(
                "\n".join([f"{what} failed ({how}):", *(f"  {line}" for line in last)]),
                f"All that was said is in {log}. What is there will be built anew next time.",
            )


def _fill(spec: Specification, target: Path, interpreter: Interpreter, say: Say) -> None:
    started = time.monotonic()
    _make_folder(target)
    stamp: dict[str, Any] = {"schema": SCHEMA, "name": spec.name, "complete": False}
    _write_stamp(target, stamp)
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        inherited = {n: v for n, v in os.environ.items() if n not in _MEDDLING}
        builder = _Builder(target, isolated(inherited, Path(scratch)))
        lock = Path(scratch) / "lock.txt"
        lock.write_text(spec.lock, encoding="utf-8")
        python = target / "bin" / "python"
        uv = shutil.which("uv")

        say(_step(3, "virtual environment"))
        # Beside the stamp and the log, which are there already.
        if uv:
            make: list[str | Path] = [
                uv,
                "venv",
                "--allow-existing",
                "--python",
                interpreter.path,
                target,
            ]
        else:
            make = [interpreter.path, "-m", "venv", target]
        builder.run("venv", make)

        tool = "uv" if uv else "pip"
        say(_step(4, f"{len(spec.pins)} packages with {tool}: this takes minutes"))
        if uv:
            install: list[str | Path] = [uv, "pip", "install", "--python", python]
        else:
            install = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        # The lock file is complete, and what it leaves out is not to come.
        builder.run(tool, [*install, "--no-deps", "-r", lock])

        say(_step(5, "byte code"))
        # Files that are no Python of this version (templates, say) are no matter.
        libraries = target / "lib"
        builder.run(
            "compileall",
            ["/bin/sh", "-c", '"$0" -m compileall -q -j 0 "$1" || true', python, libraries],
        )

        say(_step(6, "check: a GPT-2 runs in it"))
        said = Path(scratch) / "said.json"
        check = "mindport.validate.environments.check"
        builder.run("the check", [python, "-m", check, spec.name, said], _CHECK_SECONDS)
        facts = json.loads(said.read_text(encoding="utf-8"))
    stamp |= {
        "complete": True,
        "lock": spec.sha256,
        "python": interpreter.version,
        "versions": {name: spec.pins[name] for name in spec.shown},
        "identity": facts,
    }
    _write_stamp(target, stamp)
    say(f"{spec.name} is complete, after {time.monotonic() - started:.0f} s: {target}")


def _write_stamp(folder: Path, stamp: Mapping[str, Any]) -> None:
    write_whole(folder / STAMP, json.dumps(stamp, indent=2) + "\n")
