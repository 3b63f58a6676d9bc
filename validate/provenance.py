"""Where a verdict comes from: the port of its weights, the command, the mindport that wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mindport.migrate.manifest import read_manifest
from mindport.validate.request import Request
from mindport.validate.verdict import Verdict

_MANIFEST = "manifest.json"
# Options that are not spelt as their field of the request.
_SPELLINGS = {"config_file": "config", "taps_file": "taps"}
_PARAMETERS_KEPT = 4000


def with_provenance(
    verdict: Verdict, command: tuple[str, ...], mapping: Mapping[str, Any] | None = None
) -> Verdict:
    """Return the verdict with what tells how it came about.

    Args:
        verdict: What was found.
        command: Words of the command that finds it again.
        mapping: As :func:`read_mapping` gives it.
    """
    made = {
        "mindport": version("mindport"),
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": list(command),
    }
    return replace(verdict, mapping=mapping, made=made)


def read_mapping(folder: Path) -> dict[str, Any] | None:
    """Return what became of every tensor, from the manifest of a ported checkpoint.

    Args:
        folder: The checkpoint's.

    Returns:
        ``source`` and ``target`` layout, ``totals``, ``parameters`` (at most 4000, as
        :meth:`mindport.migrate.plan.Entry.to_dict` gives them) and ``left_out``, how many are not
        shown; None if there is no manifest.
    """
    path = folder / _MANIFEST
    if not path.is_file():
        return None
    manifest = read_manifest(path)
    parameters = manifest["parameters"]
    return {
        "source": manifest["source"]["layout"],
        "target": manifest["layout"],
        "totals": manifest["totals"],
        "parameters": parameters[:_PARAMETERS_KEPT],
        "left_out": max(0, len(parameters) - _PARAMETERS_KEPT),
    }


def command_of(request: Request) -> tuple[str, ...]:
    """Return the words of the command that makes this request, without what is the default."""
    return ("validate", request.architecture, *option_words(request, Request(request.architecture)))


def option_words(choices: Any, usual: Any) -> tuple[str, ...]:
    """Return the options that make a dataclass of choices, without what is usual.

    Args:
        choices: Fields with a default are options; the others are said in another way.
        usual: The same with every default.
    """
    words: list[str] = []
    for field in fields(choices):
        value = getattr(choices, field.name)
        if field.default is MISSING or value == getattr(usual, field.name):
            continue
        option = "--" + _SPELLINGS.get(field.name, field.name).replace("_", "-")
        if value is True:
            words.append(option)
        else:
            each = value if isinstance(value, (list, tuple)) else (value,)
            words += [word for item in each for word in (option, str(item))]
    return tuple(words)
