"""What a map file says: rules from names of the source to names of the target."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mindport.migrate.joints import Concatenate, Split
from mindport.migrate.operations import TRANSPOSE, InsertAxis, Operation

Binding = Mapping[str, str]
"""The numbers that stand for ``{i}``, ``{j}`` … in one layer's names."""

_PLACEHOLDER = re.compile(r"\{([a-z])\}")


@dataclass(frozen=True)
class MapRule:
    """From tensors of the source to tensors of the target.

    One to one is another name; one to several is split, several to one are fused, or with ``tied``
    have the same values. Of what is split the parts are transposed, of what is fused the pieces:
    so the rule reads the same both ways.

    Attributes:
        sources: Names, ``{i}`` for any number.
        targets: Names, with the same ``{i}``.
        where: Where it stands, for messages.
        transpose: Whether a matrix is turned round.
        axis: Along which axis the fused tensor is cut; None for rules that cut nothing.
        heads: Of fused projections, how many heads, if they are fused head by head; otherwise 0.
        tied: Whether all names mean the same values.
        extra: Something else done to it, or None.
        candidates: What else the sources could be; the rule is undecided if there are any.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    where: str = ""
    transpose: bool = False
    axis: int | None = None
    heads: int = 0
    tied: bool = False
    extra: Operation | None = None
    candidates: tuple[str, ...] = ()

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What is done to each tensor, apart from cutting and joining."""
        done = (TRANSPOSE,) if self.transpose else ()
        return (*done, self.extra) if self.extra else done

    @property
    def split(self) -> Split | None:
        """How the source is cut, or None."""
        if self.axis is None or len(self.targets) == 1:
            return None
        return Split(self.axis, len(self.targets), self.heads)

    @property
    def joint(self) -> Concatenate | None:
        """How the sources are joined, or None."""
        if self.axis is None or len(self.sources) == 1:
            return None
        return Concatenate(self.axis, len(self.sources), self.heads)

    def reversed(self) -> MapRule:
        """Return the rule of the way back."""
        extra = self.extra.inverse() if self.extra else None
        return replace(self, sources=self.targets, targets=self.sources, extra=extra)


@dataclass(frozen=True)
class WeightMap:
    """The contents of a map file.

    Attributes:
        name: The file's.
        rules: In order.
        dropped: Patterns of source names that are left out, with the reason.
    """

    name: str
    rules: tuple[MapRule, ...]
    dropped: Mapping[str, str]

    def reversed(self) -> WeightMap:
        """Return the map of the way back; what is left out one way is not asked for the other."""
        return WeightMap(self.name, tuple(rule.reversed() for rule in self.rules), {})


def bindings(pattern: str, names: Iterable[str]) -> list[Binding]:
    """Return the numbers for which a pattern is one of the names, in ascending order."""
    seen = set[str]()
    parts = _PLACEHOLDER.split(pattern)  # text, letter, text, letter …
    regex = ""
    for number, part in enumerate(parts):
        if number % 2 == 0:
            regex += re.escape(part)
        elif part in seen:
            regex += f"(?P={part})"
        else:
            regex += rf"(?P<{part}>\d+)"
            seen.add(part)
    found = [match.groupdict() for name in names if (match := re.fullmatch(regex, name))]
    return sorted(found, key=lambda numbers: [int(number) for number in numbers.values()])


def letters(pattern: str) -> frozenset[str]:
    """Return the letters that stand for numbers in a pattern."""
    return frozenset(_PLACEHOLDER.findall(pattern))


def fill_in(pattern: str, binding: Binding) -> str:
    """Return a pattern with its numbers filled in."""
    return _PLACEHOLDER.sub(lambda match: binding[match[1]], pattern)


EXTRAS: Mapping[str, Operation] = {
    # The one conversion of values that TroubleShooter knows: Conv1d's weights.
    "troubleshooter.migrator.mapping_relation.weight_adapter.trans_conv1d_weight_value": InsertAxis(
        2
    )
}
