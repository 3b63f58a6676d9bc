"""Where the environments are, and whether one is fit for use."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.environments.specification import Specification, specification_of

# Lies in every folder that was made here, from before the first file to after the last.
STAMP = "mindport-environment.json"
VARIABLE = "MINDPORT_ENVS"
SCHEMA = 1

State = Literal["absent", "complete", "outdated", "unfinished", "broken", "foreign"]


@dataclass(frozen=True)
class Environment:
    """What lies at an environment's place.

    Attributes:
        name: The environment's.
        folder: Where it is, links followed.
        state: ``complete``: fit for use. ``outdated``: complete by another lock file.
            ``unfinished``: being built, or broken off. ``broken``: its interpreter is gone.
            ``foreign``: something that was not made here. ``absent``: nothing.
        stamp: What was written when it was built.
    """

    name: str
    folder: Path
    state: State
    stamp: Mapping[str, Any]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


def environments_folder() -> Path:
    """Return where environments are kept: ``$MINDPORT_ENVS``, or in the user's cache."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    if cache and Path(cache).is_absolute():
        return Path(cache) / "mindport" / "envs"
    home = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return Path.home() / home / "mindport" / "envs"


def look_up(spec: Specification, folder: Path | None = None) -> Environment:
    """Return what there is of an environment.

    Args:
        spec: Which.
        folder: Where to look; None looks where environments are kept.
    """
    place = folder or environments_folder() / spec.name
    real = place.resolve()
    stamp = _read_stamp(real)
    return Environment(spec.name, real, _state(spec, real, stamp), stamp or {})


def _read_stamp(folder: Path) -> dict[str, Any] | None:
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def _state(spec: Specification, folder: Path, stamp: Mapping[str, Any] | None) -> State:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return "absent"
    if stamp is None:
        return "foreign"
    if stamp.get("schema") != SCHEMA or not stamp.get("complete"):
        return "unfinished"
    # Through the link: an interpreter that was taken away leaves it behind.
    if not os.access(folder / "bin" / "python", os.X_OK):
        return "broken"
    return "complete" if stamp.get("lock") == spec.sha256 else "outdated"


def is_managed(python: Path) -> bool:
    """Return whether an interpreter belongs to an environment that was made here."""
    return (python.parent.parent / STAMP).is_file()


def backend_python(backend: str, framework: str) -> Path | None:
    """Return the interpreter that a backend runs in by itself; None means this one.

    Args:
        backend: The backend's name.
        framework: The package that it needs; one that is installed here will do.

    Raises:
        EnvironmentUnavailableError: If it has an environment of its own that is not built.
    """
    spec = specification_of(backend)
    if spec is None:
        return None
    found = look_up(spec)
    if found.state == "complete":
        return found.python
    if found.state == "absent" and find_spec(framework) is not None:
        return None
    raise EnvironmentUnavailableError(
        f"The {backend} backend runs in an environment of its own, and {_lack(found)}.",
        f"Build it: validate env create {spec.name}; or point --python at an interpreter that has "
        f"{framework}.",
    )


def _lack(found: Environment) -> str:
    return {
        "absent": "it has not been built",
        "outdated": f"the one in {found.folder} was built for another version of mindport",
        "unfinished": f"the one in {found.folder} is unfinished",
        "broken": f"the one in {found.folder} has lost its interpreter",
    }.get(found.state, f"what lies in {found.folder} is none")
