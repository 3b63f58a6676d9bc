"""What rounding may do to each tap, kept beside a reference whose weights stay at home.

``rounding.safetensors`` holds, by tap, the predicted standard deviation of every element in the
accumulated view, float32. With the oracle it is all that this view needs, so a capture can be
judged where the weights are not at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from mindport.migrate.errors import MindportError
from mindport.validate.capture import Capture
from mindport.validate.expectation import Expected, count_copies
from mindport.validate.formula.recompute import Recomputed, View, recompute
from mindport.validate.formula.rounding import PRECISIONS
from mindport.validate.formula.validity import valid_elements
from mindport.validate.network import Network

FILE = "rounding.safetensors"
_LEAST = np.finfo(np.float32).tiny


def keep(folder: Path, taps: tuple[str, ...], network: Network, dtype: str) -> None:
    """Predict the rounding errors of a reference and write them beside its taps.

    Args:
        folder: The capture.
        taps: Which taps it has.
        network: With its weights.
        dtype: Of the run.
    """
    copies = count_copies(network.steps, network.setting)
    found = {
        item.step.tap: np.maximum(item.accumulated.deviation.astype(np.float32), _LEAST)
        for item in recompute(network.steps, network.setting, {}, PRECISIONS[dtype], copies=copies)
        if item.step.tap in taps
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in found.items()}
    save_file(arrays, str(folder / FILE), {"copies": str(copies)})


def recall(reference: Capture, network: Network) -> Iterator[Expected]:
    """Yield the accumulated view of each tap, in network order, as it was kept.

    Args:
        reference: With oracle and kept deviations.
        network: What was run; its weights are not needed.

    Raises:
        MindportError: If the reference has kept none.
    """
    path = reference.folder / FILE
    if not path.is_file():
        raise MindportError(
            "The reference's weights are not at hand, and it was recorded with nothing in their "
            "place.",
            "Name the weights with --checkpoint.",
        )
    with safe_open(str(path), framework="numpy") as file:
        copies = int(file.metadata()["copies"])
        for step in network.steps:
            if step.tap not in reference.manifest.taps:
                continue
            expected = reference.oracle(step.tap)
            deviation = file.get_tensor(step.tap).astype(np.float64)
            valid = valid_elements(step, network.setting.real, expected.shape)
            view = View(expected, deviation, direct=False)
            item = Recomputed(step, valid, view, {}, copies)
            yield Expected(item, item)
