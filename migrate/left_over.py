"""What becomes of a source's tensors that the target does not hold."""

from __future__ import annotations

from collections.abc import Mapping

from mindport.migrate.architecture import Architecture, Head
from mindport.migrate.checkpoints.tensors import TensorInfo
from mindport.migrate.dialect import Dialect
from mindport.migrate.entry import Action, Entry
from mindport.migrate.expected import known_buffers, other_owner


def left_over(
    architecture: Architecture,
    head: Head,
    left: Mapping[str, TensorInfo],
    source: Dialect,
    problems: list[str],
    allow_unexpected: bool,
) -> list[Entry]:
    """Return the fates of tensors that no parameter of the head took; add those without one.

    Args:
        architecture: What it is.
        head: Whose parameters took theirs.
        left: The tensors.
        source: How they are spelled.
        problems: Extended by one sentence for each that nothing explains.
        allow_unexpected: Leave such tensors behind instead.
    """
    buffers = known_buffers(architecture)
    entries: list[Entry] = []
    for name, info in left.items():
        buffer = buffers.match(name)
        other = other_owner(architecture, head, name, source)
        if buffer is not None:
            entries.append(left_out("dropped", name, info, buffer.reason))
        elif other is not None:
            reason = f"part of the head {other.name!r}"
            entries.append(left_out("ignored", name, info, reason))
        elif allow_unexpected:
            entries.append(left_out("ignored", name, info, "unknown, and allowed to be"))
        else:
            problems.append(f"unexpected: {name} {list(info.shape)}")
    return entries


def lose(
    lost: Mapping[str, tuple[str, TensorInfo]], problems: list[str], allow_loss: bool
) -> list[Entry]:
    """Return the fates of parameters that the target has no place for; add a problem for each.

    Args:
        lost: Where there is no place and why, and what it is, by the tensor's name.
        problems: Extended by one sentence for each.
        allow_loss: Leave them behind instead.
    """
    if not allow_loss:
        problems += [
            f"lost: {name} {list(info.shape)} has no place in {why}"
            for name, (why, info) in lost.items()
        ]
        return []
    return [
        left_out("ignored", name, info, f"no place in {why}; allowed to be lost")
        for name, (why, info) in lost.items()
    ]


def left_out(action: Action, name: str, info: TensorInfo, reason: str) -> Entry:
    """Return the fate of a tensor that is not in the target."""
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
