"""A small network in NumPy alone: right and wrong runs of it, with the errors of rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.architectures import load_architecture
from mindport.migrate.computation import Score, Step
from mindport.migrate.porting import prepare
from mindport.validate.backend import Identity, LoadReport
from mindport.validate.capture import Capture, CaptureManifest, save_capture
from mindport.validate.case import SettledCase, hash_arrays
from mindport.validate.diagnose.scene import rounded_to
from mindport.validate.formula.operations import Setting, evaluate
from mindport.validate.formula.rounding import PRECISIONS, rounding_variance
from mindport.validate.formula.validity import valid_elements
from mindport.validate.inputs import make_inputs
from mindport.validate.metrics import rms
from mindport.validate.network import Network, describe_network

SMALL: Mapping[str, Mapping[str, Any]] = {
    "gpt2": {
        "vocab_size": 96,
        "n_positions": 40,
        "n_embd": 32,
        "n_layer": 3,
        "n_head": 4,
        "pad_token_id": 95,
    },
    "bert": {
        "vocab_size": 96,
        "max_position_embeddings": 40,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "pad_token_id": 95,
    },
    "roberta": {
        "vocab_size": 96,
        "max_position_embeddings": 42,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "pad_token_id": 1,
    },
    "distilbert": {
        "vocab_size": 96,
        "max_position_embeddings": 40,
        "dim": 32,
        "n_layers": 3,
        "n_heads": 4,
        "hidden_dim": 64,
        "pad_token_id": 95,
    },
}
TORCH = Identity("torch", "torch", "2", "CPU", "float32", "eager", "eager")
MINDSPORE = replace(TORCH, backend="mindspore", framework="mindspore")
# A wrong step: what it makes of its inputs instead.
Wrong = Callable[[Step, Sequence[np.ndarray], Setting], np.ndarray]


@dataclass(frozen=True)
class Small:
    """A small random network.

    Attributes:
        case: What is run.
        inputs: What is fed.
        network: Its mathematics.
        dtype: Of the run.
    """

    case: SettledCase
    inputs: Mapping[str, np.ndarray]
    network: Network
    dtype: str

    def step(self, tap: str) -> Step:
        """Return the step that makes a tap."""
        return next(step for step in self.network.steps if step.tap == tap)

    def exact(self) -> dict[str, np.ndarray]:
        """Return every tap in float64."""
        taps: dict[str, np.ndarray] = {}
        for step in self.network.steps:
            given = [taps[name] for name in step.inputs]
            taps[step.tap] = evaluate(step, given, self.network.setting)
        return taps

    def run(
        self, wrong: Mapping[str, Wrong] | None = None, *, seed: int = 0, noise: float = 0.5
    ) -> dict[str, np.ndarray]:
        """Return every tap of a run, float32, off by part of what rounding predicts.

        Args:
            wrong: What some taps' steps make of their inputs instead.
            seed: Of the errors.
            noise: Their size, in predicted deviations.
        """
        rng = np.random.default_rng(seed)
        precision, setting = PRECISIONS[self.dtype], self.network.setting
        taps: dict[str, np.ndarray] = {}
        for step in self.network.steps:
            given = [taps[name].astype(np.float64) for name in step.inputs]
            value = (wrong or {}).get(step.tap, evaluate)(step, given, setting)
            with np.errstate(over="ignore"):
                variance = rounding_variance(step, given, value, setting, precision)
                error = noise * np.sqrt(variance) * rng.standard_normal(value.shape)
            value = np.where(value == 0, value, value + error)  # a zero that was meant stays one
            if isinstance(step.operation, Score) and step.tap not in (wrong or {}):
                value = hidden(step, value, setting, self.dtype)
            taps[step.tap] = self.rounded(value)
        return taps

    def rounded(self, value: np.ndarray) -> np.ndarray:
        """Round to the run's dtype."""
        if self.dtype != "float32":
            value = rounded_to(self.dtype)(value)
        return value.astype(np.float32)

    def capture(
        self,
        folder: Path,
        taps: Mapping[str, np.ndarray],
        *,
        oracle: bool = False,
        **manifest: Any,
    ) -> Capture:
        """Write a capture.

        Args:
            folder: Where to.
            taps: What was captured.
            oracle: Whether the exact taps lie beside it, as in a reference's capture.
            manifest: Fields of the manifest that are not as usual.
        """
        exact = self.exact() if oracle else {}
        floor = {name: rms(self.error(name, taps[name], exact)) for name in exact if name in taps}
        fields = {
            "identity": replace(TORCH if oracle else MINDSPORE, dtype=self.dtype),
            "load_report": LoadReport(52),
            "weights": {"model.safetensors": "0" * 64},
            "inputs": dict(self.case.inputs),
            "taps": tuple(taps),
            "unstable": (),
            "floor": {"as fed": floor} if oracle else {},
            "seconds": {"load": 1.0, "forward": 1.0},
            "peak_memory_bytes": 1,
        }
        written = CaptureManifest(**{**fields, **manifest})
        save_capture(folder, written, taps, exact if oracle else None)
        return Capture(folder)

    def error(self, name: str, found: np.ndarray, exact: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return how far the elements that count are from the exact ones."""
        valid = valid_elements(self.step(name), self.network.setting.real, found.shape)
        error: np.ndarray = (found - exact[name])[valid]
        return error


def hidden(step: Step, scores: np.ndarray, setting: Setting, dtype: str) -> np.ndarray:
    """Mask scores as frameworks do: with the lowest number."""
    lowest = -6e4 if dtype == "float16" else -3e38
    assert isinstance(step.operation, Score)
    return np.where(setting.visible(step.operation.causal), scores, lowest)


def make_small(
    folder: Path, architecture: str, head: str, dtype: str = "float32", **shape: int
) -> Small:
    """Describe a checkpoint of :data:`SMALL`.

    Args:
        folder: The checkpoint.
        architecture: Its model type.
        head: The head.
        dtype: Of the run.
        shape: ``batch`` and ``length`` of the inputs, and their ``seed``.
    """
    described = load_architecture(architecture)
    prepared = prepare(folder, architecture, head=head, to="mindspore")
    asked = {"batch": 6, "length": 32, "seed": 0, **shape}
    inputs = make_inputs(described, described.heads[head], prepared.plan.config, **asked)
    network = describe_network(prepared, inputs, dtype)
    taps = tuple(step.tap for step in network.steps)
    return Small(
        SettledCase(architecture, head, 0, taps, hash_arrays(inputs), False), inputs, network, dtype
    )
