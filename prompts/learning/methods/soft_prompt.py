"""Soft prompt: input vectors, learned one by one.

Source: B. Lester, R. Al-Rfou, N. Constant, *The Power of Scale for Parameter-Efficient Prompt
Tuning*, EMNLP 2021, which also starts from embeddings of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mindport.prompts.learning.method import GradientMethod, Start
from mindport.prompts.learning.model import Learned


class SoftPrompt(GradientMethod):
    """Learns ``soft``, float64 (tokens, width), itself."""

    def begin(self, start: Start) -> dict[str, np.ndarray]:
        """Return the embeddings of the first tokens."""
        return {"soft": self.model.embeddings()[start.tokens].astype(np.float64)}

    def learned(self) -> Learned:
        """Return the vectors as float32."""
        return {"soft": self.parameters["soft"].astype(np.float32)}

    def backward(self, gradients: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return the gradients as they are."""
        return gradients


METHOD = SoftPrompt
