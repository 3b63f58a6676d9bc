"""A complete, checked plan of a port, made from names, shapes and dtypes alone.

Every tensor of the source is used once or left out with a reason, every parameter of the target
is set once; otherwise *all* problems are raised together and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mindport.migrate.architecture import Architecture, Head, Kind
from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.dialect import Dialect
from mindport.migrate.errors import PlanError
from mindport.migrate.expected import Expected, expected_parameters, known_buffers, other_owner
from mindport.migrate.operations import COPY, Operation

Action = Literal["ported", "tied", "dropped", "ignored", "generated"]


@dataclass(frozen=True)
class Entry:
    """What becomes of one tensor.

    Attributes:
        action: ``ported``; ``tied`` (stored once, under another name); ``dropped`` (a buffer);
            ``ignored`` (left behind because it was asked for); ``generated`` (absent in the
            source, given its initial value because it was asked for).
        source: Name in the source, empty for a generated one.
        target: Name in the target, empty if it has none; for a tied one, the name that holds
            its values.
        shape: In the source, or in the target for a generated one.
        target_shape: In the target.
        dtype: In the source.
        target_dtype: In the target.
        operations: Layout changes, in order; empty for a plain copy.
        reason: Why it is not ported.
        kind: What it is, for parameters.
    """

    action: Action
    source: str
    target: str
    shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    dtype: str
    target_dtype: str
    operations: tuple[Operation, ...] = ()
    reason: str = ""
    kind: Kind | None = None

    @property
    def layout(self) -> str:
        """The layout change in words."""
        return " + ".join(op.name for op in self.operations) or "copy"

    def to_dict(self) -> dict[str, Any]:
        """Return the entry for a JSON report."""
        return {
            "action": self.action,
            "source": self.source or None,
            "target": self.target or None,
            "shape": list(self.shape),
            "target_shape": list(self.target_shape),
            "layout": self.layout,
            "dtype": self.dtype,
            "target_dtype": self.target_dtype,
            "reason": self.reason or None,
        }


@dataclass(frozen=True)
class Plan:
    """What goes where.

    Attributes:
        architecture: The model type.
        head: The head of the target.
        config: The resolved config.
        source: The source's dialect.
        target: The target's dialect.
        entries: One per tensor, in the target's order, what is left out at the end.
    """

    architecture: Architecture
    head: Head
    config: Mapping[str, Any]
    source: Dialect
    target: Dialect
    entries: tuple[Entry, ...]

    @property
    def written(self) -> dict[str, TensorInfo]:
        """Dtype and shape of each tensor that the target holds."""
        return {
            e.target: TensorInfo(e.target_dtype, e.target_shape)
            for e in self.entries
            if e.action in ("ported", "generated")
        }

    def totals(self) -> dict[str, int]:
        """Return how many tensors met each fate."""
        counts: dict[str, int] = dict.fromkeys(
            ("ported", "tied", "dropped", "ignored", "generated"), 0
        )
        for entry in self.entries:
            counts[entry.action] += 1
        counts["source"] = sum(1 for e in self.entries if e.source)
        counts["transposed"] = sum(1 for e in self.entries if e.operations)
        counts["cast"] = sum(
            1 for e in self.entries if e.action == "ported" and e.dtype != e.target_dtype
        )
        return counts


def make_plan(
    architecture: Architecture,
    head: Head,
    config: Mapping[str, Any],
    available: Mapping[str, TensorInfo],
    *,
    source: Dialect,
    target: Dialect,
    dtype: str | None = None,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
) -> Plan:
    """Plan the port of one checkpoint.

    Args:
        architecture: What it is.
        head: What the target shall have on top.
        config: The resolved config.
        available: The source's tensors.
        source: How the source is spelled.
        target: How the target shall be spelled.
        dtype: Cast floating tensors to this type; None keeps each one's own.
        allow_missing: Give absent parameters their initial value instead of refusing.
        allow_unexpected: Leave unknown tensors behind instead of refusing.

    Raises:
        PlanError: With every missing, unexpected, doubled and mis-shaped tensor.
    """
    left = dict(available)
    problems: list[str] = []
    entries: list[Entry] = []
    for parameter in expected_parameters(architecture, head, config, source):
        own = [name for name in parameter.names if name in left]
        shared = [name for name in parameter.shared_names if name in left]
        if len(own) > 1:
            problems.append(f"doubled: {' and '.join(own)} are the same parameter")
        misfits = [
            problem
            for name in (*own, *shared)
            if (problem := _misfit(parameter, name, left[name], source, config))
        ]
        problems.extend(misfits)
        stored = [(name, left.pop(name)) for name in (*own, *shared)]
        if stored and not misfits:
            entries.append(_ported(parameter, *stored[0], source, target, dtype))
            entries.extend(_tied(parameter, name, info, target) for name, info in stored[1:])
        elif not stored and allow_missing:
            entries.append(_generated(parameter, target, dtype))
        elif not stored:
            problems.append(f"missing: {parameter.names[0]} {list(parameter.shape(source))}")
    entries.extend(_left_over(architecture, head, left, source, problems, allow_unexpected))
    if problems:
        raise PlanError(
            f"The checkpoint does not fit {architecture.title} with head {head.name!r} "
            f"({head.class_name}): {len(problems)} problem{'s' * (len(problems) > 1)}.",
            problems,
            _advice(problems),
        )
    return Plan(architecture, head, config, source, target, tuple(entries))


def _ported(
    parameter: Expected,
    name: str,
    info: TensorInfo,
    source: Dialect,
    target: Dialect,
    dtype: str | None,
) -> Entry:
    steps = (
        source.operation(parameter.parameter).inverse(),
        target.operation(parameter.parameter),
    )
    return Entry(
        action="ported",
        source=name,
        target=parameter.spell(target),
        shape=info.shape,
        target_shape=parameter.shape(target),
        dtype=info.dtype,
        target_dtype=dtype or info.dtype,
        operations=tuple(op for op in steps if op != COPY),
        kind=parameter.parameter.kind,
    )


def _tied(parameter: Expected, name: str, info: TensorInfo, target: Dialect) -> Entry:
    owner = parameter.spell(target)
    return Entry(
        action="tied",
        source=name,
        target=owner,
        shape=info.shape,
        target_shape=parameter.shape(target),
        dtype=info.dtype,
        target_dtype=info.dtype,
        reason=f"shares the values of {owner}",
    )


def _generated(parameter: Expected, target: Dialect, dtype: str | None) -> Entry:
    shape = parameter.shape(target)
    return Entry(
        action="generated",
        source="",
        target=parameter.spell(target),
        shape=shape,
        target_shape=shape,
        dtype=dtype or "float32",
        target_dtype=dtype or "float32",
        reason="absent in the source; given its initial value",
        kind=parameter.parameter.kind,
    )


def _misfit(
    parameter: Expected,
    name: str,
    info: TensorInfo,
    source: Dialect,
    config: Mapping[str, Any],
) -> str:
    wanted = parameter.shape(source)
    if not DTYPES[info.dtype].floating:
        return f"not a weight: {name} has dtype {info.dtype}"
    if info.shape == wanted:
        return ""
    message = f"mis-shaped: {name} has {list(info.shape)}, the config wants {list(wanted)}"
    if info.shape == wanted[::-1]:
        return f"{message} (it looks transposed)"
    for axis, (have, want) in enumerate(zip(info.shape, wanted, strict=False)):
        field = parameter.parameter.shape[axis]
        if have != want and field in config:
            return f"{message} ({field} would be {have})"
    return message


def _left_over(
    architecture: Architecture,
    head: Head,
    left: Mapping[str, TensorInfo],
    source: Dialect,
    problems: list[str],
    allow_unexpected: bool,
) -> list[Entry]:
    buffers = known_buffers(architecture)
    entries: list[Entry] = []
    for name, info in left.items():
        buffer = buffers.match(name)
        other = other_owner(architecture, head, name, source)
        if buffer is not None:
            entries.append(_left_out("dropped", name, info, buffer.reason))
        elif other is not None:
            reason = f"part of the head {other.name!r}"
            entries.append(_left_out("ignored", name, info, reason))
        elif allow_unexpected:
            entries.append(_left_out("ignored", name, info, "unknown, and allowed to be"))
        else:
            problems.append(f"unexpected: {name} {list(info.shape)}")
    return entries


def _left_out(action: Action, name: str, info: TensorInfo, reason: str) -> Entry:
    return Entry(
        action=action,
        source=name,
        target="",
        shape=info.shape,
        target_shape=(),
        dtype=info.dtype,
        target_dtype=info.dtype,
        reason=reason,
    )


def _advice(problems: list[str]) -> str:
    kinds = {problem.partition(":")[0] for problem in problems}
    advice = []
    if "missing" in kinds:
        advice.append(
            "--allow-missing gives missing parameters their initial values (for a new head)"
        )
    if "unexpected" in kinds:
        advice.append("--allow-unexpected leaves unexpected tensors behind")
    if "mis-shaped" in kinds:
        advice.append("check that config.json belongs to these weights")
    return "; ".join(advice) + ("." if advice else "")
