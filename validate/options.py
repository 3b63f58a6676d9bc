"""The options of :func:`mindport.validate.validate`, for editors and type checkers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict


class Options(TypedDict, total=False):
    """The fields of :class:`mindport.validate.Request` but its first; described there.

    A path may be a text here.
    """

    checkpoint: str | Path
    config_file: str | Path | None
    size: str | None
    head: str | None
    inputs: str | Path | None
    batch: int
    length: int | None
    seed: int
    prompts: str | Path | None
    prompt_limit: int | None
    shots: int
    allow_missing: bool
    blocks_only: bool
    gradients: bool
    candidate_checkpoint: str | Path | None
    policy: str | None
    atol: float | None
    rtol: float | None
    backend: str
    device: str
    reference_device: str
    dtype: str
    reference_dtype: str | None
    mode: str
    attention: str
    reference_attention: str
    python: str | None
    reference_python: str | None
    timeout: float
    threads: int | None
    emulate: str | None
    matmul: str | None
    candidate: str | Path | None
    taps_file: str | Path | None
    accept: Sequence[str]
    reference_capture: str | Path | None
    candidate_capture: str | Path | None
