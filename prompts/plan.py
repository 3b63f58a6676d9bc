"""What both sides are fed and how their answers are read, fixed once and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.errors import CheckpointError, MindportError
from mindport.prompts.dataset import PromptDataset, tidy
from mindport.prompts.encode import TOKENIZATION, EncodedPrompt, check_shape, encode_prompt
from mindport.prompts.plan_file import read_plan, write_plan
from mindport.prompts.task import Task
from mindport.prompts.template import Shape
from mindport.prompts.tokenizer import PromptTokenizer

# Widths are rounded up to this, so that a graph-mode backend compiles few shapes.
_WIDTH_STEP = 16


@dataclass(frozen=True, eq=False)
class Batch:
    """Prompts of similar length, padded on the right; every array is int64.

    Attributes:
        input_ids: (batch, seq).
        attention_mask: (batch, seq), 1 on real tokens.
        position_ids: (batch, seq), 0, 1, 2, ….
        token_type_ids: (batch, seq), zeros: a prompt is one segment.
        rows: (batch,), the position whose logits hold the answer.
        items: (batch,), which item of the plan each prompt is.
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray
    position_ids: np.ndarray
    token_type_ids: np.ndarray
    rows: np.ndarray
    items: np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """All of a prompt run but the model.

    Attributes:
        task: The task's name.
        task_version: Its version.
        shape: ``prefix`` or ``cloze``.
        template: As written.
        tokenization: How the text became tokens.
        tokenizer_family: ``byte-bpe`` or ``wordpiece``.
        tokenizer_hash: sha256 of the vocabulary.
        tokenizer_size: The highest token id plus one; a row of logits is at least as wide.
        labels: In order; a label's place is its index.
        label_words: The words of each label.
        label_token_ids: The token of each of those words.
        aggregate: How the words' logits become the label's.
        chance: The accuracy of guessing.
        max_length: The most tokens a prompt could have.
        batch_size: The most prompts in a batch.
        ids: The id of each item, in the order of the data.
        texts: Its text, white space tidied, uncut.
        label_indices: Its true label.
        truncated_items: The items whose text was cut to fit.
        duplicates: How many items repeat the text of an earlier one.
        batches: Longest prompts first.
    """

    task: str
    task_version: int
    shape: Shape
    template: str
    tokenization: str
    tokenizer_family: str
    tokenizer_hash: str
    tokenizer_size: int
    labels: tuple[str, ...]
    label_words: tuple[tuple[str, ...], ...]
    label_token_ids: tuple[tuple[int, ...], ...]
    aggregate: str
    chance: float
    max_length: int
    batch_size: int
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    label_indices: tuple[int, ...]
    truncated_items: tuple[int, ...]
    duplicates: int
    batches: tuple[Batch, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def truncated(self) -> int:
        """How many items were cut."""
        return len(self.truncated_items)

    @cached_property
    def digest(self) -> str:
        """sha256 of every field: two plans with one digest ask for the same work."""
        result = hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode())
        for name, array in self._arrays().items():
            result.update(f"{name}{array.dtype.str}{array.shape}".encode())
            result.update(np.ascontiguousarray(array).tobytes())
        return result.hexdigest()

    def save(self, folder: Path) -> None:
        """Write ``plan.json`` and ``plan.safetensors`` into a new folder, whole or not at all.

        Raises:
            DestinationError: If the folder exists with something in it, or cannot be written.
        """
        content = {**self._content(), "batches": len(self.batches), "digest": self.digest}
        write_plan(folder, content, self._arrays())

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: If it is not a plan, is damaged, or was changed since.
        """
        content, arrays = read_plan(folder)
        try:
            digest = content.pop("digest")
            names = [field.name for field in fields(Batch)]
            batches = tuple(
                Batch(**{name: arrays.pop(f"{k}.{name}") for name in names})
                for k in range(content.pop("batches"))
            )
            values = {name: _tuples(value) for name, value in content.items()}
            plan = cls(**values, batches=batches)
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"The plan in {folder} lacks a part: {error}.") from None
        if arrays or plan.digest != digest:
            raise CheckpointError(
                f"The plan in {folder} is not what was saved: its digest does not match.",
                "Make the plan again.",
            )
        return plan

    def _content(self) -> dict[str, Any]:
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "batches"
        }

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            f"{k}.{field.name}": getattr(batch, field.name)
            for k, batch in enumerate(self.batches)
            for field in fields(batch)
        }


def make_plan(
    task: Task,
    tokenizer: PromptTokenizer,
    *,
    architecture_shape: Shape,
    max_length: int,
    limit: int | None = None,
    batch_size: int = 16,
    dataset: PromptDataset | None = None,
) -> Plan:
    """Render, tokenise and batch a task.

    Args:
        task: Labels, words and templates.
        tokenizer: The checkpoint's.
        architecture_shape: ``prefix`` for a language model, ``cloze`` for a masked one.
        max_length: The most tokens in a prompt: the model's positions, or fewer.
        limit: Keep this many rows, the labels in turn (:meth:`PromptDataset.take`); None keeps all.
        batch_size: The most prompts in a batch.
        dataset: The rows; by default the task's own.

    Raises:
        MindportError: If the task has no such template, a label word is not one token, or a row
            cannot be used.
    """
    for name, value in (("max_length", max_length), ("limit", limit), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise MindportError(f"{name} must be 1 or more, not {value}.")
    if architecture_shape not in task.templates:
        raise MindportError(
            f"The task {task.name!r} has no {architecture_shape} template.",
            f"It has: {', '.join(task.templates)}.",
        )
    template = task.templates[architecture_shape]
    check_shape(template, tokenizer, architecture_shape)
    tokens = task.verbalizer.token_ids(tokenizer, after_space=template.answer_follows_space)
    data = task.read_data() if dataset is None else dataset
    data = data if limit is None else data.take(limit)
    prompts = [
        encode_prompt(template, example, tokenizer, shape=architecture_shape, max_length=max_length)
        for example in data
    ]
    return Plan(
        task=task.name,
        task_version=task.version,
        shape=architecture_shape,
        template=template.text,
        tokenization=TOKENIZATION,
        tokenizer_family=tokenizer.family,
        tokenizer_hash=tokenizer.hash,
        tokenizer_size=tokenizer.vocab_size,
        labels=task.verbalizer.labels,
        label_words=tuple(tuple(words) for words in task.verbalizer.label_words.values()),
        label_token_ids=tokens,
        aggregate=task.verbalizer.aggregate,
        chance=task.chance,
        max_length=max_length,
        batch_size=batch_size,
        ids=tuple(example.id for example in data),
        texts=tuple(tidy(example.text) for example in data),
        label_indices=_label_indices(data, task.verbalizer.labels),
        truncated_items=tuple(i for i, prompt in enumerate(prompts) if prompt.truncated),
        duplicates=data.duplicates,
        batches=_batches(prompts, tokenizer.pad_id, batch_size, max_length),
    )


def _label_indices(data: PromptDataset, labels: tuple[str, ...]) -> tuple[int, ...]:
    for example in data:
        if example.label not in labels:
            raise MindportError(
                f"{data.source}: the label {example.label!r} of example {example.id!r} has no "
                "words.",
                f"The verbalizer has: {', '.join(labels)}.",
            )
    return tuple(labels.index(example.label) for example in data)


def _batches(
    prompts: Sequence[EncodedPrompt], pad_id: int, batch_size: int, max_length: int
) -> tuple[Batch, ...]:
    lengths = np.array([len(prompt.ids) for prompt in prompts])
    order = np.argsort(-lengths, kind="stable")  # longest first: too little memory shows at once
    return tuple(
        _batch(prompts, order[start : start + batch_size].astype(np.int64), pad_id, max_length)
        for start in range(0, len(prompts), batch_size)
    )


def _batch(
    prompts: Sequence[EncodedPrompt], items: np.ndarray, pad_id: int, max_length: int
) -> Batch:
    longest = max(len(prompts[item].ids) for item in items)
    width = min(-(-longest // _WIDTH_STEP) * _WIDTH_STEP, max_length)
    ids = np.full((len(items), width), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for place, item in enumerate(items):
        prompt = prompts[item].ids
        ids[place, : len(prompt)] = prompt
        mask[place, : len(prompt)] = 1
    return Batch(
        input_ids=ids,
        attention_mask=mask,
        position_ids=np.tile(np.arange(width, dtype=np.int64), (len(items), 1)),
        token_type_ids=np.zeros_like(ids),
        rows=np.array([prompts[item].row for item in items], np.int64),
        items=items,
    )


def _tuples(value: Any) -> Any:
    """Return JSON lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
