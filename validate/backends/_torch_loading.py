"""Load the weights into a ``transformers`` model, whichever torch lies below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mindport.migrate.architecture import Head
from mindport.migrate.errors import CheckpointError, EnvironmentUnavailableError
from mindport.validate.backend import LoadReport
from mindport.validate.backends._torch_positions import accept_positions
from mindport.validate.case import EAGER, SDPA, Run


def load_model(
    transformers: Any, torch: Any, run: Run, head: Head
) -> tuple[Any, Mapping[str, Any]]:
    """Return the model of a head and what ``transformers`` says of its weights.

    Args:
        transformers: The module.
        torch: The module that is called torch.
        run: Names the checkpoint, the dtype and the attention.
        head: Names the class.

    Raises:
        CheckpointError: If ``transformers`` cannot load it.
        EnvironmentUnavailableError: If it takes another attention than the one asked for, or no
            positions where the case prescribes them.
    """
    try:
        model, info = getattr(transformers, head.class_name).from_pretrained(
            run.checkpoint,
            dtype=getattr(torch, run.dtype),
            attn_implementation=run.attention,
            output_loading_info=True,
            local_files_only=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"transformers cannot load {Path(run.checkpoint).name} as {head.class_name}: {first}"
        ) from None
    if (used := model.config._attn_implementation) != run.attention:
        raise EnvironmentUnavailableError(
            f"Attention by {run.attention} was asked for, but transformers uses {used}.",
            f"Ask for {used}, or use another version of transformers.",
        )
    accept_positions(model, head)
    return model, info


def use_attention(model: Any, name: str) -> bool:
    """Let a model compute attention otherwise from now on.

    Returns:
        Whether this version of ``transformers`` can; if not, all stays as it was.
    """
    if not hasattr(model, "set_attn_implementation"):
        return bool(model.config._attn_implementation == name)
    model.set_attn_implementation(name)
    return True


@contextmanager
def other_attention(model: Any) -> Iterator[str]:
    """Let a model compute attention otherwise for a while; give the name of that, if it can."""
    before = model.config._attn_implementation
    other = SDPA if before == EAGER else EAGER
    try:
        yield other if use_attention(model, other) else ""
    finally:
        use_attention(model, before)


def report_loading(model: Any, info: Mapping[str, Any]) -> LoadReport:
    """Return what ``transformers`` said as a :class:`mindport.validate.backend.LoadReport`."""
    missing = tuple(sorted(info["missing_keys"]))
    mismatched = tuple(sorted(str(entry) for entry in info["mismatched_keys"]))
    count = len(list(model.parameters()))
    return LoadReport(
        loaded=count - len(missing) - len(mismatched),
        missing=missing,
        unexpected=tuple(sorted(info["unexpected_keys"])),
        mismatched=mismatched,
    )
