"""One declarative file per architecture, named by ``model_type``; the folder is the registry."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from mindport.migrate.architecture import Architecture
from mindport.migrate.errors import MindportError, did_you_mean


@cache
def architecture_names() -> tuple[str, ...]:
    """Return the names of all architectures, found by listing this folder."""
    return tuple(sorted(module.name for module in iter_modules(__path__)))


def load_architecture(name: str) -> Architecture:
    """Return the architecture called ``name`` (a ``model_type``).

    Raises:
        MindportError: If there is no such architecture.
    """
    if name not in architecture_names():
        raise MindportError(
            f"There is no architecture {name!r}.{did_you_mean(name, architecture_names())}"
        )
    architecture: Architecture = import_module(f"{__name__}.{name}").ARCHITECTURE
    return architecture
