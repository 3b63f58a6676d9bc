"""What a ported checkpoint says of itself: its config, and the metadata of its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindport.migrate.checkpoints.tensors import DTYPES
from mindport.migrate.plan import Plan


def target_config(plan: Plan, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the target: the source's, with the head's class and the dtype.

    transformers calls the dtype ``torch_dtype`` before release 4.56 and ``dtype`` since, and reads
    both; the one that is there is kept.
    """
    vocabulary = {} if plan.vocabulary is None else {"vocab_size": plan.vocabulary}
    content = {
        **config,
        **vocabulary,
        "model_type": plan.architecture.name,
        "architectures": [plan.head.class_name],
    }
    if plan.totals()["cast"]:
        stated = [key for key in ("torch_dtype", "dtype") if key in config] or ["dtype"]
        content |= dict.fromkeys(stated, _widest(plan))
    return content


def _widest(plan: Plan) -> str:
    dtypes = {info.dtype for info in plan.written.values()}
    return max(sorted(dtypes), key=lambda name: DTYPES[name].numpy.itemsize)


def target_metadata(plan: Plan) -> dict[str, str]:
    """Return what each weights file says of itself, where its format has room for it."""
    # transformers refuses a safetensors file without a "format" that it knows.
    return {
        "format": "pt" if plan.target.framework == "torch" else "mindspore",
        "mindport.architecture": plan.architecture.name,
        "mindport.head": plan.head.name,
        "mindport.layout": plan.target.name,
    }
