"""What is wrong with a tensor that is not as the plan needs it, and what may be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo
from mindport.migrate.storage import Stored


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
    if "mis-shaped" in kinds:
        advice.append("check that config.json belongs to these weights")
    return "; ".join(advice) + ("." if advice else "")
