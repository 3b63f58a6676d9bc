"""P-tuning: input vectors that come out of a small network, which is learned with them.

Source: X. Liu et al., *GPT Understands, Too*, 2021; see :mod:`mindport.prompts.learning.encoder`
for where ours differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from mindport.prompts.learning.encoder import Encoder
from mindport.prompts.learning.method import GradientMethod, Start
from mindport.prompts.learning.model import Learned


class PTuning(GradientMethod):
    """Learns the encoder's parameters; after training only its output is needed."""

    LEARNING_RATE: ClassVar[float] = 0.005

    def begin(self, start: Start) -> dict[str, np.ndarray]:
        """Return the encoder's parameters."""
        hidden = start.settings.hidden or self.model.sizes.width
        return Encoder.start(self.model.embeddings()[start.tokens], hidden, start.rng)

    def learned(self) -> Learned:
        """Return the encoder's output as float32."""
        return {"soft": Encoder.forward(self.parameters).astype(np.float32)}

    def backward(self, gradients: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Go back through the encoder."""
        return Encoder.backward(self.parameters, gradients["soft"])


METHOD = PTuning
