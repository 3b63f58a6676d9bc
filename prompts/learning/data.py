"""Prompts in tokens with places for what is learned, made once and fed to both sides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from mindport.prompts.learning.model import LabelWords, LearningBatch

# Widths are rounded up to this, so that a graph-mode backend compiles few shapes: compiling one
# takes as long as tens of steps.
_WIDTH_STEP = 32


@dataclass(frozen=True, eq=False)
class PromptSet:
    """Labelled prompts.

    Attributes:
        ids: Of the rows, for reports.
        prompts: The token ids of each, int64, without padding; at a slot stands padding.
        rows: int64 (items,), the position whose logits hold the answer.
        slots: int64 (items, n), where the learned vectors stand, one after the other.
        labels: int64 (items,), the true label.
    """

    ids: tuple[str, ...]
    prompts: tuple[np.ndarray, ...]
    rows: np.ndarray
    slots: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, items: np.ndarray) -> PromptSet:
        """Return some of the prompts."""
        return PromptSet(
            tuple(self.ids[item] for item in items),
            tuple(self.prompts[item] for item in items),
            self.rows[items],
            self.slots[items],
            self.labels[items],
        )

    def plain(self) -> PromptSet:
        """Return the same prompts without slots: what zero shot asks."""
        prompts = tuple(
            np.delete(ids, at) for ids, at in zip(self.prompts, self.slots, strict=True)
        )
        before = (self.slots <= self.rows[:, None]).sum(axis=1)
        return PromptSet(self.ids, prompts, self.rows - before, self.slots[:, :0], self.labels)

    def batch(self, items: np.ndarray, words: LabelWords, pad: int, most: int) -> LearningBatch:
        """Return some prompts, padded on the right.

        Args:
            items: int64 (batch,), which ones; one may occur twice.
            words: The label words.
            pad: The id that stands at padding.
            most: The model's positions.
        """
        longest = max(len(self.prompts[item]) for item in items)
        width = min(-(-longest // _WIDTH_STEP) * _WIDTH_STEP, most)
        ids = np.full((len(items), width), pad, np.int64)
        mask = np.zeros_like(ids)
        for place, item in enumerate(items):
            prompt = self.prompts[item]
            ids[place, : len(prompt)] = prompt
            mask[place, : len(prompt)] = 1
        return LearningBatch(
            input_ids=ids,
            attention_mask=mask,
            position_ids=np.tile(np.arange(width, dtype=np.int64), (len(items), 1)),
            token_type_ids=np.zeros_like(ids),
            slots=self.slots[items],
            rows=self.rows[items],
            labels=self.labels[items],
            words=words,
        )


@dataclass(frozen=True, eq=False)
class LearningData:
    """All of a training but the network and the settings.

    Attributes:
        task: The task's name.
        task_version: Its version.
        shape: ``prefix`` or ``cloze``.
        template: As written.
        labels: In order.
        words: Their words.
        train: What is learned from.
        evaluation: What is measured on; no row of it is in ``train``.
        start: int64 (tokens,), whose embeddings stand at the slots in the beginning.
        allowed: int64, tokens that AutoPrompt may use.
        pad: The id that stands at padding.
        positions: The model's.
    """

    task: str
    task_version: int
    shape: str
    template: str
    labels: tuple[str, ...]
    words: LabelWords
    train: PromptSet
    evaluation: PromptSet
    start: np.ndarray
    allowed: np.ndarray
    pad: int
    positions: int

    @cached_property
    def digest(self) -> str:
        """sha256 of everything: two trainings with one digest were fed the same."""
        result = hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode())
        for name, array in sorted(self._arrays().items()):
            result.update(f"{name}{array.dtype.str}{array.shape}".encode())
            result.update(np.ascontiguousarray(array).tobytes())
        return result.hexdigest()

    def batch(self, prompts: PromptSet, items: np.ndarray) -> LearningBatch:
        """Return some prompts of one of the sets."""
        return prompts.batch(items, self.words, self.pad, self.positions)

    def save(self, folder: Path) -> None:
        """Write ``data.json`` and ``data.safetensors``."""
        folder.mkdir(parents=True)
        text = json.dumps({**self._content(), "digest": self.digest}, ensure_ascii=False)
        (folder / "data.json").write_text(text, encoding="utf-8")
        arrays = {name: np.ascontiguousarray(array) for name, array in self._arrays().items()}
        save_file(arrays, str(folder / "data.safetensors"))

    @classmethod
    def load(cls, folder: Path) -> LearningData:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: If it is not what was saved.
        """
        content = json.loads((folder / "data.json").read_text(encoding="utf-8"))
        arrays = load_file(str(folder / "data.safetensors"))
        digest = content.pop("digest")
        data = cls(
            task=content["task"],
            task_version=content["task_version"],
            shape=content["shape"],
            template=content["template"],
            labels=tuple(content["labels"]),
            pad=content["pad"],
            positions=content["positions"],
            words=LabelWords(arrays["columns"], arrays["weights"]),
            start=arrays["start"],
            allowed=arrays["allowed"],
            train=_set_of("train", content["train_ids"], arrays),
            evaluation=_set_of("evaluation", content["evaluation_ids"], arrays),
        )
        if data.digest != digest:
            raise ValueError(f"{folder} is not what was saved")
        return data

    def _content(self) -> dict[str, Any]:
        names = ("task", "task_version", "shape", "template", "labels", "pad", "positions")
        sets = {"train_ids": self.train.ids, "evaluation_ids": self.evaluation.ids}
        return {name: getattr(self, name) for name in names} | sets

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {
            "columns": self.words.columns,
            "weights": self.words.weights,
            "start": self.start,
            "allowed": self.allowed,
        }
        for name, prompts in (("train", self.train), ("evaluation", self.evaluation)):
            arrays[f"{name}.tokens"] = np.concatenate(prompts.prompts)
            arrays[f"{name}.lengths"] = np.array([len(ids) for ids in prompts.prompts], np.int64)
            for field in ("rows", "slots", "labels"):
                arrays[f"{name}.{field}"] = getattr(prompts, field)
        return arrays


def _set_of(name: str, ids: list[str], arrays: dict[str, np.ndarray]) -> PromptSet:
    ends = np.cumsum(arrays[f"{name}.lengths"])[:-1]
    return PromptSet(
        tuple(ids),
        tuple(np.split(arrays[f"{name}.tokens"], ends)),
        *(arrays[f"{name}.{field}"] for field in ("rows", "slots", "labels")),
    )


def draw_batches(count: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield batches without end: every row once in each round, in another order each time.

    Args:
        count: How many rows there are.
        size: Of a batch; the last of a round is filled up from the next round.
        seed: Of the orders.

    Yields:
        int64 (size,).
    """
    rng = np.random.default_rng((seed, 1))
    waiting = np.empty(0, np.int64)
    while True:
        while len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(count)])
        yield waiting[:size]
        waiting = waiting[size:]
