"""What both sides are fed and how their answers are read, fixed once and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.errors import CheckpointError
from mindport.prompts.stored_folder import StoredFolder
from mindport.prompts.template import Shape

_STORED = StoredFolder("plan", "prompt plan", 2, "Make the plan again.")


@dataclass(frozen=True)
class PlannedWord:
    """A label word in tokens.

    Attributes:
        text: As written; with several ``[Z]`` its parts, joined by a space.
        label: Index of its label.
        steps: For each of its tokens, the row of the item that answers it, and the token.
        divisor: What the sum of its log-probabilities is divided by.
    """

    text: str
    label: int
    steps: tuple[tuple[int, int], ...]
    divisor: float


@dataclass(frozen=True)
class Continuation:
    """Tokens that are put behind every prompt, to read what follows them.

    Attributes:
        ids: The tokens.
        rows: For each of them, the row of the item that its logits are, or -1 for none.
    """

    ids: tuple[int, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Prompts of similar length, padded on the right; every array is int64.

    Attributes:
        input_ids: (batch, seq), without the plan's prefix.
        lengths: (batch,), how many of them are real.
        positions: (batch, k), the positions whose logits hold the answer.
        items: (batch,), which item each prompt belongs to.
        first_rows: (batch,), the row of the item that the first of its positions is.
    """

    input_ids: np.ndarray
    lengths: np.ndarray
    positions: np.ndarray
    items: np.ndarray
    first_rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """All of a prompt run but the model.

    Its items are the examples, then the inputs of the calibration; each has ``rows_per_item`` rows
    of logits, in float32 arrays of shape (items, rows_per_item, vocabulary).

    Attributes:
        task: The task's name.
        task_version: Its version.
        shape: ``prefix`` or ``cloze``.
        template: As written.
        instruction: What stands before the demonstrations.
        delimiter: What stands behind each of them.
        shot_ids: Their ids, in order.
        shot_texts: Their texts, uncut.
        shots_cut: How many of them were cut to fit.
        tokenization: How the text became tokens.
        tokenizer_family: ``byte-bpe`` or ``wordpiece``.
        tokenizer_hash: sha256 of the vocabulary.
        tokenizer_size: The highest token id plus one; a row of logits is at least as wide.
        pad_id: What stands behind short prompts.
        labels: In order; a label's place is its index.
        words: All label words, label by label.
        rows_per_item: How many rows of logits each item has.
        aggregate: How the words' scores become the label's.
        normalize: How the words' divisors came about.
        masks: How masks of one word are scored, ``joint`` or ``pseudo``.
        calibration: ``none``, ``contextual``, ``domain`` or ``pmi``.
        chance: The accuracy of guessing.
        max_length: The most tokens a prompt could have, with what continues it.
        batch_size: The most prompts in a batch.
        ids: The id of each example, in the order of the data.
        texts: Its text, white space tidied, uncut.
        label_indices: Its true label.
        prior_texts: What stands at ``[X]`` of each input of the calibration.
        truncated_items: The examples whose text was cut to fit.
        duplicates: How many examples repeat the text of an earlier one.
        prefix: int64 (prefix,), the tokens that all prompts begin with, where a cache can serve
            them; empty else.
        continuations: What continues every prompt, for label words of several tokens.
        batches: Longest prompts first.
    """

    task: str
    task_version: int
    shape: Shape
    template: str
    instruction: str
    delimiter: str
    shot_ids: tuple[str, ...]
    shot_texts: tuple[str, ...]
    shots_cut: int
    tokenization: str
    tokenizer_family: str
    tokenizer_hash: str
    tokenizer_size: int
    pad_id: int
    labels: tuple[str, ...]
    words: tuple[PlannedWord, ...]
    rows_per_item: int
    aggregate: str
    normalize: str
    masks: str
    calibration: str
    chance: float
    max_length: int
    batch_size: int
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    label_indices: tuple[int, ...]
    prior_texts: tuple[str, ...]
    truncated_items: tuple[int, ...]
    duplicates: int
    prefix: np.ndarray
    continuations: tuple[Continuation, ...]
    batches: tuple[Batch, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def items(self) -> int:
        """How many items there are, inputs of the calibration included."""
        return len(self.ids) + len(self.prior_texts)

    @property
    def truncated(self) -> int:
        """How many examples were cut."""
        return len(self.truncated_items)

    @cached_property
    def shared_rows(self) -> frozenset[int]:
        """Rows of which every word takes exactly one token.

        Between words their normaliser cancels, if all divisors are the same.
        """
        if len({word.divisor for word in self.words}) > 1:
            return frozenset()
        taken = [[row for row, _ in word.steps] for word in self.words]
        return frozenset(
            row for row in range(self.rows_per_item) if all(rows.count(row) == 1 for rows in taken)
        )

    def columns(self, row: int) -> tuple[int, ...]:
        """Return the tokens that words take from a row, each once, in order."""
        return tuple(sorted({t for word in self.words for r, t in word.steps if r == row}))

    def subset(self, items: Sequence[int]) -> Plan:
        """Return the plan of some examples, to score their rows; it has no batches to run.

        Args:
            items: Places of the examples, ascending.
        """
        place = {item: new for new, item in enumerate(items)}
        return replace(
            self,
            ids=tuple(self.ids[item] for item in items),
            texts=tuple(self.texts[item] for item in items),
            label_indices=tuple(self.label_indices[item] for item in items),
            truncated_items=tuple(place[i] for i in self.truncated_items if i in place),
            batches=(),
        )

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
        _STORED.write(folder, content, self._arrays())

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: If it is not a plan, is damaged, or was changed since.
        """
        content, arrays = _STORED.read(folder)
        try:
            digest = content.pop("digest")
            names = [field.name for field in fields(Batch)]
            batches = tuple(
                Batch(**{name: arrays.pop(f"{k}.{name}") for name in names})
                for k in range(content.pop("batches"))
            )
            values = {name: _tuples(value) for name, value in content.items()}
            values["words"] = tuple(PlannedWord(**word) for word in values["words"])
            values["continuations"] = tuple(Continuation(**c) for c in values["continuations"])
            plan = cls(**values, prefix=arrays.pop("prefix"), batches=batches)
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"The plan in {folder} lacks a part: {error}.") from None
        if arrays or plan.digest != digest:
            raise CheckpointError(
                f"The plan in {folder} is not what was saved: its digest does not match.",
                "Make the plan again.",
            )
        return plan

    def _content(self) -> dict[str, Any]:
        content = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("batches", "prefix")
        }
        content["words"] = [asdict(word) for word in self.words]
        content["continuations"] = [asdict(continuation) for continuation in self.continuations]
        return content

    def _arrays(self) -> dict[str, np.ndarray]:
        batches = {
            f"{k}.{field.name}": getattr(batch, field.name)
            for k, batch in enumerate(self.batches)
            for field in fields(batch)
        }
        return {"prefix": self.prefix, **batches}


def _tuples(value: Any) -> Any:
    """Return JSON lists as the tuples that they were."""
    if isinstance(value, dict):
        return {name: _tuples(entry) for name, entry in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
