"""What the user asks ``validate`` for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mindport.migrate.errors import MindportError
from mindport.validate.case import EAGER
from mindport.validate.checkpoints import default_checkpoint


@dataclass(frozen=True)
class Request:
    """What the user asks for; every field has the default of the command line.

    Attributes:
        architecture: ``gpt2``, ``bert`` …
        checkpoint: ``embedded``, ``embedded-NAME``, ``random``, a path, or a model's name; empty
            for the embedded weights, or random ones if none of the architecture are embedded.
        candidate_checkpoint: An already ported folder or file; None ports on the fly.
        config_file: ``config.json`` for ``random``, or of weights that lie without one.
        size: A named size for ``random``.
        head: The head; None takes the checkpoint's.
        inputs: A file of inputs; None makes random ones.
        batch: Rows of random inputs.
        length: Tokens of random inputs; None takes 64, or the number of positions if smaller.
        seed: Of random inputs and weights.
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
        prompts: A prompt task's name or file, or None.
        prompt_limit: At most so many items of the task.
        shots: How many demonstrations stand before each prompt.
        timeout: Seconds that a worker may take.
        threads: CPU threads for each side; None leaves it to the frameworks.
        blocks_only: Whether to capture blocks and not the operations inside them.
        emulate: The matrix unit to emulate instead of running a candidate, or None.
        matmul: The matrix unit that the candidate's device may use; None for strict products.
        candidate: ``FILE.py:FUNCTION`` that builds a network of the user's own; None runs ours.
        taps_file: Where that network's taps are; None, and what it leaves open, is proposed.
        gradients: Whether to compare the loss and the gradient of every parameter too.
        allow_missing: Whether to run both sides with the initial values of what the checkpoint
            lacks.
        accept: Names of departures of the candidate's platform that are accepted.
        reference_capture: A recorded reference to be used instead of a run.
        candidate_capture: The same for the candidate.
    """

    architecture: str
    checkpoint: str = ""
    candidate_checkpoint: Path | None = None
    config_file: Path | None = None
    size: str | None = None
    head: str | None = None
    inputs: Path | None = None
    batch: int = 4
    length: int | None = None
    seed: int = 0
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
    prompts: str | None = None
    prompt_limit: int | None = None
    shots: int = 0
    timeout: float = 900.0
    threads: int | None = None
    blocks_only: bool = False
    emulate: str | None = None
    matmul: str | None = None
    candidate: str | None = None
    taps_file: Path | None = None
    gradients: bool = False
    accept: tuple[str, ...] = ()
    allow_missing: bool = False
    reference_capture: Path | None = None
    candidate_capture: Path | None = None

    def __post_init__(self) -> None:
        """Say which weights are meant where none are named."""
        if not self.checkpoint:
            object.__setattr__(self, "checkpoint", default_checkpoint(self.architecture))


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
