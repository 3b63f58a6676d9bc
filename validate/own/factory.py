"""``FILE.py:FUNCTION``: the user's code, imported by path, and what to say when it fails."""

from __future__ import annotations

import ast
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from mindport.migrate.errors import MindportError, did_you_mean

DEFAULT_FUNCTION = "build"
_FORM = "--candidate FILE.py:FUNCTION, with a function build(config: dict, checkpoint: str)."


@dataclass(frozen=True)
class Factory:
    """Where a user's network is built.

    Attributes:
        file: Absolute path of the Python file.
        function: Name of a function ``(config, checkpoint) -> nn.Cell`` in it.
    """

    file: Path
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.function}"

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"{self.file.name}:{self.function}"


def find_factory(text: str) -> Factory:
    """Return the factory that ``FILE.py:FUNCTION`` names, without importing the file.

    Args:
        text: As the user wrote it; ``build`` is taken where no function is named.

    Raises:
        MindportError: If the file or the function in it does not exist.
    """
    name, _, function = text.rpartition(":")
    if not name or not function.isidentifier():
        name, function = text.rstrip(":"), DEFAULT_FUNCTION
    file = Path(name).expanduser().absolute()
    if not file.is_file() or file.suffix != ".py":
        raise MindportError(f"There is no Python file {name}.", _FORM)
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise MindportError(
            f"{file.name} is not Python: {file}{where}: {said}.", "Correct the file."
        ) from None
    # A name can also be imported or assigned, which only running the file tells.
    names = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    dynamic = any(isinstance(n, (ast.Import, ast.ImportFrom, ast.Assign)) and _binds(n, function)
                  for n in ast.walk(tree))  # fmt: skip
    if function not in names and not dynamic:
        raise MindportError(
            f"{file} has no function {function!r}.{did_you_mean(function, names)}", _FORM
        )
    return Factory(file, function)


def _binds(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    aliases: list[ast.alias] = getattr(node, "names", [])
    return any((alias.asname or alias.name) in (name, "*") for alias in aliases)


def load_factory(factory: Factory) -> Callable[..., Any]:
    """Import the file and return the function; only a worker does that.

    Raises:
        MindportError: If the file cannot be imported, or has no such function.
    """
    spec = spec_from_file_location(f"mindport_candidate_{factory.file.stem}", factory.file)
    if spec is None or spec.loader is None:
        raise MindportError(f"{factory.file} cannot be imported.", _FORM)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(factory.file.parent))  # for the files beside it
    with blamed_on(factory, "cannot be imported"):
        spec.loader.exec_module(module)
    function = getattr(module, factory.function, None)
    if not callable(function):
        raise MindportError(
            f"{factory.file} has no function {factory.function!r}."
            + did_you_mean(factory.function, [n for n in vars(module) if not n.startswith("_")]),
            _FORM,
        )
    found: Callable[..., Any] = function
    return found


@contextmanager
def blamed_on(factory: Factory, what: str) -> Iterator[None]:
    """Turn what the user's code raises into an error with the line where it did.

    Args:
        factory: Whose code runs.
        what: What did not work, after the name of the factory.

    Raises:
        MindportError: With file, line and the last line of the error.
    """
    try:
        yield
    except MindportError:
        raise
    except (Exception, SystemExit) as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        summary = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
        raise MindportError(
            f"{factory.title} {what}: {_place(factory, error)}: {summary}",
            "Correct it there; the file runs with the interpreter of --python.",
        ) from None


def _place(factory: Factory, error: BaseException) -> str:
    """Return the innermost line that is the user's own."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(factory.file.parent)]
    if not own:
        return str(factory.file)
    return f"{own[-1].filename}, line {own[-1].lineno} (in {own[-1].name})"
