"""What a ported checkpoint says of itself: its config, and the metadata of its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindport.migrate.checkpoints.tensors import DTYPES
from mindport.migrate.transfer import Transfer


def target_config(plan: Transfer, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the target: the source's, with the head's class and the dtype.

    transformers calls the dtype ``torch_dtype`` before release 4.56 and ``dtype`` since, and reads
    both; the one that is there is kept.
    """
    content = {**config, **plan.stated}
    if plan.totals()["cast"]:
        stated = [key for key in ("torch_dtype", "dtype") if key in config] or ["dtype"]
        content |= dict.fromkeys(stated, _widest(plan))
    return content


def _widest(plan: Transfer) -> str:
    dtypes = {info.dtype for info in plan.written.values()}
    return max(sorted(dtypes), key=lambda name: DTYPES[name].numpy.itemsize)


def target_metadata(plan: Transfer) -> dict[str, str]:
    """Return what each weights file says of itself, where its format has room for it."""
    # transformers refuses a safetensors file without a "format" that it knows.
    said = {"architecture": "architecture", "head": "head", "target_layout": "layout"}
    return {
        "format": "mindspore" if plan.framework == "mindspore" else "pt",
        **{f"mindport.{said[key]}": v for key, v in plan.labels.items() if key in said and v},
    }
