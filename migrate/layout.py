"""How a dialect names and cuts the parameters of one architecture, where it is not as upstream.

A :class:`Rule` relates upstream modules to those of the dialect: one to one is another name,
several to one are fused, one to several is split. What no rule names is stored under upstream's
name in the dialect's spelling. Rules are about modules: matrix and bias follow the same one.
Another name may be a whole one (not a module's), and a matrix may stand the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mindport.migrate.architecture import Kind
from mindport.migrate.joints import Split
from mindport.migrate.operations import COPY, TRANSPOSE, Operation

# Which axis of torch's array the outputs run over: the one that fused projections share.
_OUTPUTS = {Kind.LINEAR: 0, Kind.CONV1D: 1, Kind.BIAS: 0, Kind.NORM_WEIGHT: 0, Kind.NORM_BIAS: 0}
_MATRICES = {Kind.LINEAR, Kind.CONV1D}


@dataclass(frozen=True)
class Rule:
    """Where a dialect keeps some modules.

    Attributes:
        modules: Upstream's paths, ``{i}`` for the layer: below the body's prefix, or whole for
            those of a head. Several are fused in this order.
        stored: The dialect's paths. Several get the parts in this order.
        heads: Of fused projections, the config field of the number of heads if they are fused head
            by head; empty if one stands after the other.
        transposed: Whether the matrix is stored the other way round than the dialect stores such
            matrices otherwise.
        whole: Whether ``stored`` is the parameter's name, and nothing is put behind it.
        also: Other paths that are read like ``stored``, but never written.
    """

    modules: tuple[str, ...]
    stored: tuple[str, ...]
    heads: str = ""
    transposed: bool = False
    whole: bool = False
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is neither a name, a fusion nor a split."""
        if not self.modules or not self.stored or min(len(self.modules), len(self.stored)) > 1:
            raise ValueError(f"a rule fuses or splits, not both: {self.modules} to {self.stored}")
        if (self.also or self.whole) and max(len(self.modules), len(self.stored)) > 1:
            raise ValueError(f"a rule that fuses or splits has one name for each: {self.stored}")

    def lay_out(self, kind: Kind, operation: Operation) -> Operation:
        """Return what makes torch's array of a kind into the dialect's.

        Args:
            kind: What it is.
            operation: What the dialect does to this kind otherwise.
        """
        if not self.transposed or kind not in _MATRICES:
            return operation
        return TRANSPOSE if operation == COPY else COPY

    def split(self, kind: Kind, config: Mapping[str, Any]) -> Split | None:
        """Return how the fused array of a kind is cut into the others; None for another name.

        Raises:
            ValueError: If parameters of this kind are never fused.
        """
        parts = max(len(self.modules), len(self.stored))
        if parts == 1:
            return None
        if kind not in _OUTPUTS:
            raise ValueError(f"{kind.value}s such as {self.modules[0]} cannot be fused")
        return Split(_OUTPUTS[kind], parts, config[self.heads] if self.heads else 0)


@dataclass(frozen=True)
class Layout:
    """The rules of one architecture in one dialect.

    Attributes:
        rules: Each module is named by one at most.
        prefix: What stands before the body's names in a head, instead of upstream's; None keeps
            that.
        heads: The heads that the dialect's library has a network for; None for all.
        absent: Modules that it has no place for, where the config wants them, each with the reason.
    """

    rules: tuple[Rule, ...] = ()
    prefix: str | None = None
    heads: tuple[str, ...] | None = None
    absent: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse rules that contradict each other."""
        for side in ("modules", "stored"):
            named = [module for rule in self.rules for module in getattr(rule, side)]
            twice = sorted({module for module in named if named.count(module) > 1})
            if twice:
                raise ValueError(f"two rules name {twice[0]}")

    def rule_of(self, module: str) -> Rule | None:
        """Return the rule that names an upstream module, or None."""
        return next((rule for rule in self.rules if module in rule.modules), None)

    def places(self, module: str) -> tuple[str, ...]:
        """Return the dialect's modules that hold an upstream module or a part of it."""
        rule = self.rule_of(module)
        return rule.stored if rule else (module,)

    def below(self, prefix: str) -> str:
        """Return what stands before the body's names where upstream has ``prefix``."""
        return self.prefix if prefix and self.prefix is not None else prefix


PLAIN = Layout()
