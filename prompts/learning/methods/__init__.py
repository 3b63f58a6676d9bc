"""One module per way to learn a prompt; a module here is a method, found by its name.

A module holds ``METHOD``, a subclass of :class:`mindport.prompts.learning.method.Method`;
``soft_prompt.py`` is the method ``soft-prompt``.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mindport.prompts.learning.method import Method


def method_names() -> tuple[str, ...]:
    """Return the names of all methods, found by listing this folder."""
    return tuple(sorted(module.name.replace("_", "-") for module in iter_modules(__path__)))


def load_method(name: str) -> type[Method]:
    """Return a method by its name, one of :func:`method_names`."""
    method: type[Method] = import_module(f"{__name__}.{name.replace('-', '_')}").METHOD
    return method
