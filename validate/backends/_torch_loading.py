"""Load the weights into a ``transformers`` model, whichever torch lies below it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindport.migrate.architecture import Head
from mindport.migrate.errors import CheckpointError
from mindport.validate.backend import LoadReport
from mindport.validate.case import Run


def load_model(
    transformers: Any, torch: Any, run: Run, head: Head, attention: str
) -> tuple[Any, Mapping[str, Any]]:
    """Return the model of a head and what ``transformers`` says of its weights.

    Args:
        transformers: The module.
        torch: The module that is called torch.
        run: Names the checkpoint and the dtype.
        head: Names the class.
        attention: Which implementation to take.

    Raises:
        CheckpointError: If ``transformers`` cannot load it.
    """
    try:
        model, info = getattr(transformers, head.class_name).from_pretrained(
            run.checkpoint,
            dtype=getattr(torch, run.dtype),
            attn_implementation=attention,
            output_loading_info=True,
            local_files_only=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"transformers cannot load {Path(run.checkpoint).name} as {head.class_name}: {first}"
        ) from None
    return model, info


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
