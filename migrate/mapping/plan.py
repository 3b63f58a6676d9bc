"""A complete, checked plan of what a map file says, from names, shapes and dtypes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.entry import Entry, Piece
from mindport.migrate.errors import PlanError
from mindport.migrate.joints import TakePart
from mindport.migrate.left_over import left_out
from mindport.migrate.mapping.weight_map import Binding, MapRule, WeightMap, bindings, fill_in
from mindport.migrate.operations import Operation, Transpose
from mindport.migrate.transfer import Transfer


@dataclass(frozen=True)
class MapPlan(Transfer):
    """What goes where, by a map file.

    Attributes:
        name: The file's.
        entries: One per tensor.
        notes: The undecided rules that were taken as they stand.
    """

    name: str
    entries: tuple[Entry, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What is carried, in words."""
        return f"by {self.name}"

    @property
    def labels(self) -> dict[str, str | None]:
        """The names of the layouts; neither architecture nor head is known."""
        names = {"source_layout": "source", "target_layout": self.name}
        return {"architecture": None, "head": None, **names}

    @property
    def framework(self) -> str:
        """Not known."""
        return ""


def plan_map(
    weight_map: WeightMap,
    available: Mapping[str, TensorInfo],
    *,
    like: Mapping[str, TensorInfo] | None = None,
    dtype: str | None = None,
    allow_unexpected: bool = False,
    accept_ambiguous: bool = False,
) -> MapPlan:
    """Plan a port by a map file.

    Args:
        weight_map: What it says.
        available: The source's tensors.
        like: The tensors that the target shall have, where that is known.
        dtype: Cast floating tensors to this type; None keeps each one's own.
        allow_unexpected: Leave behind source tensors that the map does not name.
        accept_ambiguous: Take undecided rules as they stand.

    Raises:
        PlanError: With everything that does not fit.
    """
    planning = _Planning(available, dtype)
    notes: list[str] = []
    for rule in weight_map.rules:
        if rule.candidates:
            said = " or ".join(dict.fromkeys((*rule.sources, *rule.candidates)))
            doubt = f"{rule.where}, {_join(rule.targets)} from {said}"
            if accept_ambiguous:
                notes.append(f"ambiguous and accepted as it stands: {doubt}")
            else:
                planning.problems.append(f"undecided: {doubt}")
        planning.follow(rule)
    for pattern, reason in weight_map.dropped.items():
        planning.drop(pattern, reason)
    planning.leave(allow_unexpected)
    if not weight_map.rules:
        planning.problems.append("nothing: the map sets no tensor")
    if like is not None:
        planning.compare(like)
    if planning.problems:
        problems = planning.problems
        raise PlanError(
            f"{weight_map.name} does not fit: {len(problems)} problem{'s' * (len(problems) > 1)}.",
            problems,
            _advice(problems),
        )
    return MapPlan(weight_map.name, tuple(planning.entries), notes=tuple(notes))


