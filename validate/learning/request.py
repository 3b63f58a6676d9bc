"""What the user asks ``learn`` for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mindport.prompts.learning.settings import LearningSettings
from mindport.validate.checkpoints import EMBEDDED


@dataclass(frozen=True)
class LearnRequest:
    """What the user asks for; every field has the default of the command line.

    Attributes:
        task: A prompt task's name or file.
        architecture: ``gpt2``, ``bert`` …
        settings: What is learned, and how.
        checkpoint: ``embedded``, a path, or a model's name.
        train: Rows to learn from, in the fields of the task's data; None takes the file that the
            task's demonstrations come from.
        limit: At most so many held-out rows, the labels in turn; None takes all.
        backends: What runs the reference and what runs the candidate.
        device: The candidate's device.
        mode: The candidate's mode; compiled graphs pay off within tens of steps.
        python: The candidate's interpreter; None takes this one.
        reference_python: The reference's interpreter.
        threads: CPU threads for each side; None leaves it to the frameworks.
        timeout: Seconds that a side may take.
        factor: What the floor is multiplied by; None takes
            :data:`mindport.prompts.learning.parity.FACTOR`.
        output: Where verdict and results are written; None writes nothing.
    """

    task: str
    architecture: str
    settings: LearningSettings
    checkpoint: str = EMBEDDED
    train: Path | None = None
    limit: int | None = None
    backends: tuple[str, str] = ("torch", "mindspore")
    device: str = "CPU"
    mode: str = "graph"
    python: str | None = None
    reference_python: str | None = None
    threads: int | None = None
    timeout: float = 1800.0
    factor: float | None = None
    output: Path | None = None
