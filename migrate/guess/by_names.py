"""Pair modules by shapes and by words, as far as these show what is meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mindport.migrate.guess.groups import Group
from mindport.migrate.guess.proposal import Proposal
from mindport.migrate.guess.values import Values, cuts, whole_ways
from mindport.migrate.guess.words import likeness
from mindport.migrate.mapping.weight_map import MapRule

LIKE = 0.6
"""How alike the names of a pair must be to be sure for that."""
MARGIN = 0.2
"""How much more alike than any other pair of either."""
_SHOWN = 8  # other candidates that are named


@dataclass(frozen=True)
class _Module:
    name: str
    groups: tuple[Group, ...]  # its weight, its bias: what it has

    def part(self, role: str) -> Group | None:
        return next((group for group in self.groups if group.role == role), None)


@dataclass(frozen=True)
class _Pair:
    source: _Module
    target: _Module
    alike: float
    turned: tuple[bool, ...]  # whether the matrix may be as it is, transposed, or either

    def members(self) -> list[tuple[Group, Group]]:
        if len(self.source.groups) == 1:
            return [(self.source.groups[0], self.target.groups[0])]
        return [
            (group, other)
            for group in self.source.groups
            if (other := self.target.part(group.role)) is not None
        ]


def match_names(
    sources: Sequence[Group], targets: Sequence[Group], values: Values | None
) -> list[Proposal]:
    """Return rules for what shapes and names show, sure or not.

    A pair is sure if its shapes allow neither of the two another partner, or if its names are the
    same, or much more alike than those of any other; and if it is clear which way round a matrix
    stands: of a square one shapes do not show that.

    Args:
        sources: Groups of the one checkpoint.
        targets: Groups of the other.
        values: Their numbers, if both hold the same ones: then only such groups are paired.
    """
    mine, theirs = _modules(sources), _modules(targets)
    pairs = [pair for source in mine for target in theirs
             if (pair := _pair(source, target, values)) is not None]  # fmt: skip
    paired = {p.source for p in pairs} | {p.target for p in pairs}
    cut = _may_be_cut(sources, targets)
    whole = all(module in paired or cut.issuperset(module.groups) for module in (*mine, *theirs))
    proposals: list[Proposal] = []
    done: set[tuple[str, _Module]] = set()
    for pair in sorted(pairs, key=lambda p: (p.source.name != p.target.name, -p.alike)):
        if not done.isdisjoint({("source", pair.source), ("target", pair.target)}):
            continue
        done |= {("source", pair.source), ("target", pair.target)}
        rivals = [other for other in pairs if other is not pair
                  and (other.source is pair.source or other.target is pair.target)]  # fmt: skip
        proposals += _judge(pair, rivals, whole)
    return proposals


def match_cuts(
    sources: Sequence[Group], targets: Sequence[Group], values: Values | None
) -> list[Proposal]:
    """Return rules for tensors whose shapes look cut or fused; never sure.

    Shapes show neither the order of the parts nor how they are cut.
    """
    if values is not None:
        return []  # their numbers would have shown it
    proposals = []
    for one, many, reverse in ((sources, targets, False), (targets, sources, True)):
        for whole in one:
            for family in _families(many):
                fits = [cuts(whole, part) for part in family]
                if not all(fits) or fits[0][0][0].parts != len(family):
                    continue
                split, turned = fits[0][0]
                names = (whole.pattern,), tuple(part.pattern for part in family)
                left, right = names[::-1] if reverse else names
                rule = MapRule(left, right, "", turned, split.axis,
                               candidates=("another order, cut or way round",))  # fmt: skip
                alike = likeness(whole.module, family[0].module)
                proposals.append(Proposal(rule, family[0].shape, len(whole.indices), alike,
                                          "shapes show neither order nor cut"))  # fmt: skip
    return proposals


def _modules(groups: Sequence[Group]) -> list[_Module]:
    by_name: dict[str, list[Group]] = {}
    for group in groups:
        if group.floating:
            by_name.setdefault(group.module, []).append(group)
    return [_Module(name, tuple(found)) for name, found in by_name.items()]


def _pair(source: _Module, target: _Module, values: Values | None) -> _Pair | None:
    if len(source.groups) != len(target.groups):
        return None
    pair = _Pair(source, target, likeness(source.name, target.name), ())
    members = pair.members()
    if len(members) != len(source.groups) or any(
        a.role and b.role and a.role != b.role for a, b in members
    ):
        return None
    turned = []
    for way in (False, True):
        matrices = [(a, b) for a, b in members if len(a.shape) == 2]
        if way and not matrices:
            continue
        for a, b in members:
            operations = [w for w in whole_ways(a, b) if (w != ()) == (way and len(a.shape) == 2)]
            if not operations:
                break
            if values is not None and not values.same(a, b, operations[0], side=0):
                break
        else:
            turned.append(way)
    return _Pair(source, target, pair.alike, tuple(turned)) if turned else None


def _judge(pair: _Pair, rivals: Sequence[_Pair], whole: bool) -> list[Proposal]:
    most = max((rival.alike for rival in rivals), default=0.0)
    only = not rivals and (whole or pair.alike >= LIKE)
    same = pair.source.name == pair.target.name
    named = same or (pair.alike >= LIKE and pair.alike - most >= MARGIN)
    both = len(pair.turned) > 1
    why = "no other of these shapes" if only else "names alike" if named else "names too near"
    if not (only or named) and not rivals:
        why = "no other of these shapes, but not all have a counterpart"
    proposals = []
    for source, target in pair.members():
        square = both and len(source.shape) == 2
        others = _others(pair, rivals, source, target) if not (only or named) else ()
        said = why
        if square:
            others += ("transpose: true",)
            said = f"{why}; square: as it is or transposed" if not (only or named) else (
                "square: as it is or transposed")  # fmt: skip
        if not (only or named) and not others:
            others = ("none",)
        turned = pair.turned[0] and len(source.shape) == 2
        rule = MapRule((source.pattern,), (target.pattern,), "", turned, candidates=others)
        proposals.append(Proposal(rule, target.shape, len(target.indices), pair.alike, said))
    return proposals


def _others(pair: _Pair, rivals: Sequence[_Pair], source: Group, target: Group) -> tuple[str, ...]:
    """Return what else the target could come from, or the source could become."""
    found = []
    for rival in sorted(rivals, key=lambda rival: -rival.alike):
        of: Mapping[Group, Group] = dict(rival.members())
        if rival.target is pair.target:
            found += [s.pattern for s, t in of.items() if t == target]
        else:
            found += [f"for {t.pattern}" for s, t in of.items() if s == source]
    return tuple(dict.fromkeys(found[:_SHOWN]))


def _may_be_cut(sources: Sequence[Group], targets: Sequence[Group]) -> set[Group]:
    """Return the groups of either side that may be fused ones, or parts of them."""
    found: set[Group] = set()
    for one, many in ((sources, targets), (targets, sources)):
        for whole in one:
            for family in _families(many):
                ways = cuts(whole, family[0])
                if any(split.parts <= len(family) for split, _ in ways):
                    found |= {whole, *family}
    return found


def _families(groups: Sequence[Group]) -> list[list[Group]]:
    """Return groups of one role and shape whose modules stand in the same module."""
    found: dict[tuple[str, str, tuple[int, ...]], list[Group]] = {}
    for group in groups:
        parent = group.module.rpartition(".")[0]
        found.setdefault((parent, group.role, group.shape), []).append(group)
    return [family for family in found.values() if len(family) > 1]
