"""Demonstrations: which examples stand solved before the question, and how they are joined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.errors import MindportError
from mindport.prompts.dataset import InputExample, PromptDataset


@dataclass(frozen=True)
class FewShotSampler:
    """Draw demonstrations, balanced over the labels and in a fixed order.

    Attributes:
        num_examples_total: How many in all; labels take turns, which first is drawn.
        num_examples_per_label: How many of each label instead.
        seed: Of the draw and of the order.

    Raises:
        MindportError: If not exactly one of the two numbers is given, it is below 1, or the seed
            is below 0.
    """

    num_examples_total: int | None = None
    num_examples_per_label: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        counts = [
            count
            for count in (self.num_examples_total, self.num_examples_per_label)
            if count is not None
        ]
        if len(counts) != 1 or counts[0] < 1:
            raise MindportError(
                "A few-shot sampler needs num_examples_total or num_examples_per_label, one of "
                f"them, from 1 up; not {self.num_examples_total} and {self.num_examples_per_label}."
            )
        if self.seed < 0:
            raise MindportError(f"The seed must be 0 or more, not {self.seed}.")

    def __call__(self, dataset: PromptDataset) -> tuple[InputExample, ...]:
        """Return the demonstrations; the order of the rows in the file does not matter.

        Raises:
            MindportError: If a label has too few rows.
        """
        by_label: dict[str, list[InputExample]] = {}
        for example in sorted(dataset, key=_content):
            by_label.setdefault(example.label, []).append(example)
        random = np.random.default_rng(self.seed)
        labels = sorted(by_label)
        turns = [labels[place] for place in random.permutation(len(labels))]
        if self.num_examples_per_label is not None:
            wanted = dict.fromkeys(labels, self.num_examples_per_label)
        else:
            total = self.num_examples_total or 0
            wanted = {
                label: total // len(turns) + (place < total % len(turns))
                for place, label in enumerate(turns)
            }
        drawn: list[InputExample] = []
        for label in labels:
            rows = by_label[label]
            if wanted[label] > len(rows):
                raise MindportError(
                    f"{dataset.source}: {wanted[label]} demonstrations of label {label!r} are "
                    f"asked for, but there are {len(rows)}.",
                    "Ask for fewer, or add rows.",
                )
            drawn += [rows[i] for i in random.choice(len(rows), wanted[label], replace=False)]
        return tuple(drawn[place] for place in random.permutation(len(drawn)))


def _content(example: InputExample) -> tuple[Any, ...]:
    """Return what rows are sorted by: an id may be no more than a place in the file."""
    return example.text, sorted(example.meta.items()), example.id


@dataclass(frozen=True)
class ShotSource:
    """Where a task's demonstrations come from.

    Attributes:
        path: A file with the fields of the task's data.
        delimiter: What stands between two of them.
        instruction: What stands before all of them.
    """

    path: Path | str
    delimiter: str = "\n"
    instruction: str = ""


@dataclass(frozen=True)
class Shots:
    """What stands before every question.

    Attributes:
        examples: The demonstrations, in order.
        delimiter: What follows each.
        instruction: What stands first; the delimiter follows it too.
    """

    examples: tuple[InputExample, ...] = ()
    delimiter: str = "\n"
    instruction: str = ""


NO_SHOTS = Shots()
