"""The sentences that modules compose, read from their source: what a catalogue should have.

``python -m tests.messages FILE.py …`` prints them, each f-string with its gaps named.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from string import Formatter

from mindport.migrate.language.catalogue import catalogue_files, translate

LETTERS = re.compile(r"[A-Za-z]{3}")
_INTERNAL = {
    "valueerror", "typeerror", "formulaerror", "assertionerror", "compile",
    "command", "group", "option", "argument",
}  # fmt: skip
MARKUP = re.compile(r"\[/?(?:bold|red|yellow|green|dim|\{\w+\}| )*\]|^bold \w+$")  # of rich


def sentences(path: Path) -> Iterator[str]:
    """Yield what a module may say: f-strings, and strings of several words."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    set_aside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            set_aside.add(node.value)  # a docstring
        if isinstance(node, (ast.AnnAssign, ast.arg, ast.FunctionDef)):
            note = getattr(node, "annotation", None) or getattr(node, "returns", None)
            set_aside.update(ast.walk(note) if note else ())
        if _is_internal(node) or _is_examples(node) or _is_citation(node):
            set_aside.update(ast.walk(node))
        if isinstance(node, ast.JoinedStr):
            set_aside.update(part for part in ast.walk(node) if isinstance(part, ast.Constant))
    for node in ast.walk(tree):
        if node in set_aside:
            continue
        if isinstance(node, ast.JoinedStr):
            said = "".join(
                part.value if isinstance(part, ast.Constant) else f"{{{_name(part.value)}}}"
                for part in node.values
            )
            if " " in re.sub(r"\{\w+\}", "", said):
                yield MARKUP.sub("", said)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield MARKUP.sub("", node.value)


def _is_internal(node: ast.AST) -> bool:
    """Return whether what is raised is a bug of ours, or what is called reads or defines a command.

    What a command's help says is looked at where it is shown.
    """
    call = node.exc if isinstance(node, ast.Raise) else node
    name = _name(call.func) if isinstance(call, ast.Call) else ""
    return name.lower() in _INTERNAL


def _is_citation(node: ast.AST) -> bool:
    """Return whether it is told where something is known from, or how it is set elsewhere."""
    return isinstance(node, ast.keyword) and node.arg in ("source", "sources", "setting")


def _is_examples(node: ast.AST) -> bool:
    """Return whether commands are listed, which are no sentences."""
    return isinstance(node, ast.Assign) and _name(node.targets[0]) == "examples"


def _name(node: ast.AST) -> str:
    """Return a name for what an expression gives."""
    if isinstance(node, ast.Name):
        return node.id.strip("_").lower()
    if isinstance(node, ast.Attribute):
        return node.attr
    for field in ("func", "value", "left", "body", "elt"):
        if isinstance(inner := getattr(node, field, None), ast.AST):
            return _name(inner)
    return "x"


def pieces(template: str) -> list[str]:
    """Return what is fixed in a template, without the spaces around it."""
    try:
        parts = [literal for literal, *_ in Formatter().parse(template.replace("{}", "{x}"))]
    except ValueError:  # braces of its own, such as an example of JSON
        parts = re.split(r"[{}]", template)
    return [piece for piece in map(str.strip, parts) if LETTERS.search(piece)]


def is_covered(sentence: str, language: str = "zh") -> bool:
    """Return whether some entries of the catalogue have all that is fixed in a sentence."""
    filled = re.sub(r"\{(\w+)\}", r"\1", sentence)
    if translate(filled, language) != filled:
        return True
    keys = _keys(language)
    for part in re.split(r"; |\n|(?<=[.!?]) (?=[A-Z'])", sentence):
        wanted = pieces(part)
        if wanted and not any(_in_order(wanted, key) for key in keys):
            return False
    return True


@lru_cache
def _keys(language: str) -> list[str]:
    import yaml

    return [key for file in catalogue_files(language)
            for key in yaml.safe_load(file.read_text(encoding="utf-8"))]  # fmt: skip


def _in_order(wanted: list[str], key: str) -> bool:
    place = 0
    for piece in wanted:
        place = key.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return True


if __name__ == "__main__":
    for name in sys.argv[1:]:
        for said in sentences(Path(name)):
            print("   " if is_covered(said) else "-  ", said)
