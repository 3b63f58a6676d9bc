"""How each framework spells a kind of parameter, and which layout it stores it in.

What other libraries do differently stands in :mod:`mindport.migrate.dialects`, a file for each.
"""

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
        name: What ``--to`` calls it: ``torch``, ``mindspore`` …
        suffixes: The last part of a parameter's name, by kind.
        from_torch: How the stored array differs from torch's, by kind; :data:`COPY` if absent.
        aliases: Older spellings that are read but never written: ``gamma`` for ``weight`` …
        layouts: By architecture, where modules have other names than upstream's, are fused or
            split.
        framework: Whose files it is kept in, ``torch`` or ``mindspore``.
        sign: How a tensor's name ends in this dialect alone, by which a checkpoint is recognised;
            empty if it is recognised by having no other's.
        title: How people write it.
        closed: Whether it has only the architectures in ``layouts``.
    """

    name: str
    suffixes: Mapping[Kind, str]
    from_torch: Mapping[Kind, Operation] = field(default_factory=dict)
    aliases: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    framework: str = "mindspore"
    sign: str = ""
    title: str = ""
    closed: bool = False

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

    def has(self, architecture: str) -> bool:
        """Return whether an architecture is kept in this dialect at all."""
        return not self.closed or architecture in self.layouts

    def layout(self, architecture: str) -> Layout:
        """Return where the modules of an architecture are kept."""
        return self.layouts.get(architecture, PLAIN)

    def stored_names(
        self, architecture: str, module: str, kind: Kind, prefix: str = "", part: int = 0
    ) -> tuple[str, ...]:
        """Return every name under which an upstream module's parameter may be stored.

        Args:
            architecture: Its model type.
            module: Upstream's path below ``prefix``, ``{i}`` for the layer.
            kind: What the parameter is.
            prefix: What upstream has before the module.
            part: Which part of a parameter that is split.

        Returns:
            The names, the proper one first.
        """
        layout = self.layout(architecture)
        rule, before = layout.rule_of(module), layout.below(prefix)
        if rule is None:
            return self.spellings(before + module, kind)
        places = (rule.stored[part], *rule.also)
        if rule.whole:
            return tuple(before + place for place in places)
        return tuple(name for place in places for name in self.spellings(before + place, kind))

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
    framework="torch",
    title="PyTorch",
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
    sign=".embedding_table",
    title="MindSpore",
)
