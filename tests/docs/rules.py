"""What `runs.yaml` says of each page: what is there before, what is not run, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

LIST = Path(__file__).with_name("runs.yaml")
KEYS = {"exit", "skip", "instead", "why", "elsewhere"}


@dataclass(frozen=True)
class Rule:
    """How one command of a page is treated. Without any rule it is run and must exit with 0."""

    exit: int = 0
    skip: str | None = None
    instead: str | None = None
    why: str | None = None
    elsewhere: str | None = None


@dataclass(frozen=True)
class Page:
    """The rules of one page."""

    needs: tuple[str, ...] = ()
    commands: dict[str, Rule] = field(default_factory=dict)
    python: tuple[str, ...] = ()
    python_in: str | None = None


class ListError(ValueError):
    """The list says something that does not make sense."""


def read_list(path: Path = LIST) -> tuple[dict[str, str], dict[str, Page]]:
    """Return the reasons by name and the rules by page."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    reasons = content["reasons"]
    pages = {name: _page(name, given or {}, reasons) for name, given in content["pages"].items()}
    return reasons, pages


def _page(name: str, given: dict, reasons: dict[str, str]) -> Page:
    unknown = set(given) - {"needs", "commands", "python", "python_in"}
    if unknown:
        raise ListError(f"{name}: unknown {sorted(unknown)}")
    commands = {
        text: _rule(f"{name}: {text}", rule, reasons)
        for text, rule in given.get("commands", {}).items()
    }
    needs, python = tuple(given.get("needs", ())), tuple(given.get("python", ()))
    return Page(needs, commands, python, given.get("python_in"))


def _rule(where: str, given: dict, reasons: dict[str, str]) -> Rule:
    if set(given) - KEYS:
        raise ListError(f"{where}: unknown {sorted(set(given) - KEYS)}")
    if sum(key in given for key in ("skip", "instead", "elsewhere")) > 1:
        raise ListError(f"{where}: one of skip, instead, elsewhere")
    if "skip" in given and given["skip"] not in reasons:
        raise ListError(f"{where}: {given['skip']} is none of the reasons")
    if ("instead" in given) != ("why" in given):
        raise ListError(f"{where}: instead needs why, and why instead")
    return Rule(**given)
