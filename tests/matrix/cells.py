"""What the matrix runs: columns (architecture, head, weights) times modes and dtypes.

Everything is found by listing: a new architecture or head is a new column by itself. To add
another kind of column, add it to :func:`list_columns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.validate.case import DTYPES
from mindport.validate.checkpoints import EMBEDDED, RANDOM, embedded_checkpoints
from mindport.validate.request import Request

MODES = ("eager", "graph")
# Small, so that a row costs minutes: padding, both segments and every head are there all the same.
BATCH, LENGTH = 2, 32
TASK, ITEMS = "sentiment", 40
# More than the taps, asked of the trained weights in float32.
ASKED: Mapping[str, Mapping[str, Any]] = {
    "prompts": {"prompts": TASK, "prompt_limit": ITEMS},
    "gradients": {"gradients": True},
}


@dataclass(frozen=True)
class Column:
    """One case.

    Attributes:
        architecture: ``gpt2`` …
        head: ``lm`` …
        asks: ``trained`` or ``random`` weights, or what else is asked of the trained ones.
    """

    architecture: str
    head: str
    asks: str

    @property
    def name(self) -> str:
        """A name that is fit for a folder."""
        return f"{self.architecture}-{self.head}-{self.asks}"

    @property
    def dtypes(self) -> tuple[str, ...]:
        """What it is computed in."""
        return ("float32",) if self.asks in ASKED else tuple(DTYPES)

    @property
    def request(self) -> Request:
        """What makes the case."""
        checkpoint = RANDOM if self.asks == "random" else EMBEDDED
        more = ASKED.get(self.asks, {})
        return Request(
            self.architecture,
            checkpoint=checkpoint,
            head=self.head,
            batch=BATCH,
            length=LENGTH,
            **more,
        )

    def again(self, dtype: str, **choices: Any) -> Request:
        """Return what runs the case once it is made."""
        return Request(self.architecture, dtype=dtype, **choices)


@dataclass(frozen=True)
class Cell:
    """One run of a column."""

    column: Column
    mode: str
    dtype: str

    @property
    def name(self) -> str:
        """A name that is fit for a folder."""
        return f"{self.column.name}-{self.mode}-{self.dtype}"


def list_columns(pattern: str = "*") -> list[Column]:
    """Return the columns whose name fits a pattern, as in a shell."""
    return [column for column in _columns() if fnmatchcase(column.name, pattern)]


def _columns() -> Iterator[Column]:
    for architecture in architecture_names():
        described = load_architecture(architecture)
        trained = described.default_head if EMBEDDED in embedded_checkpoints(architecture) else ""
        if trained:
            for asks in ("trained", *ASKED):
                yield Column(architecture, trained, asks)
        for head in described.heads:
            if head != trained:
                yield Column(architecture, head, "random")


def list_cells(columns: Sequence[Column]) -> list[Cell]:
    """Return every cell of a row."""
    return [
        Cell(column, mode, dtype) for column in columns for mode in MODES for dtype in column.dtypes
    ]
