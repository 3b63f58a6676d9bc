"""What a hypothesis may look at: the judged run's taps, the steps, and the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mindport.migrate.computation import Norm, Operation, Project, Step
from mindport.validate.emulation.formats import FORMATS
from mindport.validate.formula.operations import Setting, evaluate, part_matrix
from mindport.validate.formula.rounding import PRECISIONS, Precision

Tap = Callable[[str], "np.ndarray | None"]


@dataclass(frozen=True)
class Alternative:
    """What a step would have made if something were otherwise.

    Attributes:
        cause: Identifier of the cause.
        detail: What exactly, in words.
        value: The result, float64, in the shape of the tap.
        certain: Whether a result that agrees with it confirms it; not if anything could be fitted.
    """

    cause: str
    detail: str
    value: np.ndarray
    certain: bool = True


@dataclass(frozen=True)
class Scene:
    """The surroundings of a step.

    Attributes:
        steps: Of the head, filled in, in network order.
        setting: Config, model inputs and parameters of the reference.
        tap: Reads a tap of the judged run, float64; None where it has none.
        dtype: Of the run.
        tied: Modules of matrices that are the embeddings'.
        unstable: Taps that came out otherwise when the judged run was repeated.
        precision: How a correct run rounds.
        acceptable: Names of the departures that are known of the judged run's platform.
    """

    steps: Sequence[Step]
    setting: Setting
    tap: Tap
    dtype: str
    tied: frozenset[str] = frozenset()
    unstable: frozenset[str] = frozenset()
    precision: Precision = PRECISIONS["float32"]
    acceptable: frozenset[str] = frozenset()

    def step(self, tap: str) -> Step:
        """Return the step that makes a tap."""
        return next(step for step in self.steps if step.tap == tap)

    def inputs(self, step: Step) -> list[np.ndarray] | None:
        """Return what a step reads in the judged run; None if a tap is lacking."""
        arrays = [self.tap(name) for name in step.inputs]
        return (
            None if any(array is None for array in arrays) else [a for a in arrays if a is not None]
        )

    def redo(self, step: Step, inputs: Sequence[np.ndarray], operation: Operation) -> np.ndarray:
        """Return what a step makes with another operation."""
        return evaluate(replace(step, operation=operation), inputs, self.setting)

    def elsewhere(self, step: Step) -> Iterator[Step]:
        """Yield the step of the same place in every other block."""
        if step.layer is None:
            return
        suffix = step.tap.removeprefix(f"block.{step.layer}")
        for other in self.steps:
            if other.layer != step.layer and other.tap == f"block.{other.layer}{suffix}":
                yield other

    def projections_like(self, step: Step) -> Iterator[tuple[Step, Project]]:
        """Yield the other projections of the block whose matrix has the same shape."""
        if not isinstance(step.operation, Project):
            return
        shape = part_matrix(step.operation, self.setting).shape
        for other in self.steps:
            operation = other.operation
            if other.layer != step.layer or other.tap == step.tap:
                continue
            if isinstance(operation, Project) and (
                part_matrix(operation, self.setting).shape == shape
            ):
                yield other, operation

    def norms(self, step: Step) -> Iterator[tuple[Step, Norm]]:
        """Yield the other norms of the block, or outside of blocks those outside."""
        for other in self.steps:
            near = other.layer == step.layer and other.tap != step.tap
            if near and isinstance(other.operation, Norm):
                yield other, other.operation

    def near(self, step: Step, shape: tuple[int, ...]) -> Iterator[tuple[Step, np.ndarray]]:
        """Yield the taps of the same block, and those that come into it, of a shape."""
        number = list(self.steps).index(step)
        layers = {step.layer}
        outside = {name for other in self.steps if other.layer in layers for name in other.inputs}
        for other in (*reversed(self.steps[:number]), *self.steps[number + 1 :]):
            if other.layer in layers or other.tap in outside:
                array = self.tap(other.tap)
                if array is not None and array.shape == shape:
                    yield other, array


def rounded_to(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that rounds float64 to a shorter format and widens it again."""
    form = FORMATS[name]

    def rounded(array: np.ndarray) -> np.ndarray:
        return form.round(array.astype(np.float32)).astype(np.float64)

    return rounded


def shorter_formats(dtype: str) -> tuple[str, ...]:
    """Return the formats that a run of a dtype may have been rounded to by mistake."""
    return {"float32": ("float16", "bfloat16", "tf32", "hf32"), "float16": ("bfloat16",)}.get(
        dtype, ()
    )
