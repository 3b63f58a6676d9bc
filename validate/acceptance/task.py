"""A task file as data: what is to be accepted, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import MindportError
from mindport.validate.backend import load_backend
from mindport.validate.devices import parse_device
from mindport.validate.request import Request

SCHEMA = 1
OWN = "own"  # as a backend: the network that [own] names
BACKENDS = ("mindspore", "mindnlp", OWN)
Keep = Literal["captures", "verdicts"]
CAPTURES: Keep = "captures"
VERDICTS: Keep = "verdicts"
Clock = Literal["wall", "processor"]
WALL: Clock = "wall"
PROCESSOR: Clock = "processor"
AXES = ("head", "backend", "device", "mode", "dtype", "prompts")


@dataclass(frozen=True)
class Performance:
    """How slow the candidate may be.

    Attributes:
        max_ratio: Median of candidate / reference of the rounds, at most.
        rounds: How many forwards of each side are timed, in turn.
        clock: ``wall``, or ``processor``: seconds of all threads, which a busy machine changes
            little; of work on a CPU alone.
    """

    max_ratio: float
    rounds: int = 7
    clock: Clock = WALL


@dataclass(frozen=True)
class Show:
    """What every verdict must show, beside a pass.

    Attributes:
        every_tap: No tap of the case may be left out.
        operations: Operations inside every block must have been compared, not blocks alone.
        max_used: No tap may use more than this share of its tolerance.
    """

    every_tap: bool = False
    operations: bool = False
    max_used: float = 1.0


@dataclass(frozen=True)
class Rule:
    """What holds for some cells alone; a ``[[cell]]`` of the file.

    Attributes:
        where: Which cells: values by axis; an axis that is not named matches all.
        settings: What holds for them.
        line: Of the file.
    """

    where: Mapping[str, str]
    settings: Mapping[str, Any]
    line: int


@dataclass(frozen=True)
class Cell:
    """One combination that is run and judged.

    Attributes:
        head: The head.
        backend: ``mindspore``, ``mindnlp`` or ``own``.
        device: The candidate's device.
        mode: The candidate's mode.
        dtype: Of both sides.
        prompts: The prompt task; empty for none.
        gradients: Whether gradients must be shown.
        performance: Whether the performance floor holds for it.
        may_be_absent: Whether the task is accepted although this cell could not run.
        capture: A candidate that was recorded elsewhere, as the file names it; empty to run it.
        left_out: Why it is not run at all; empty if it is.
    """

    head: str
    backend: str
    device: str
    mode: str
    dtype: str
    prompts: str = ""
    gradients: bool = False
    performance: bool = False
    may_be_absent: bool = False
    capture: str = ""
    left_out: str = ""

    @property
    def name(self) -> str:
        """Its name, which is also its folder's."""
        parts = [self.head, self.backend, self.device, self.mode, self.dtype, self.prompts]
        return "-".join(_plain(part) for part in parts if part)


def _plain(text: str) -> str:
    stem = Path(text).stem if text.endswith((".yaml", ".yml", ".json")) else text
    return "".join(c if c.isalnum() or c in "_." else "_" for c in stem)


