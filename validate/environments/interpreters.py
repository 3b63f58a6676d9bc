"""Find a Python to build an environment from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mindport.migrate.errors import EnvironmentUnavailableError

# A Debian Python may lack the second part of its own venv module.
_PROBE = (
    "import ensurepip, sys, venv; v = sys.version_info; "
    "print(f'{v[0]}.{v[1]} {v[0]}.{v[1]}.{v[2]}')"
)
_SECONDS = 60


@dataclass(frozen=True)
class Interpreter:
    """A Python that can make virtual environments.

    Attributes:
        path: Of the program.
        series: ``3.11``.
        version: ``3.11.7``.
    """

    path: Path
    series: str
    version: str


def probe(path: Path) -> Interpreter | None:
    """Return what an interpreter says of itself, or None if it cannot make environments."""
    try:
        done = subprocess.run(  # noqa: S603 - a Python that the user named or has on the PATH
            [str(path), "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    if done.returncode or len(words) != 2:
        return None
    return Interpreter(path, *words)


def find_interpreter(pythons: Sequence[str], given: Path | None = None) -> Interpreter:
    """Return an interpreter of a fitting version.

    Args:
        pythons: The versions that fit, the best first.
        given: The one to use; None looks at this one, on the ``PATH`` and in pyenv's folder.

    Raises:
        EnvironmentUnavailableError: If there is none.
    """
    wanted = " or ".join(pythons)
    if given is not None:
        found = probe(given)
        if found is None:
            raise EnvironmentUnavailableError(
                f"{given} does not start, or has no venv module.",
                f"Give --base-python the path of a Python {wanted}.",
            )
        if found.series not in pythons:
            raise EnvironmentUnavailableError(
                f"{given} is Python {found.version}; the environment needs {wanted}.",
                f"Give --base-python the path of a Python {wanted}.",
            )
        return found
    for series in pythons:
        for path in _candidates(series):
            found = probe(path)
            if found is not None and found.series == series:
                return found
    raise EnvironmentUnavailableError(
        f"There is no Python {wanted} here that can make a virtual environment.",
        "Install one, or give --base-python its path.",
    )


def _candidates(series: str) -> Iterator[Path]:
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == series:
        yield Path(sys.executable)
    on_path = shutil.which(f"python{series}")
    if on_path:
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{series}.*/bin/python"), reverse=True)
    plain = shutil.which("python3")
    if plain:
        yield Path(plain)
