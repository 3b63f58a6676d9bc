"""The forms of a report: one file each, found by listing the folder.

A file holds ``FORM``, a :class:`Form`: a verdict goes in, a text comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from mindport.validate.verdict import Verdict


@dataclass(frozen=True)
class Document:
    """A verdict in one form.

    Attributes:
        text: Of the document.
        pictures: SVG files that it refers to and that lie beside it, by file name.
    """

    text: str
    pictures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """A way to show a verdict.

    Attributes:
        summary: What it is, in a few words, for the help.
        render: Takes the verdict and the name of the file, without its suffix, that the document
            will have; empty if it goes to standard output, where nothing can lie beside it.
    """

    summary: str
    render: Callable[[Verdict, str], Document]


def form_names() -> tuple[str, ...]:
    """Return the forms' names, in alphabetical order."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py")))


def load_form(name: str) -> Form:
    """Return a form of :func:`form_names`."""
    form: Form = import_module(f"{__name__}.{name}").FORM
    return form