@dataclass(frozen=True)
class Task:
    """What a task file asks for.

    Attributes:
        name: What is to be accepted, in words.
        architecture: The model type.
        heads: The heads.
        backends: What runs the candidate.
        devices: The candidate's devices.
        modes: The candidate's modes.
        dtypes: Of both sides.
        prompts: Prompt tasks, each a cell of its own for every head that answers prompts.
        options: Everything else that a :class:`Request` takes, paths as the file has them.
        own: The same for cells of the backend ``own`` alone.
        gradients: Whether gradients must be shown.
        performance: The floor, or None.
        show: What every verdict must show.
        keep: Whether captures stay in the folder.
        rules: What holds for some cells alone.
        folder: What relative paths are relative to.
    """

    name: str
    architecture: str
    heads: tuple[str, ...]
    backends: tuple[str, ...]
    devices: tuple[str, ...]
    modes: tuple[str, ...]
    dtypes: tuple[str, ...]
    prompts: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    gradients: bool = False
    performance: Performance | None = None
    show: Show = Show()
    keep: Keep = VERDICTS
    rules: tuple[Rule, ...] = ()
    folder: Path = Path()

    def cells(self) -> tuple[Cell, ...]:
        """Return every cell, those that are left out too, in the order of the file.

        Raises:
            MindportError: If one of them cannot be, or a rule is about none.
        """
        heads = load_architecture(self.architecture).heads
        made: list[Cell] = []
        for head, backend, device, mode, dtype in product(
            self.heads, self.backends, self.devices, self.modes, self.dtypes
        ):
            asked = self.prompts if heads[head].prompts else ()
            made += [
                Cell(head, backend, device, mode, dtype, task, self.gradients,
                     self.performance is not None)
                for task in asked or ("",)
            ]  # fmt: skip
        for rule in self.rules:
            matching = [cell for cell in made if _matches(rule, cell)]
            if not matching:
                said = ", ".join(f"{axis} = {value!r}" for axis, value in rule.where.items())
                raise MindportError(
                    f"line {rule.line}: [[cell]] with {said} is about no cell of this task.",
                    "Compare it with [model] and [run].",
                )
            made = [replace(c, **rule.settings) if c in matching else c for c in made]
        for cell in made:
            if not cell.left_out:
                self._check(cell)
        names = [cell.name for cell in made]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise MindportError(f"Two cells are called {twice}.", "Rename a file of prompts.")
        if all(cell.left_out for cell in made):
            raise MindportError("Every cell is left out: nothing would be shown.")
        return tuple(made)

    def _check(self, cell: Cell) -> None:
        backend = load_backend("cell" if cell.backend == OWN else cell.backend)
        if cell.mode not in backend.MODES:
            raise _impossible(cell, f"the backend {cell.backend} has no {cell.mode} mode", "mode")
        if cell.backend == OWN and "factory" not in self.own:
            raise MindportError(
                "[run] asks for the backend own, and no network is named.",
                'Add [own] with factory = "FILE.py:FUNCTION".',
            )
        if cell.gradients and cell.backend == OWN:
            raise MindportError(
                f"{cell.name}: a network of your own gives no gradients.",
                'Add [[cell]] with backend = "own" and gradients = false.',
            )
        if cell.performance and self.performance is None:
            raise MindportError(
                f"{cell.name}: performance = true, and there is no floor.",
                "Add [performance] with max_ratio.",
            )
        processor = self.performance is not None and self.performance.clock == PROCESSOR
        if cell.performance and processor and cell.device != "CPU":
            raise MindportError(
                f"{cell.name}: the processor's clock does not see what {cell.device} does.",
                f'Add [[cell]] with device = "{cell.device}" and performance = false, or take '
                'clock = "wall".',
            )

    def request(self, cell: Cell, *, resolved: bool = True) -> Request:
        """Return what a cell asks of ``validate``.

        Args:
            cell: One of :meth:`cells`.
            resolved: Whether relative paths become absolute ones, as running needs them; a verdict
                is written with the paths of the file.
        """
        options: dict[str, Any] = {**self.options}
        if cell.backend == OWN:
            options["candidate"] = self.own["factory"]
            if "taps" in self.own:
                options["taps_file"] = self.own["taps"]
        elif cell.backend != Request.backend:
            options["backend"] = cell.backend
        if cell.capture:
            options["candidate_capture"] = cell.capture
        if cell.prompts:
            options["prompts"] = cell.prompts
        else:
            for name in ("prompt_limit", "shots"):
                options.pop(name, None)
        if resolved:
            options = {name: self._resolve(name, value) for name, value in options.items()}
        for name in ("candidate_checkpoint", "config_file", "inputs", "taps_file",
                     "candidate_capture"):  # fmt: skip
            if name in options:
                options[name] = Path(options[name])
        return Request(
            self.architecture,
            head=cell.head,
            device=cell.device,
            mode=cell.mode,
            dtype=cell.dtype,
            gradients=cell.gradients,
            **options,
        )

    def _resolve(self, name: str, value: Any) -> Any:
        if name in ("candidate_checkpoint", "config_file", "inputs", "taps_file",
                    "candidate_capture"):  # fmt: skip
            return self.folder.absolute() / value
        if name in ("checkpoint", "prompts"):  # a path only if there is something
            there = self.folder.absolute() / value
            return str(there) if there.exists() else value
        if name == "candidate":
            file, _, function = value.rpartition(":")
            return f"{self.folder.absolute() / file}:{function}"
        return value


def _matches(rule: Rule, cell: Cell) -> bool:
    return all(
        str(parse_device(value)) == getattr(cell, axis)
        if axis == "device"
        else value == getattr(cell, axis)
        for axis, value in rule.where.items()
    )


def _impossible(cell: Cell, why: str, axis: str) -> MindportError:
    return MindportError(
        f"{cell.name} cannot be: {why}.",
        f'Add [[cell]] with backend = "{cell.backend}", {axis} = "{getattr(cell, axis)}" and '
        'leave_out = "the reason", or another task file.',
    )
