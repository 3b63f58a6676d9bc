"""Prefix tuning: keys and values, in every layer, that every token can attend to.

Sources: X. L. Li, P. Liang, *Prefix-Tuning*, ACL 2021; X. Liu et al., *P-Tuning v2*, ACL 2022,
which learns them directly, as we do. They take no position: the prompt's own begin at 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from mindport.prompts.learning.method import GradientMethod, Start
from mindport.prompts.learning.model import Learned

_START = 0.1  # deviation; at 0 keys and values would have no gradient


class PrefixTuning(GradientMethod):
    """Learns ``prefix``, float64 (layers, 2, heads, tokens, head_dim)."""

    SLOTS: ClassVar[bool] = False

    def begin(self, start: Start) -> dict[str, np.ndarray]:
        """Return small random keys and values."""
        sizes = self.model.sizes
        shape = (sizes.layers, 2, sizes.heads, start.settings.tokens, sizes.head_dim)
        return {"prefix": start.rng.normal(0, _START, shape)}

    def learned(self) -> Learned:
        """Return keys and values as float32."""
        return {"prefix": self.parameters["prefix"].astype(np.float32)}

    def backward(self, gradients: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return the gradients as they are."""
        return gradients


METHOD = PrefixTuning