class _Planning:
    def __init__(self, available: Mapping[str, TensorInfo], dtype: str | None) -> None:
        self.entries: list[Entry] = []
        self.problems: list[str] = []
        self._available, self._dtype = available, dtype
        self._taken: dict[str, str] = {}
        self._set: dict[str, str] = {}

    def follow(self, rule: MapRule) -> None:
        """Add the entries of one rule, layer by layer."""
        found = bindings(rule.sources[0], self._available)
        if not found:
            near = get_close_matches(rule.sources[0], self._available, 1, cutoff=0.4)
            hint = f" (near it: {near[0]})" if near else ""
            self.problems.append(f"missing: {rule.where}, {rule.sources[0]}{hint}")
        for binding in found:
            self._one(rule, binding)

    def _one(self, rule: MapRule, binding: Binding) -> None:
        sources = [fill_in(name, binding) for name in rule.sources]
        targets = [fill_in(name, binding) for name in rule.targets]
        absent = [name for name in sources if name not in self._available]
        self.problems += [f"missing: {rule.where}, {name}" for name in absent]
        for name in sources:
            self._claim(self._taken, name, rule.where, "used twice")
        for name in targets:
            self._claim(self._set, name, rule.where, "set twice")
        if absent:
            return
        try:
            if rule.joint is not None:
                self.entries.append(self._fused(rule, sources, targets[0]))
                return
            for number, target in enumerate(targets):
                cut = () if rule.split is None else (TakePart(rule.split, number),)
                self.entries.append(self._plain(sources[0], target, (*cut, *rule.operations)))
            self._tie(sources, targets[0])
        except ValueError as error:
            self.problems.append(f"mis-shaped: {rule.where}, {_join(sources)}: {error}")
        except IndexError:
            said = f"mis-shaped: {rule.where}, {_join(sources)}: there is no axis {rule.axis}"
            self.problems.append(said)

    def _plain(self, source: str, target: str, operations: tuple[Operation, ...]) -> Entry:
        info = self._available[source]
        shape = _after(operations, info.shape)
        dtype = self._cast(info)
        return Entry("ported", source, target, info.shape, shape, info.dtype, dtype, operations)

    def _fused(self, rule: MapRule, sources: Sequence[str], target: str) -> Entry:
        infos = [self._available[name] for name in sources]
        if rule.joint is None or len({info.dtype for info in infos}) > 1:
            raise ValueError(f"they are of different dtypes: {[info.dtype for info in infos]}")
        pieces = tuple(
            Piece(name, info.shape, info.dtype, rule.operations)
            for name, info in zip(sources, infos, strict=True)
        )
        shape = rule.joint.shape([_after(rule.operations, info.shape) for info in infos])
        dtype, cast = infos[0].dtype, self._cast(infos[0])
        return Entry("ported", "", target, shape, shape, dtype, cast, pieces=pieces,
                     joint=rule.joint)  # fmt: skip

    def _tie(self, sources: Sequence[str], target: str) -> None:
        first = self._available[sources[0]]
        for name in sources[1:]:
            if self._available[name] != first:
                raise ValueError("tied tensors have different shapes or dtypes")
            reason = f"shares the values of {target}"
            self.entries.append(Entry("tied", name, target, first.shape, first.shape, first.dtype,
                                      first.dtype, reason=reason))  # fmt: skip

    def _cast(self, info: TensorInfo) -> str:
        floating = DTYPES[info.dtype].floating
        return self._dtype if self._dtype is not None and floating else info.dtype

    def _claim(self, taken: dict[str, str], name: str, where: str, what: str) -> None:
        if name in taken:
            self.problems.append(f"{what}: {name}, by {taken[name]} and {where}")
        taken[name] = where

    def drop(self, pattern: str, reason: str) -> None:
        """Leave tensors out for a reason."""
        names = [fill_in(pattern, binding) for binding in bindings(pattern, self._available)]
        for name in names:
            self._claim(self._taken, name, "drop", "used and dropped")
            self.entries.append(left_out("dropped", name, self._available[name], reason))

    def leave(self, allowed: bool) -> None:
        """Find a fate for what no rule names."""
        for name, info in self._available.items():
            if name in self._taken:
                continue
            if allowed:
                reason = "not in the map, and allowed to be"
                self.entries.append(left_out("ignored", name, info, reason))
            else:
                self.problems.append(f"unused: {name} {list(info.shape)}")

    def compare(self, like: Mapping[str, TensorInfo]) -> None:
        """Hold the target against what it shall be."""
        shapes = {e.target: e.target_shape for e in self.entries if e.action == "ported"}
        for name, info in like.items():
            if name not in self._set:
                self.problems.append(f"not set: {name} {list(info.shape)} of the target")
            elif name in shapes and shapes[name] != info.shape:
                self.problems.append(
                    f"mis-shaped: {name} would have {list(shapes[name])}, the target wants "
                    f"{list(info.shape)}"
                )
        self.problems += [f"unknown: the target has no {name}" for name in self._set
                          if name not in like]  # fmt: skip


def _after(operations: Sequence[Operation], shape: tuple[int, ...]) -> tuple[int, ...]:
    for operation in operations:
        if isinstance(operation, Transpose) and len(shape) != 2:
            raise ValueError(f"only a matrix can be transposed, this has shape {list(shape)}")
        shape = operation.shape(shape)
    return shape


def _join(names: Sequence[str]) -> str:
    return " and ".join(names)


def _advice(problems: Sequence[str]) -> str:
    kinds = {problem.partition(":")[0] for problem in problems}
    advice = []
    if "undecided" in kinds:
        advice.append(
            "decide each and take away its `ambiguous: true`, or add --accept-ambiguous to take "
            "them as they stand"
        )
    if "unused" in kinds:
        advice.append(
            "name unused tensors under `drop:`, or add --allow-unexpected to leave them behind"
        )
    return "; ".join(advice) + ("." if advice else "")
