"""What a training leaves: its curve, what was learned, and the answers before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.errors import CheckpointError
from mindport.prompts.learning.evaluation import Evaluation
from mindport.prompts.learning.method import Search
from mindport.prompts.stored_folder import StoredFolder

_STORED = StoredFolder("result", "learning result", 1, "Learn the prompt again.")


@dataclass(frozen=True)
class StepRecord:
    """What came of one step.

    Attributes:
        step: Its number, from 1 up.
        loss: Of its batch, before the update.
        gradient_norm: Euclidean norm of all that was learned.
        learning_rate: Of this step.
        seconds: Since the training began.
        validation_loss: Of the rows set aside, after the update; None if not looked at.
        search: AutoPrompt's, or None.
    """

    step: int
    loss: float
    gradient_norm: float
    learning_rate: float
    seconds: float
    validation_loss: float | None = None
    search: Search | None = None


@dataclass(frozen=True, eq=False)
class LearningResult:
    """A finished training.

    Attributes:
        settings: Of the training.
        data_digest: Of what it was fed.
        labels: In order.
        item_ids: The held-out rows.
        records: One a step.
        best_step: The step after which the prompt was taken.
        state: What was learned, as the method keeps it.
        learned: What the network is given: ``soft`` or ``prefix``, float32.
        first_gradients: The gradients of the first step, where both sides are still at the start.
        before: Zero shot: the plain prompt, held-out rows.
        after: The learned prompt, held-out rows.
        identity: What really ran.
        tokens: AutoPrompt's trigger tokens as text; else, for each learned vector, the token whose
            embedding is nearest by cosine. Empty until a tokenizer has been asked.
    """

    settings: Mapping[str, Any]
    data_digest: str
    labels: tuple[str, ...]
    item_ids: tuple[str, ...]
    records: tuple[StepRecord, ...]
    best_step: int
    state: Mapping[str, np.ndarray]
    learned: Mapping[str, np.ndarray]
    first_gradients: Mapping[str, np.ndarray]
    before: Evaluation
    after: Evaluation
    identity: Mapping[str, Any] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()

    @property
    def losses(self) -> np.ndarray:
        """float64 (steps,)."""
        return np.array([record.loss for record in self.records])

    def triggers(self) -> list[tuple[int, int]]:
        """Return which trigger token was set to what, step by step; empty but for AutoPrompt."""
        return [(r.search.position, r.search.chosen) for r in self.records if r.search]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays as plain values."""
        return {
            "settings": dict(self.settings),
            "data_digest": self.data_digest,
            "labels": list(self.labels),
            "item_ids": list(self.item_ids),
            "records": [asdict(record) for record in self.records],
            "best_step": self.best_step,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "identity": dict(self.identity),
            "tokens": list(self.tokens),
        }

    def save(self, folder: Path) -> None:
        """Write ``result.json`` and ``result.safetensors`` into a new folder, whole or not at all.

        Raises:
            DestinationError: If the folder exists with something in it, or cannot be written.
        """
        arrays = {f"state.{name}": array for name, array in self.state.items()}
        arrays |= {f"learned.{name}": array for name, array in self.learned.items()}
        arrays |= {f"first_gradients.{name}": array for name, array in self.first_gradients.items()}
        arrays["before.logits"] = self.before.logits
        arrays["after.logits"] = self.after.logits
        arrays["item_labels"] = self.after.labels
        _STORED.write(folder, self.to_dict(), arrays)

    @classmethod
    def load(cls, folder: Path) -> LearningResult:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: If it is not a result, or is damaged.
        """
        content, arrays = _STORED.read(folder)
        try:
            truth = arrays.pop("item_labels")
            groups: dict[str, dict[str, np.ndarray]] = {}
            for name, array in arrays.items():
                group, _, rest = name.partition(".")
                groups.setdefault(group, {})[rest] = array
            return cls(
                settings=content["settings"],
                data_digest=content["data_digest"],
                labels=tuple(content["labels"]),
                item_ids=tuple(content["item_ids"]),
                records=tuple(_record(entry) for entry in content["records"]),
                best_step=content["best_step"],
                state=groups["state"],
                learned=groups["learned"],
                first_gradients=groups["first_gradients"],
                before=Evaluation(groups["before"]["logits"], truth),
                after=Evaluation(groups["after"]["logits"], truth),
                identity=content["identity"],
                tokens=tuple(content["tokens"]),
            )
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"The result in {folder} lacks a part: {error}.") from None


def _record(entry: Mapping[str, Any]) -> StepRecord:
    search = entry["search"]
    if search is not None:
        lists: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in search.items()
        }
        search = Search(**lists)
    return StepRecord(**{**entry, "search": search})
