"""The values that upstream gives a new parameter."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mindport.migrate.architecture import Kind
from mindport.migrate.checkpoints.tensors import DTYPES
from mindport.migrate.entry import Entry


def initial_values(entry: Entry, config: Mapping[str, Any], size: int) -> Iterator[np.ndarray]:
    """Yield the values of a generated parameter in order, ``(n,)`` with n at most ``size``.

    Matrices are drawn from N(0, initializer_range), norms are ones, biases zeros. The draw
    depends on the parameter's name alone, so a port is reproducible.
    """
    dtype = DTYPES[entry.target_dtype].numpy
    seed = int.from_bytes(hashlib.sha256(entry.target.encode()).digest()[:8], "little")
    draw = np.random.default_rng(seed)
    left = math.prod(entry.target_shape)
    while left:
        count = min(size, left)
        if entry.kind is Kind.NORM_WEIGHT:
            yield np.ones(count, dtype)
        elif entry.kind in (Kind.BIAS, Kind.NORM_BIAS):
            yield np.zeros(count, dtype)
        else:
            yield draw.normal(0.0, config["initializer_range"], count).astype(dtype)
        left -= count
