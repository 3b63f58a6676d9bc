"""What a verdict depends on, as hashes: a finished one is kept as long as none of it changes."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mindport.migrate
import mindport.prompts
import mindport.validate
from mindport.migrate.errors import MindportError
from mindport.migrate.manifest import sha256_of
from mindport.prompts import task_names
from mindport.validate.acceptance.folder import hashes_below
from mindport.validate.acceptance.task import OWN, Cell, Task
from mindport.validate.launch import find_python
from mindport.validate.request import Request

PACKAGES = ("torch", "transformers", "tokenizers", "mindspore", "mindnlp", "numpy", "safetensors",
            "ml-dtypes")  # fmt: skip
_CODE = (".py", ".yaml", ".json", ".txt")
# Run by the candidate's interpreter, which may lack mindport; the same as versions_here().
_ASK = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {"python": sys.version.split()[0]}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@cache
def code_digest() -> str:
    """Return a sha256 over the source of this mindport, so that an edited one shows."""
    digest = hashlib.sha256()
    for package in (mindport.migrate, mindport.prompts, mindport.validate):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*")):
            if path.suffix in _CODE and path.is_file():
                name = f"{root.name}/{path.relative_to(root).as_posix()}"
                digest.update(f"{name}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def digest_of(content: Any) -> str:
    """Return a sha256 of JSON-ready data."""
    text = json.dumps(content, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def versions_of(python: Path) -> Mapping[str, str]:
    """Return the versions of Python and of :data:`PACKAGES` in an interpreter."""
    if python == Path(sys.executable):
        return versions_here()
    try:
        done = subprocess.run(  # noqa: S603 - the user's interpreter, our own program
            [str(python), "-I", "-c", _ASK, *PACKAGES],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return {"python": f"{python} does not answer: {type(error).__name__}"}
    return found


def versions_here() -> dict[str, str]:
    """Return the same of this interpreter; a package that is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def asked_of(task: Task, cell: Cell) -> dict[str, Any]:
    """Return all that a task says of a cell, with the paths of the file."""
    request = asdict(task.request(cell, resolved=False))
    return {
        "request": json.loads(json.dumps(request, default=str)),
        "keep": task.keep,
        "performance": asdict(task.performance) if task.performance and cell.performance else None,
    }


def fingerprint(task: Task, cell: Cell, weights: Mapping[str, str]) -> dict[str, Any]:
    """Return what a cell's verdict depends on, by what it is.

    Args:
        task: The task.
        cell: One of its cells.
        weights: sha256 of the reference's weights files, by name.

    Raises:
        MindportError: If a file that the task names is not there.
    """
    request = task.request(cell)
    return {
        "task": digest_of(asked_of(task, cell)),
        "weights": dict(weights),
        "files": _files(task, cell, request),
        "code": code_digest(),
        "versions": {"reference": versions_here(), "candidate": dict(_candidate(cell))},
    }


def _candidate(cell: Cell) -> Mapping[str, str]:
    try:
        python = find_python(None, "cell" if cell.backend == OWN else cell.backend)
    except MindportError as error:
        return {"absent": error.message}
    return versions_of(python)


def _files(task: Task, cell: Cell, request: Request) -> dict[str, str]:
    """Return the hashes of the files that a request names."""
    named = [request.candidate_checkpoint, request.config_file, request.inputs, request.taps_file,
             request.candidate_capture]  # fmt: skip
    if request.prompts and request.prompts not in task_names():
        named.append(Path(request.prompts))
    if request.candidate:
        # A port may import what lies beside it.
        source = Path(request.candidate.rpartition(":")[0])
        if not source.is_file():
            raise MindportError(
                f"{cell.name}: there is no {source}.", "Correct [own] factory, or put it there."
            )
        named += [source, *sorted(source.parent.glob("*.py"))]
    found: dict[str, str] = {}
    for path in named:
        if path is None:
            continue
        if not path.exists():
            raise MindportError(f"{cell.name}: there is no {path}.", "Correct the task file.")
        there = hashes_below(path) if path.is_dir() else {"": sha256_of(path)}
        found |= {f"{path.name}/{name}".rstrip("/"): digest for name, digest in there.items()}
    return found


def what_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return which parts of two fingerprints differ, in words; empty if none does."""
    words = {
        "task": "what the task asks of it",
        "weights": "the weights",
        "files": "a file that it uses",
        "code": "the code of mindport",
        "versions": "a version",
    }
    return ", ".join(said for key, said in words.items() if before.get(key) != after.get(key))
