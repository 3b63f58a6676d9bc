"""What is wrong with a tensor that is not as the plan needs it, and what may be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mindport.migrate.architecture import Architecture, Head
from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.dialect import Dialect
from mindport.migrate.errors import MindportError
from mindport.migrate.storage import Stored


def refuse_other_heads(architecture: Architecture, head: Head, target: Dialect) -> None:
    """Raise unless the target's library has a network for the head.

    Raises:
        MindportError: With those that it has.
    """
    if not target.has(architecture.name):
        raise MindportError(
            f"{target.title} has no {architecture.title}.",
            f"It has {' and '.join(target.layouts)}; leave out --to {target.name}.",
        )
    heads = target.layout(architecture.name).heads
    if heads is not None and head.name not in heads:
        raise MindportError(
            f"{target.title} has no network for {architecture.title}'s head {head.name!r}.",
            f"Choose one that it has with --head: {', '.join(heads)}.",
        )


def misfit(tensor: Stored, name: str, info: TensorInfo, config: Mapping[str, Any]) -> str:
    """Return what is wrong with a tensor of the source; empty if it fits.

    Args:
        tensor: What it is to be.
        name: Its name.
        info: Its dtype and shape.
        config: The resolved config.
    """
    wanted = tensor.shape
    if not DTYPES[info.dtype].floating:
        return f"not a weight: {name} has dtype {info.dtype}"
    if info.shape == wanted:
        return ""
    message = f"mis-shaped: {name} has {list(info.shape)}, the config wants {list(wanted)}"
    if info.shape == wanted[::-1]:
        return f"{message} (it looks transposed)"
    axes = tensor.members[0].parameter.shape
    for axis, (have, want) in enumerate(zip(info.shape, wanted, strict=False)):
        if tensor.split is None and have != want and axes[axis] in config:
            return f"{message} ({axes[axis]} would be {have})"
    return message


def advice_on(problems: Sequence[str]) -> str:
    """Return what may be done about problems of a plan."""
    kinds = {problem.partition(":")[0] for problem in problems}
    advice = []
    if "missing" in kinds:
        advice.append(
            "--allow-missing gives missing parameters their initial values (for a new head)"
        )
    if "unexpected" in kinds:
        advice.append("--allow-unexpected leaves unexpected tensors behind")
    if "lost" in kinds:
        advice.append("--allow-loss leaves behind what the target has no place for")
    if "mis-shaped" in kinds:
        advice.append("check that config.json belongs to these weights")
    return "; ".join(advice) + ("." if advice else "")
