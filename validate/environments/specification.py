"""Which environments there are, and what is in each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from mindport.migrate.errors import MindportError, did_you_mean

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)")


@dataclass(frozen=True)
class Specification:
    """An environment that can be built.

    Attributes:
        name: Of the environment and, with ``.txt``, of its lock file in this folder.
        backend: Which backend runs in it when ``--python`` is not given.
        pythons: Versions of Python that the lock file is good for, the best first.
        gigabytes: Free disk space that building takes.
        shown: The packages whose versions ``validate env list`` shows.
    """

    name: str
    backend: str
    pythons: tuple[str, ...]
    gigabytes: float
    shown: tuple[str, ...]

    @property
    def lock(self) -> str:
        """The lock file's text: every package that is installed, each with its version."""
        return files(__package__).joinpath(f"{self.name}.txt").read_text(encoding="utf-8")

    @property
    def sha256(self) -> str:
        """Of the lock file."""
        return hashlib.sha256(self.lock.encode()).hexdigest()

    @property
    def pins(self) -> Mapping[str, str]:
        """The version of each package.

        Raises:
            ValueError: If a line is not ``name==version``.
        """
        pins = {}
        for line in self.lock.splitlines():
            words = line.partition("#")[0].strip()
            if words:
                match = _PIN.fullmatch(words)
                if match is None:
                    raise ValueError(f"{self.name}.txt: {line!r} is not name==version")
                pins[match[1]] = match[2]
        return pins


SPECIFICATIONS = (
    Specification(
        name="mindnlp",
        backend="mindnlp",
        pythons=("3.11", "3.10"),
        gigabytes=4.0,
        shown=("mindnlp", "mindspore", "transformers"),
    ),
)


def specification_names() -> tuple[str, ...]:
    """Return the names of all environments."""
    return tuple(sorted(spec.name for spec in SPECIFICATIONS))


def load_specification(name: str) -> Specification:
    """Return an environment's specification.

    Raises:
        MindportError: If there is none of this name.
    """
    for spec in SPECIFICATIONS:
        if spec.name == name:
            return spec
    raise MindportError(
        f"There is no environment {name!r}.{did_you_mean(name, specification_names())}"
    )


def specification_of(backend: str) -> Specification | None:
    """Return the environment that a backend runs in by itself, or None."""
    return next((spec for spec in SPECIFICATIONS if spec.backend == backend), None)
