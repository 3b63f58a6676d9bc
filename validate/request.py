"""What the user asks ``validate`` for."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import MindportError, did_you_mean
from mindport.validate.backend import backend_names
from mindport.validate.case import ATTENTIONS, DTYPES, EAGER, MODES, SDPA
from mindport.validate.checkpoints import default_checkpoint


@dataclass(frozen=True)
class Case:
    """What both sides do: a network, its weights, and what it is fed. Nothing is read or run yet.

    Attributes:
        architecture: ``gpt2``, ``bert`` …
        checkpoint: ``embedded``, ``embedded-NAME``, ``random``, a path, or a model's name; empty
            for the embedded weights, or random ones if none of the architecture are embedded.
        config_file: ``config.json`` for ``random``, or of weights that lie without one.
        size: A named size for ``random``.
        head: The head; None takes the checkpoint's.
        inputs: A file of inputs; None makes random ones.
        batch: Rows of random inputs.
        length: Tokens of random inputs; None takes 64, or the number of positions if smaller.
        seed: Of random inputs and weights.
        prompts: A prompt task's name or file, or None.
        prompt_limit: At most so many items of the task.
        shots: How many demonstrations stand before each prompt.
        allow_missing: Whether to run both sides with the initial values of what the checkpoint
            lacks.
        blocks_only: Whether to capture blocks and not the operations inside them.
        gradients: Whether to compare the loss and the gradient of every parameter too.
    """

    architecture: str
    checkpoint: str = ""
    config_file: Path | None = None
    size: str | None = None
    head: str | None = None
    inputs: Path | None = None
    batch: int = 4
    length: int | None = None
    seed: int = 0
    prompts: str | None = None
    prompt_limit: int | None = None
    shots: int = 0
    allow_missing: bool = False
    blocks_only: bool = False
    gradients: bool = False

    def __post_init__(self) -> None:
        """Say which weights are meant where none are named, and take a text for a path."""
        for field in fields(self):
            value = getattr(self, field.name)
            if "Path" in str(field.type) and isinstance(value, str):
                object.__setattr__(self, field.name, Path(value))
            elif field.name in ("checkpoint", "prompts", "candidate") and isinstance(value, Path):
                object.__setattr__(self, field.name, str(value))
        if not self.checkpoint:
            object.__setattr__(self, "checkpoint", default_checkpoint(self.architecture))

    @property
    def named_checkpoint(self) -> str | None:
        """The checkpoint, unless it is the one that is run when none is named."""
        unsaid = self.checkpoint == default_checkpoint(self.architecture)
        return None if unsaid else self.checkpoint


@dataclass(frozen=True)
class Request(Case):
    """A case, how each side runs it, and how that is judged; defaults are the command line's.

    Attributes:
        candidate_checkpoint: An already ported folder or file; None ports on the fly.
        policy: How the tolerance is chosen; None derives it, or takes ``atol`` and ``rtol``.
        atol: Absolute tolerance.
        rtol: Relative tolerance.
        backend: The candidate's backend.
        device: The candidate's device, as :func:`mindport.validate.devices.parse_device` reads it.
        reference_device: The reference's; its float64 oracle always runs on the CPU.
        dtype: Of the candidate.
        reference_dtype: Of the reference; None takes the candidate's.
        mode: The candidate's mode.
        attention: How the candidate computes attention, of those that its backend has.
        reference_attention: The same for the reference.
        python: The candidate's interpreter; None takes this one.
        reference_python: The reference's interpreter.
        timeout: Seconds that a worker may take.
        threads: CPU threads for each side; None leaves it to the frameworks.
        emulate: The matrix unit to emulate instead of running a candidate, or None.
        matmul: The matrix unit that the candidate's device may use; None for strict products.
        candidate: ``FILE.py:FUNCTION`` that builds a network of the user's own; None runs ours.
        taps_file: Where that network's taps are; None, and what it leaves open, is proposed.
        accept: Names of departures of the candidate's platform that are accepted.
        reference_capture: A recorded reference to be used instead of a run.
        candidate_capture: The same for the candidate.
    """

    candidate_checkpoint: Path | None = None
    policy: str | None = None
    atol: float | None = None
    rtol: float | None = None
    backend: str = "mindspore"
    device: str = "CPU"
    reference_device: str = "CPU"
    dtype: str = "float32"
    reference_dtype: str | None = None
    mode: str = "eager"
    attention: str = EAGER
    reference_attention: str = EAGER
    python: str | None = None
    reference_python: str | None = None
    timeout: float = 900.0
    threads: int | None = None
    emulate: str | None = None
    matmul: str | None = None
    candidate: str | None = None
    taps_file: Path | None = None
    accept: tuple[str, ...] = ()
    reference_capture: Path | None = None
    candidate_capture: Path | None = None


def request_for(case: Case, **options: Any) -> Request:
    """Return a request for a case.

    Args:
        case: What both sides do; a request is taken for its case alone.
        options: The fields of a request that a case does not have.
    """
    what = {field.name: getattr(case, field.name) for field in fields(Case)}
    return Request(**what, **options)


# What a field may be, where the command line offers a choice; None is always allowed where it is
# the default. Sizes, heads, policies, units and departures are checked where they are looked up.
_CHOICES = {
    "backend": backend_names(),
    "dtype": DTYPES,
    "reference_dtype": DTYPES,
    "mode": MODES,
    "attention": ATTENTIONS,
    "reference_attention": (EAGER, SDPA),
}
_AT_LEAST = {"batch": 1, "length": 1, "prompt_limit": 1, "shots": 0, "threads": 1, "timeout": 1}


def check_values(asked: Case) -> None:
    """Raise if a field has a value that the command line would not take.

    Raises:
        MindportError: For the first one.
    """
    load_architecture(asked.architecture)
    for name, known in _CHOICES.items():
        value = getattr(asked, name, None)
        if value is not None and value not in known:
            what = name.replace("_", " ")
            raise MindportError(f"There is no {what} {value!r}.{did_you_mean(str(value), known)}")
    for name, least in _AT_LEAST.items():
        value = getattr(asked, name, None)
        if value is not None and not (math.isfinite(value) and value >= least):
            raise MindportError(
                f"--{name.replace('_', '-')} must be at least {least}, not {value}."
            )


def check_dtypes(request: Request) -> None:
    """Raise if a request needs both sides in one dtype, and they are in two.

    Raises:
        MindportError: For gradients: what rounding does to them is measured, in one dtype.
    """
    if request.gradients and request.reference_dtype not in (None, request.dtype):
        raise MindportError(
            f"The tolerance of gradients is measured in one dtype, and the reference's "
            f"({request.reference_dtype}) is not the candidate's ({request.dtype}).",
            "Leave out --gradients or --reference-dtype.",
        )
