"""Which versions are here, from what pip has noted: nothing is imported."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("numpy", "torch", "transformers", "mindspore", "mindnlp")


def version_text() -> str:
    """Return mindport's version, Python's, and those of the frameworks that are installed."""
    lines = [f"mindport {_find('mindport') or 'not installed'}"]
    lines.append(f"Python {platform.python_version()}")
    return "\n".join([*lines, *(f"{name} {found}" for name in _PACKAGES if (found := _find(name)))])


def _find(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
