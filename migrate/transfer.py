"""What is to be carried from a source to a target, however it was decided."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mindport.migrate.checkpoints.locate import Checkpoint
from mindport.migrate.checkpoints.tensors import TensorInfo
from mindport.migrate.entry import Entry
from mindport.migrate.operations import Transpose


class Transfer(ABC):
    """One entry per tensor, and what is said of the whole.

    Attributes:
        entries: In the target's order, what is left out at the end.
        config: The resolved config; empty where none is known.
        notes: What should be known of it besides.
    """

    entries: tuple[Entry, ...]
    config: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    @abstractmethod
    def title(self) -> str:
        """What is carried, in words."""

    @property
    @abstractmethod
    def labels(self) -> dict[str, str | None]:
        """``architecture``, ``head``, ``source_layout`` and ``target_layout``, for reports."""

    @property
    @abstractmethod
    def framework(self) -> str:
        """Whose files the target is kept in, ``torch`` or ``mindspore``; empty for either."""

    @property
    def stated(self) -> dict[str, Any]:
        """The fields that the target's config has otherwise than the source's."""
        return {}

    @property
    def written(self) -> dict[str, TensorInfo]:
        """Dtype and shape of each tensor that the target holds."""
        return {
            e.target: TensorInfo(e.target_dtype, e.target_shape)
            for e in self.entries
            if e.action in ("ported", "generated")
        }

    def totals(self) -> dict[str, int]:
        """Return how many tensors met each fate."""
        counts: dict[str, int] = dict.fromkeys(
            ("ported", "tied", "dropped", "ignored", "generated"), 0
        )
        for entry in self.entries:
            counts[entry.action] += 1
        counts["source"] = len({name for e in self.entries for name in e.sources})
        counts["transposed"] = sum(1 for e in self.entries if _transposed(e))
        counts["cast"] = sum(
            1 for e in self.entries if e.action == "ported" and e.dtype != e.target_dtype
        )
        return counts


@dataclass(frozen=True)
class Ready:
    """A checked plan with what it needs to be carried out.

    Attributes:
        plan: What goes where.
        source: The open source.
        config: The contents of the source's ``config.json``; empty if it has none.
    """

    plan: Transfer
    source: Checkpoint
    config: Mapping[str, Any]


def _transposed(entry: Entry) -> bool:
    done = [*entry.operations, *(op for piece in entry.pieces for op in piece.operations)]
    return any(isinstance(operation, Transpose) for operation in done)
