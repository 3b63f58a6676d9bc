"""What is proposed: rules, each sure or not, and what has no counterpart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mindport.migrate.guess.groups import Group
from mindport.migrate.mapping.weight_map import MapRule


@dataclass(frozen=True)
class Proposal:
    """One rule of the map.

    Attributes:
        rule: What becomes of what; with other candidates if it is not sure.
        shape: Of the first target.
        count: How many layers it holds for.
        likeness: How alike the names are, from 0 to 1.
        why: Why it is sure, or why it is not.
    """

    rule: MapRule
    shape: tuple[int, ...]
    count: int
    likeness: float
    why: str

    @property
    def sure(self) -> bool:
        """Whether nothing else could be meant."""
        return not self.rule.candidates

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        rule = self.rule
        return {
            "source": list(rule.sources),
            "target": list(rule.targets),
            "transpose": rule.transpose,
            "axis": rule.axis,
            "heads": rule.heads,
            "tied": rule.tied,
            "shape": list(self.shape),
            "layers": self.count,
            "likeness": round(self.likeness, 3),
            "ambiguous": not self.sure,
            "candidates": list(rule.candidates),
            "why": self.why,
        }


@dataclass
class Guess:
    """All that was found.

    Attributes:
        proposals: One per rule.
        sources: Groups of the source that are in no rule.
        targets: Groups of the target that are in no rule.
    """

    proposals: list[Proposal] = field(default_factory=list)
    sources: list[Group] = field(default_factory=list)
    targets: list[Group] = field(default_factory=list)

    @property
    def certain(self) -> bool:
        """Whether every tensor of both sides is in a rule that is sure."""
        return not self.sources and not self.targets and all(p.sure for p in self.proposals)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {
            "schema": 1,
            "certain": self.certain,
            "rules": [proposal.to_dict() for proposal in self.proposals],
            "unmatched_sources": [group.pattern for group in self.sources],
            "unmatched_targets": [group.pattern for group in self.targets],
        }
