"""Jinja templates that are more than words and fields, rendered while data are read.

A template is somebody else's program. It runs in Jinja's sandbox, and before that every part of
it must be on a list of parts that cannot take much time or room: no calls but a few methods of
text, no multiplication, no macros, no includes, no randomness.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError, did_you_mean

LONGEST_TEMPLATE = 20_000  # characters
LONGEST_TEXT = 100_000  # characters of a rendered text, and of every value on the way

# fmt: off
_NODES = {
    "Template", "Output", "TemplateData", "Name", "Const", "List", "Tuple", "Dict", "Pair",
    "Getattr", "Getitem", "Slice", "If", "For", "CondExpr", "And", "Or", "Not", "Neg",
    "Compare", "Operand", "Add", "Sub", "Concat", "Filter", "Test", "Call", "Assign",
}
_METHODS = {
    "strip", "lstrip", "rstrip", "lower", "upper", "title", "capitalize", "split",
    "startswith", "endswith", "items", "keys", "values", "get", "removeprefix",
    "removesuffix",
}
_TESTS = {
    "defined", "undefined", "none", "string", "number", "sequence", "mapping", "odd", "even",
    "in",
}
# fmt: on


class JinjaTemplate:
    """A template that makes a text of a row's fields.

    Args:
        text: The template. The names in it are fields.

    Raises:
        EnvironmentUnavailableError: If Jinja is not installed.
        MindportError: If it is not Jinja, or has a part that is not allowed; the message gives
            the line and the part.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST_TEMPLATE:
            raise MindportError(
                f"The Jinja template has {len(text)} characters; {LONGEST_TEMPLATE} are allowed."
            )
        self.text = text
        environment, failure = _environment()
        try:
            tree = environment.parse(text)
            for problem in _problems(tree):
                raise problem
            self._template = environment.from_string(text)
        except (failure, SyntaxError, ValueError, OverflowError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            where = f", line {line}" if line else ""
            raise MindportError(
                f"The Jinja template{where} cannot be read: {_first(error)}."
            ) from None
        self._failure = failure

    def __call__(self, fields: Mapping[str, Any]) -> str:
        """Return the text of a row; the same as :meth:`render`."""
        return self.render(fields)

    def render(self, fields: Mapping[str, Any]) -> str:
        """Return the text of a row.

        Args:
            fields: The row's; a name that is not among them is an error, and so is an empty (None)
                field that is shown.

        Raises:
            MindportError: If a field is missing, or the text grows beyond ``LONGEST_TEXT``.
        """
        pieces: list[str] = []
        length = 0
        for value in fields.values():
            if isinstance(value, str | list | tuple | dict):
                _check_length(len(value))
        try:
            for piece in self._template.generate(**{str(k): v for k, v in fields.items()}):
                length += len(piece)
                _check_length(length)
                pieces.append(piece)
        except MindportError:
            raise
        except Exception as error:  # whatever an expression raises on values that it cannot take
            raise MindportError(
                f"The Jinja template cannot be rendered: {_first(error)}.",
                f"The row's fields: {', '.join(map(str, fields))}.",
            ) from None
        return "".join(pieces)


def _environment() -> tuple[Any, type[Exception]]:
    try:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise EnvironmentUnavailableError(
            f"The template needs Jinja, which cannot be imported: {error}.",
            "pip install 'mindport[formats]'.",
        ) from None
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        optimized=False,  # nothing is computed while the template is read
        finalize=_shown,
        cache_size=0,
    )
    environment.globals.clear()
    environment.filters.clear()
    environment.filters.update(_FILTERS)
    return environment, jinja2.TemplateError


def _problems(tree: Any, looping: bool = False) -> Iterable[MindportError]:
    for node in tree.iter_child_nodes():
        kind = type(node).__name__
        loop = kind == "For"
        refused = None
        if kind not in _NODES:
            refused = f"{kind!r}"
        elif loop and (looping or node.recursive):
            refused = "a loop in a loop"
        elif kind == "Filter" and node.name not in _FILTERS:
            refused = f"the filter {node.name!r}.{did_you_mean(node.name, _FILTERS).rstrip('.')}"
        elif kind == "Test" and node.name not in _TESTS:
            refused = f"the test {node.name!r}.{did_you_mean(node.name, _TESTS).rstrip('.')}"
        elif kind == "Getattr" and node.attr.startswith("_"):
            refused = f"the attribute {node.attr!r}"
        elif kind == "Call" and not _is_method(node):
            refused = "a call"
        elif kind == "Assign" and not _is_constant(node.node):
            refused = "setting a name to more than a constant"
        if refused:
            yield MindportError(
                f"The Jinja template, line {node.lineno}: {refused} is not allowed.",
                "Process the data beforehand, or write the prompt with fields and conditions.",
            )
        yield from _problems(node, looping or loop)


def _is_method(node: Any) -> bool:
    known = type(node.node).__name__ == "Getattr" and node.node.attr in _METHODS
    bare = not (node.kwargs or node.dyn_args or node.dyn_kwargs)
    return known and bare and len(node.args) <= 2 and all(map(_is_constant, node.args))


def _is_constant(node: Any) -> bool:
    kind = type(node).__name__
    return kind == "Const" or (kind in ("List", "Tuple") and all(map(_is_constant, node.items)))


def _shown(value: Any) -> Any:
    if value is None:
        raise MindportError(
            "The Jinja template shows a field that is empty (None).",
            'Write {{ field or "" }} if it may be.',
        )
    if isinstance(value, str):
        _check_length(len(value))
    return value


def _check_length(length: int) -> None:
    if length > LONGEST_TEXT:
        raise MindportError(
            f"The Jinja template makes a text of more than {LONGEST_TEXT} characters.",
            "Shorten the row, or the template.",
        )


def _replace(text: Any, before: str, after: str) -> str:
    source = str(text)
    count = source.count(before)
    _check_length(len(source) + count * max(len(after) - len(before), 0))
    return source.replace(before, after)


def _join(values: Iterable[Any], separator: str = "") -> str:
    texts = [str(value) for value in values]
    _check_length(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _round(value: float, digits: int = 0) -> float:
    return round(float(value), max(min(digits, 12), 0))


def _first_of(values: Iterable[Any]) -> Any:
    return next(iter(values))


def _default(value: Any, other: Any = "") -> Any:
    absent = value is None or type(value).__name__ == "StrictUndefined"
    return other if absent or value == "" else value


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


_FILTERS: dict[str, Callable[..., Any]] = {
    "capitalize": lambda text: str(text).capitalize(),
    "default": _default,
    "first": _first_of,
    "float": float,
    "int": int,
    "join": _join,
    "last": lambda values: list(values)[-1],
    "length": len,
    "list": list,
    "lower": lambda text: str(text).lower(),
    "replace": _replace,
    "round": _round,
    "sort": sorted,
    "string": str,
    "title": lambda text: re.sub(r"\S+", lambda m: m.group().capitalize(), str(text)),
    "trim": lambda text: str(text).strip(),
    "upper": lambda text: str(text).upper(),
}
