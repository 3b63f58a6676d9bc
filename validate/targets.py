"""What the loss is made with: the same labels for both sides, made from a seed.

Which ones a head needs is said in its architecture file (:class:`Target`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mindport.migrate.architecture import IGNORED, Architecture, Head, Target, dimension
from mindport.migrate.errors import MindportError

Arrays = dict[str, np.ndarray]
_OF_TARGETS = 1  # sets the stream of random numbers apart from that of the inputs
_LEFT_OUT = 5  # every so many real tokens one has no label, as in a batch that is trained on


def make_targets(
    architecture: Architecture,
    head: Head,
    config: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
    seed: int,
) -> Arrays:
    """Return random targets for every part of a head's loss.

    Args:
        architecture: What will run them.
        head: Its head.
        config: The resolved config.
        inputs: What is fed, int64 (batch, seq).
        seed: Of the random numbers.

    Returns:
        By name: int64 (batch, seq) with ``IGNORED`` at padding and at some real tokens; int64
        (batch,) of classes, or of positions that are real; float32 (batch,) where there is one
        class; float32 (batch, seq, width) that is 0 at padding.

    Raises:
        MindportError: If there is nothing that a loss could be made of.
    """
    if not head.targets:
        raise MindportError(
            f"{architecture.title} with the head {head.name!r} has no loss.",
            "Leave out --gradients.",
        )
    rng = np.random.default_rng((seed, _OF_TARGETS))
    real = inputs["attention_mask"] != 0
    return {target.name: _make(target, config, real, rng) for target in head.targets}


def _make(
    target: Target, config: Mapping[str, Any], real: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    if target.per == "element":
        width = dimension(target.classes, config)
        numbers = rng.normal(size=(*real.shape, width)).astype(np.float32)
        return np.where(real[..., None], numbers, np.float32(0))
    if target.classes == "positions":
        return np.array([rng.choice(np.flatnonzero(row)) for row in real], np.int64)
    classes = dimension(target.classes, config)
    if target.per == "sequence":
        if classes == 1:
            return rng.normal(size=len(real)).astype(np.float32)
        return rng.integers(0, classes, len(real))
    labels = np.where(real, rng.integers(0, classes, real.shape), IGNORED)
    labels[:, _LEFT_OUT - 1 :: _LEFT_OUT] = IGNORED
    if target.shift:  # what padding on the left makes of the first token has no meaning
        labels[:, 1:][~real[:, :-1]] = IGNORED
    if (labels[:, 1:] if target.shift else labels).max(initial=IGNORED) == IGNORED:
        raise MindportError("Not one token has a label that the loss counts.", "Use longer inputs.")
    return labels
