"""How each framework spells a kind of parameter, and which layout it stores it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mindport.migrate.architecture import Kind, Parameter
from mindport.migrate.layout import PLAIN, Layout
from mindport.migrate.operations import COPY, TRANSPOSE, Operation


@dataclass(frozen=True)
class Dialect:
    """A framework's spelling.

    Attributes:
        name: ``torch`` or ``mindspore``.
        suffixes: The last part of a parameter's name, by kind.
        from_torch: How the stored array differs from torch's, by kind; :data:`COPY` if absent.
        aliases: Older spellings that are read but never written: ``gamma`` for ``weight`` …
        layouts: By architecture, where modules have other names than upstream's, are fused or
            split.
    """

    name: str
    suffixes: Mapping[Kind, str]
    from_torch: Mapping[Kind, Operation] = field(default_factory=dict)
    aliases: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)
    layouts: Mapping[str, Layout] = field(default_factory=dict)

    def spell(self, module: str, kind: Kind) -> str:
        """Return the full name of a parameter of ``kind`` in ``module``."""
        return f"{module}.{self.suffixes[kind]}"

    def spellings(self, module: str, kind: Kind) -> tuple[str, ...]:
        """Return every name under which the parameter may be stored, the proper one first."""
        return (self.spell(module, kind), *(f"{module}.{a}" for a in self.aliases.get(kind, ())))

    def modern(self, name: str) -> str:
        """Return a stored name with an older spelling replaced by the proper one."""
        stem, _, last = name.rpartition(".")
        for kind, older in self.aliases.items():
            if last in older:
                return f"{stem}.{self.suffixes[kind]}"
        return name

    def layout(self, architecture: str) -> Layout:
        """Return where the modules of an architecture are kept."""
        return self.layouts.get(architecture, PLAIN)

    def operation(self, parameter: Parameter) -> Operation:
        """Return what turns torch's array of this parameter into this dialect's."""
        return self.from_torch.get(parameter.kind, COPY)


TORCH = Dialect(
    name="torch",
    suffixes={
        Kind.EMBEDDING: "weight",
        Kind.LINEAR: "weight",
        Kind.CONV1D: "weight",
        Kind.BIAS: "bias",
        Kind.NORM_WEIGHT: "weight",
        Kind.NORM_BIAS: "bias",
    },
    # Checkpoints that came from TensorFlow keep its names for the layer norm.
    aliases={Kind.NORM_WEIGHT: ("gamma",), Kind.NORM_BIAS: ("beta",)},
)

MINDSPORE = Dialect(
    name="mindspore",
    suffixes={
        Kind.EMBEDDING: "embedding_table",
        Kind.LINEAR: "weight",
        Kind.CONV1D: "weight",
        Kind.BIAS: "bias",
        Kind.NORM_WEIGHT: "gamma",
        Kind.NORM_BIAS: "beta",
    },
    # nn.Dense stores (out, in); GPT-2's Conv1D stores (in, out).
    from_torch={Kind.CONV1D: TRANSPOSE},
)

DIALECTS: Mapping[str, Dialect] = {d.name: d for d in (TORCH, MINDSPORE)}
