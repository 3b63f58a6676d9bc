"""One file per library that names or cuts parameters in a way of its own; the folder is the list.

Beside the plain dialects of the two frameworks (:mod:`mindport.migrate.dialect`).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from mindport.migrate.dialect import MINDSPORE, TORCH, Dialect

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        TORCH,
        MINDSPORE,
        *(
            import_module(f"{__name__}.{module.name}").DIALECT
            for module in sorted(iter_modules(__path__), key=lambda module: module.name)
        ),
    )
}
