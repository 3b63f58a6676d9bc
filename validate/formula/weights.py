"""The parameters of a checkpoint in torch's layout, as the formulas want them: float64."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from mindport.migrate.architecture import Architecture, Head, Kind
from mindport.migrate.checkpoints.locate import Checkpoint
from mindport.migrate.dialect import TORCH
from mindport.migrate.expected import Expected, expected_parameters, is_tied

ROUNDED: Mapping[str, Any] = {
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}
_KEPT = 4  # a step uses a matrix and a bias; its neighbour may use the same


class Weights:
    """Parameters by module and kind, rounded to the run's dtype, then widened to float64.

    Args:
        architecture: The description.
        head: Its head.
        config: The resolved config.
        checkpoint: In torch's layout.
        dtype: Of the run: the oracle is the exact network of the *rounded* weights.
    """

    def __init__(
        self,
        architecture: Architecture,
        head: Head,
        config: Mapping[str, Any],
        checkpoint: Checkpoint,
        dtype: str,
    ) -> None:
        self._reader, self._dtype = checkpoint.reader, ROUNDED[dtype]
        self._head = head
        self._names: dict[tuple[str, Kind], str] = {}
        found: dict[tuple[str, Kind], Expected] = {}
        for item in expected_parameters(architecture, head, config, TORCH):
            found[item.parameter.module, item.parameter.kind] = item
        for tied in head.tied:
            if is_tied(tied, config):
                key = (tied.parameter.module, tied.parameter.kind)
                found[key] = found[tied.to, tied.to_kind]
        for key, item in found.items():
            stored = (n for n in (*item.names, *item.shared_names) if n in self._reader.infos)
            self._names[key] = next(stored)
        self._cache: OrderedDict[tuple[str, Kind], np.ndarray] = OrderedDict()

    def get(self, module: str, kind: Kind) -> np.ndarray:
        """Return a parameter in torch's layout, float64.

        Args:
            module: Path of its module, with or without the body's prefix.
            kind: What it is.

        Raises:
            KeyError: If the head has no such parameter.
        """
        key = self._key(module, kind)
        if key not in self._cache:
            stored = self._reader.read(self._names[key])
            self._cache[key] = stored.astype(self._dtype).astype(np.float64)
            if len(self._cache) > _KEPT:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    def has(self, module: str, kind: Kind) -> bool:
        """Return whether the head has such a parameter."""
        return self._key(module, kind) in self._names

    def matrix(self, module: str, kind: Kind) -> np.ndarray:
        """Return a projection as ``(in, out)``, whatever the layout of its kind."""
        stored = self.get(module, kind)
        return stored if kind is Kind.CONV1D else stored.T

    def width(self, module: str, kind: Kind) -> int:
        """Return how many outputs a projection has, from the header alone."""
        shape = self._reader.infos[self._names[self._key(module, kind)]].shape
        return int(shape[1] if kind is Kind.CONV1D else shape[0])

    def _key(self, module: str, kind: Kind) -> tuple[str, Kind]:
        below = (self._head.prefix + module, kind)
        return below if below in self._names else (module, kind)


class AbsentWeights(Weights):
    """Stands for weights that are not at hand; nothing can be recomputed with it."""

    def __init__(self) -> None:
        self._names, self._cache = {}, OrderedDict()

    def _key(self, module: str, kind: Kind) -> tuple[str, Kind]:
        raise KeyError(f"{module} ({kind.value}): the weights are not at hand")
