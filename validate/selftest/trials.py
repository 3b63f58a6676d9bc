"""What is tried: a stage is a reference with its inputs, a trial one candidate on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mindport.migrate.architecture import Architecture
from mindport.migrate.architectures import load_architecture
from mindport.migrate.computation import Norm, Score
from mindport.migrate.config import resolve_config
from mindport.migrate.errors import MindportError, did_you_mean
from mindport.migrate.positions import longest_sequence
from mindport.validate.checkpoints import RANDOM, default_checkpoint
from mindport.validate.faults import FAULTS, HELD_OUT, Fault, find_fault

# More tokens than the embedded models are wide: they determine most of the matrices.
FAULT_BATCH = 6
FAULT_LENGTH = 64
DEVELOPMENT, HELD_OUT_SET = "development", "held-out"


@dataclass(frozen=True)
class Stage:
    """A reference and what it is fed.

    Attributes:
        architecture: ``gpt2``, ``bert`` …
        head: Its head.
        checkpoint: ``embedded`` or ``random``.
        batch: Rows of input.
        length: Tokens of a row.
        dtype: Of the run.
        seed: Of inputs and random weights.
        config: For random weights; None for the size ``tiny``.
        threads: CPU threads of the candidate.
    """

    architecture: str
    head: str
    checkpoint: str
    batch: int
    length: int
    dtype: str = "float32"
    seed: int = 0
    config: Mapping[str, Any] | None = field(default=None, hash=False)
    threads: int | None = None


@dataclass(frozen=True)
class Trial:
    """One candidate.

    Attributes:
        stage: What it runs on.
        fault: What is broken, or None for a correct port.
        block: In which block.
        severity: How strongly; None takes the fault's own.
        mode: ``eager`` or ``graph``.
        held_out: Whether the fault was kept from those who wrote the validator.
        sweep: Whether it belongs to a sweep of severities, which is counted apart.
    """

    stage: Stage
    fault: Fault | None = None
    block: int = 0
    severity: float | None = None
    mode: str = "eager"
    held_out: bool = False
    sweep: bool = False


def fault_trials(
    architectures: Sequence[str], which: Sequence[str], *, sweep: bool
) -> Iterator[Trial]:
    """Yield a trial for each fault and architecture that it fits.

    Args:
        architectures: Their names.
        which: ``development``, ``held-out``, or both.
        sweep: Whether to try every severity of a fault too.
    """
    sets = ((DEVELOPMENT, FAULTS), (HELD_OUT_SET, HELD_OUT))
    for name in architectures:
        architecture = load_architecture(name)
        for label, faults in sets:
            if label not in which:
                continue
            for number, fault in enumerate(faults):
                stage = _stage_of(architecture, fault)
                if stage is None:
                    continue
                # Faults of different blocks, so that no block is the only one that is tried.
                block, held = number % 4, label == HELD_OUT_SET
                yield Trial(stage, fault, block, held_out=held)
                for severity in fault.severities if sweep else ():
                    if severity != fault.severity:
                        yield Trial(stage, fault, block, severity, held_out=held, sweep=True)


def chosen_trials(
    architectures: Sequence[str], faults: Sequence[str], size: str | None
) -> Iterator[Trial]:
    """Yield trials of faults that the user names.

    Args:
        architectures: Their names.
        faults: ``NAME``, ``NAME=SEVERITY``, ``NAME@BLOCK`` or ``NAME@BLOCK=SEVERITY``.
        size: A named size, of random weights; None takes the embedded ones.

    Raises:
        MindportError: If there is no such fault or size, or a number is none.
    """
    for text in faults:
        place, _, strong = text.partition("=")
        name, _, block = place.partition("@")
        fault = find_fault(name)
        try:
            severity = float(strong) if strong else None
            number = int(block or 0)
        except ValueError:
            raise MindportError(
                f"{text!r} is not NAME, NAME@BLOCK or NAME@BLOCK=SEVERITY.",
                "Give the block and the severity as numbers.",
            ) from None
        for architecture in map(load_architecture, architectures):
            stage = _stage_of(architecture, fault)
            if stage is None:
                continue
            if size is not None:
                if size not in architecture.sizes:
                    raise MindportError(
                        f"{architecture.title} has no size {size!r}."
                        f"{did_you_mean(size, architecture.sizes)}"
                    )
                config = architecture.sizes[size]
                stage = replace(stage, checkpoint=RANDOM, config=config, batch=4)
            if not 0 <= number < _layers_of(architecture, stage):
                raise MindportError(f"{text!r}: there is no block {number}.")
            yield Trial(stage, fault, number, severity, held_out=fault in HELD_OUT)


def _layers_of(architecture: Architecture, stage: Stage) -> int:
    # The embedded models have as many layers as the tiny size.
    config: Mapping[str, Any] = stage.config or architecture.sizes["tiny"]
    return int(config[architecture.layers])


def _stage_of(architecture: Architecture, fault: Fault) -> Stage | None:
    heads = [architecture.default_head, *architecture.heads]
    head = next((name for name in heads if fault.fits(architecture, name)), None)
    if head is None:
        return None
    own = head == architecture.default_head
    checkpoint = default_checkpoint(architecture.name) if own else RANDOM
    return Stage(architecture.name, head, checkpoint, FAULT_BATCH, FAULT_LENGTH)


def correct_trials(architectures: Sequence[str], count: int, seed: int = 0) -> Iterator[Trial]:
    """Yield correct ports of random configurations: none may be called wrong.

    Args:
        architectures: Their names; they take turns.
        count: How many in all.
        seed: Of the configurations.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        architecture = load_architecture(architectures[number % len(architectures)])
        heads = list(architecture.heads)
        config = _random_config(architecture, rng)
        longest = longest_sequence(architecture, resolve_config(architecture, config))
        length = int(rng.integers(3, longest + 1))
        stage = Stage(
            architecture.name,
            heads[number // len(architectures) % len(heads)],
            RANDOM,
            batch=int(rng.integers(1, 7)),
            length=length,
            dtype="float16" if rng.random() < 0.3 else "float32",
            seed=int(rng.integers(2**31)),
            config=config,
            threads=1 if number < count / 2 else 2,
        )
        yield Trial(stage, mode="graph" if number % 10 < 2 else "eager")


def _random_config(architecture: Architecture, rng: np.random.Generator) -> dict[str, Any]:
    """Return a config of random sizes, with every switch that the port implements at random."""
    steps = architecture.heads[architecture.default_head].steps
    heads_field = next(s.operation.heads for s in steps if isinstance(s.operation, Score))
    vocabulary_field, width_field = architecture.heads["none"].body[0].shape
    heads = int(rng.choice([1, 2, 3, 4, 6]))
    width = heads * int(rng.choice([8, 16, 24, 32]))
    vocabulary = int(rng.integers(40, 900))
    config: dict[str, Any] = {
        vocabulary_field: vocabulary,
        architecture.positions: int(rng.integers(8, 97)),
        architecture.layers: int(rng.integers(1, 6)),
        heads_field: heads,
        width_field: width,
    }
    shapes = {axis for p in architecture.heads["none"].body for axis in p.shape}
    for entry in architecture.fields:
        name = entry.name
        if len(entry.allowed) > 1:
            config[name] = entry.allowed[rng.integers(len(entry.allowed))]
        elif any(isinstance(s.operation, Norm) and s.operation.eps == name for s in steps):
            config[name] = float(rng.choice([1e-3, 1e-5, 1e-6, 1e-12]))
        elif (
            entry.dimension
            and name in shapes
            and name not in config
            and not isinstance(entry.default, int)
        ):
            config[name] = int(rng.integers(1, 5)) * width  # the feed-forward network's
        elif name.endswith("_token_id") and entry.default is None:
            config[name] = vocabulary - 1
    return config
