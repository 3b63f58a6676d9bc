"""Pair tensors that hold the same numbers: as they are, transposed, cut or fused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mindport.migrate.guess.groups import Group
from mindport.migrate.guess.proposal import Proposal
from mindport.migrate.guess.values import Values, by_heads, cuts, taking, whole_ways
from mindport.migrate.guess.words import likeness
from mindport.migrate.joints import Split
from mindport.migrate.mapping.weight_map import MapRule
from mindport.migrate.operations import Operation

Ways = list[tuple[Operation, ...]]
_HERE, _THERE = 0, 1  # the sides of a Values


def match_values(
    sources: Sequence[Group], targets: Sequence[Group], values: Values
) -> list[Proposal]:
    """Return rules for groups whose numbers show what becomes of what.

    Tensors that hold a single number show nothing by themselves; they follow another parameter of
    their module.

    Args:
        sources: Of the one checkpoint.
        targets: Of the other.
        values: Their numbers.
    """
    telling = [g for g in sources if g.floating and not values.constant(g, _HERE)]
    told = [g for g in targets if g.floating and not values.constant(g, _THERE)]
    proposals = _alike(telling, told, values)
    telling, told = left_of(telling, told, proposals)
    proposals += _cut(telling, told, values, side=_HERE)
    telling, told = left_of(telling, told, proposals)
    proposals += _cut(told, telling, values, side=_THERE)
    return proposals + _beside(proposals, *left_of(sources, targets, proposals), values)


def left_of(
    sources: Iterable[Group], targets: Iterable[Group], proposals: Iterable[Proposal]
) -> tuple[list[Group], list[Group]]:
    """Return the groups that no rule names."""
    rules = [proposal.rule for proposal in proposals]
    used = {name for rule in rules for name in rule.sources}
    set_ = {name for rule in rules for name in rule.targets}
    return (
        [group for group in sources if group.pattern not in used],
        [group for group in targets if group.pattern not in set_],
    )


def _alike(sources: Sequence[Group], targets: Sequence[Group], values: Values) -> list[Proposal]:
    equal: dict[tuple[Group, Group], Ways] = {}
    for source in sources:
        for target in targets:
            ways = [way for way in whole_ways(source, target)
                    if values.same(source, target, way, side=_HERE)]  # fmt: skip
            if ways:
                equal[source, target] = ways
    proposals: list[Proposal] = []
    left = list(equal)
    while left:
        some = {left[0][0]}, {left[0][1]}
        while more := [p for p in left if (p[0] in some[0]) != (p[1] in some[1])]:
            some[0].update(pair[0] for pair in more)
            some[1].update(pair[1] for pair in more)
        left = [pair for pair in left if pair[0] not in some[0]]
        mine = [group for group in sources if group in some[0]]
        theirs = [group for group in targets if group in some[1]]
        proposals += _component(mine, theirs, equal)
    return proposals


def _component(
    sources: list[Group], targets: list[Group], equal: dict[tuple[Group, Group], Ways]
) -> list[Proposal]:
    """Return the rules for groups that hold the same numbers among themselves."""
    ways = equal[sources[0], targets[0]]
    if len(sources) == len(targets) == 1:
        why = "the same numbers"
        rule = MapRule((sources[0].pattern,), (targets[0].pattern,), transpose=ways[0] != ())
        if len(ways) > 1:
            rule = replace(rule, candidates=("transpose: true",))
            why = "symmetric: as it is and transposed hold the same numbers"
        return [_proposal(rule, sources[0], targets[0], why)]
    copies = all(equal.get((s, t)) == [()] for s in sources for t in targets)
    if min(len(sources), len(targets)) == 1 and copies:
        rule = MapRule(_names(sources), _names(targets), tied=True)
        return [_proposal(rule, sources[0], targets[0], "the same numbers under several names")]
    pairs = sorted(
        ((likeness(s.module, t.module), s, t) for s in sources for t in targets if (s, t) in equal),
        key=lambda pair: -pair[0],
    )
    made: list[Proposal] = []
    for _, source, target in pairs:
        if {source, target} & {g for p in made for g in _groups(p, sources, targets)}:
            continue
        others = tuple(s.pattern for s in sources if s != source and (s, target) in equal)
        rule = MapRule(
            (source.pattern,), (target.pattern,), transpose=equal[source, target][0] != (),
            candidates=others or ("several targets",),
        )  # fmt: skip
        made.append(_proposal(rule, source, target, "several hold the same numbers"))
    return made


def _groups(proposal: Proposal, sources: list[Group], targets: list[Group]) -> list[Group]:
    rule = proposal.rule
    return [s for s in sources if s.pattern in rule.sources] + [
        t for t in targets if t.pattern in rule.targets
    ]


def _cut(
    wholes: Sequence[Group], parts: Sequence[Group], values: Values, *, side: int
) -> list[Proposal]:
    """Return rules for fused tensors of one side whose parts are tensors of the other."""
    proposals = []
    for whole in wholes:
        found: list[tuple[Split, bool, list[Group]]] = []
        tried = {cut for part in parts for cut in cuts(whole, part)}
        for plain, turned in sorted(tried, key=repr):
            for split in by_heads(plain, whole.shape[plain.axis] // plain.parts):
                pieces = _pieces(whole, parts, split, turned, values, side)
                if pieces:
                    found.append((split, turned, pieces))
        if not found:
            continue
        split, turned, pieces = found[0]
        names = (whole.pattern,), _names(pieces)
        sources, targets = names if side == _HERE else names[::-1]
        others = tuple(f"{cut.name}{', transposed' * way}" for cut, way, _ in found[1:])
        rule = MapRule(sources, targets, "", turned, split.axis, split.heads, candidates=others)
        why = "parts hold the same numbers" if not others else "several cuts hold these numbers"
        pair = (whole, pieces[0]) if side == _HERE else (pieces[0], whole)
        proposals.append(_proposal(rule, *pair, why))
    return proposals


def _pieces(
    whole: Group, parts: Sequence[Group], split: Split, turned: bool, values: Values, side: int
) -> list[Group]:
    """Return the group of each part in order; none unless each has exactly one of its own."""
    pieces: list[Group] = []
    for number in range(split.parts):
        fits = [p for p in parts if any(c[1] == turned and c[0].axis == split.axis
                                        and c[0].parts == split.parts for c in cuts(whole, p))
                and values.same(whole, p, taking(split, number, turned), side=side)]  # fmt: skip
        if len(fits) != 1 or fits[0] in pieces:
            return []
        pieces.append(fits[0])
    return pieces


def _beside(
    proposals: Sequence[Proposal], sources: Sequence[Group], targets: Sequence[Group],
    values: Values,
) -> list[Proposal]:  # fmt: skip
    """Return rules for what stands beside a sure parameter and holds equal numbers too."""
    mine = {(group.module, group.role): group for group in sources if group.role}
    theirs = {(group.module, group.role): group for group in targets if group.role}
    made = []
    for proposal in proposals:
        rule = proposal.rule
        if not proposal.sure or rule.tied:
            continue
        modules = (
            [name.rpartition(".")[0] for name in rule.sources],
            [name.rpartition(".")[0] for name in rule.targets],
        )
        for role in ("weight", "bias"):
            here = [mine.get((module, role)) for module in modules[0]]
            there = [theirs.get((module, role)) for module in modules[1]]
            a, b = [g for g in here if g], [g for g in there if g]
            if len(a) < len(here) or len(b) < len(there):
                continue
            other = MapRule(_names(a), _names(b), heads=rule.heads,
                            axis=None if rule.axis is None else 0)  # fmt: skip
            if _holds(other, a, b, values):
                why = "the same number throughout, beside a parameter that is sure"
                made.append(_proposal(other, a[0], b[0], why))
    return made


def _holds(rule: MapRule, sources: list[Group], targets: list[Group], values: Values) -> bool:
    if rule.axis is None:
        return () in whole_ways(sources[0], targets[0]) and values.same(
            sources[0], targets[0], (), side=_HERE
        )
    one_to_many = len(targets) > 1
    whole, parts = (sources[0], targets) if one_to_many else (targets[0], sources)
    split = Split(0, len(parts), rule.heads)
    if any((Split(0, len(parts)), False) not in cuts(whole, part) for part in parts):
        return False
    side = _HERE if one_to_many else _THERE
    return all(values.same(whole, part, taking(split, number, False), side=side)
               for number, part in enumerate(parts))  # fmt: skip


def _names(groups: Sequence[Group]) -> tuple[str, ...]:
    return tuple(group.pattern for group in groups)


def _proposal(rule: MapRule, source: Group, target: Group, why: str) -> Proposal:
    alike = likeness(source.module, target.module)
    return Proposal(rule, target.shape, len(target.indices), alike, why)
