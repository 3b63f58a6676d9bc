"""Show a worker in another environment the very code of this process.

MindPort is not installed in the environments that it builds: a copy there would fall behind, and
two sides of one verdict would run different versions. A folder with links does not, and works for
every way of installing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

_PACKAGES = ("migrate", "prompts", "validate")
# They would lead out of the environment.
_LEADING_OUT = ("PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


def link_code(folder: Path) -> Path:
    """Return a folder, below the given one, from which ``mindport`` can be imported."""
    root = folder / "code"
    (root / "mindport").mkdir(parents=True, exist_ok=True)
    for name in _PACKAGES:
        source = Path(import_module(f"mindport.{name}").__path__[0]).resolve()
        with contextlib.suppress(FileExistsError):
            (root / "mindport" / name).symlink_to(source, target_is_directory=True)
    return root


def isolated(variables: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the variables for a process in an environment of ours.

    Nothing from outside it can be imported there but this process's ``mindport``.

    Args:
        variables: What is inherited.
        folder: Where the links to the code may lie; it has to outlive the process.
    """
    kept = {name: value for name, value in variables.items() if name not in _LEADING_OUT}
    return {**kept, "PYTHONPATH": str(link_code(folder)), "PYTHONNOUSERSITE": "1"}
