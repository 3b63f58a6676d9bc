"""The protocol that a backend fulfils, and how one is found by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError, did_you_mean
from mindport.prompts import PromptModel
from mindport.validate import backends
from mindport.validate.case import EAGER, Run, SettledCase


@dataclass(frozen=True)
class LoadReport:
    """What became of the weights when the network was loaded.

    Attributes:
        loaded: How many parameters of the network were set from the checkpoint.
        missing: Parameters of the network that the checkpoint lacks.
        unexpected: Tensors of the checkpoint that the network has no place for.
        mismatched: Parameters whose stored shape is another, with both shapes.
    """

    loaded: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether every parameter was loaded and nothing was left."""
        return not (self.missing or self.unexpected or self.mismatched)


@dataclass(frozen=True)
class Identity:
    """What really ran; two runs with the same framework are not a cross-framework check.

    Attributes:
        backend: The backend's name.
        framework: The framework that computed, proved from the types of its tensors.
        version: Its version.
        device: The device really used.
        dtype: Of the parameters, read back from them.
        mode: ``eager`` or ``graph``.
        attention: The attention implementation really used.
        details: Versions of Python, NumPy and other libraries, thread counts.
    """

    backend: str
    framework: str
    version: str
    device: str
    dtype: str
    mode: str
    attention: str
    details: Mapping[str, Any] = field(default_factory=dict)


class Session(Protocol):
    """A loaded network, ready to run."""

    @property
    def load_report(self) -> LoadReport:
        """What became of the weights."""
        ...

    @property
    def identity(self) -> Identity:
        """What really runs."""
        ...

    def forward(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network once.

        Args:
            inputs: int64 arrays of shape (batch, seq).

        Returns:
            Every tap of the case that the network has, as float32.
        """
        ...


@runtime_checkable
class ReferenceSession(Session, Protocol):
    """A session that also knows the truth, and how far a correct run may be from it."""

    @property
    def layers(self) -> int:
        """How many blocks the network has."""
        ...

    def oracle(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return every tap of the case, computed in float64 on the CPU from the same weights.

        Args:
            inputs: int64 arrays of shape (batch, seq).
        """
        ...

    def reordered(
        self, inputs: Mapping[str, np.ndarray]
    ) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """Yield name and taps of runs that compute the same in another order.

        Args:
            inputs: int64 arrays of shape (batch, seq).
        """
        ...


@runtime_checkable
class GradientSession(Session, Protocol):
    """A session that can run backward."""

    def gradients(
        self, inputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Run forward and backward once, without dropout.

        Args:
            inputs: int64 arrays of shape (batch, seq).
            targets: See :func:`mindport.validate.targets.make_targets`.

        Returns:
            The loss, and the float32 gradient of every parameter by its own name, tied ones once.
        """
        ...


@runtime_checkable
class PromptSession(Session, Protocol):
    """A session that can answer prompts."""

    def prompt_model(self) -> PromptModel:
        """Return what answers them, with the network and the weights of the session."""
        ...


@runtime_checkable
class ControlSession(PromptSession, Protocol):
    """A session that also answers as a network would that has learnt nothing."""

    def control_model(self, seed: int) -> PromptModel:
        """Return the same network with random weights; the session's own stay as they are.

        Args:
            seed: Of the weights, which are drawn as they are before training.
        """
        ...


@dataclass(frozen=True)
class GradientRun:
    """The gradients of a correct run.

    Attributes:
        kind: ``oracle``: in float64. ``reordered``: in the dtype of the run, in another order.
            ``disturbed``: in float64, with random errors as rounding makes them.
        name: What was done.
        loss: The loss.
        gradients: By parameter; float64, or float32 if reordered.
    """

    kind: Literal["oracle", "reordered", "disturbed"]
    name: str
    loss: float
    gradients: Mapping[str, np.ndarray]


@runtime_checkable
class GradientReference(GradientSession, Protocol):
    """A session that also knows the true gradients, and how far correct ones may be from them."""

    def gradient_runs(
        self, inputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> Iterator[GradientRun]:
        """Yield the oracle, then other correct runs.

        Args:
            inputs: int64 arrays of shape (batch, seq).
            targets: See :func:`mindport.validate.targets.make_targets`.
        """
        ...


class Backend(Protocol):
    """What a module in ``validate/backends/`` offers."""

    FRAMEWORK: str  # the package that it needs
    DIALECT: str  # the layout of the weights that it loads
    MODES: tuple[str, ...]  # which of ``eager`` and ``graph`` it has
    ATTENTIONS: tuple[str, ...]  # which of :data:`mindport.validate.case.ATTENTIONS` it has

    def open_session(self, run: Run, case: SettledCase) -> Session:
        """Load the weights and return the network.

        Raises:
            EnvironmentUnavailableError: If the framework or the device is not there, or the
                device cannot compute in this dtype.
        """
        ...


def backend_names() -> tuple[str, ...]:
    """Return the names of all backends, found by listing ``validate/backends/``."""
    names = (module.name for module in iter_modules(backends.__path__))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def load_backend(name: str) -> Backend:
    """Return a backend by name. Its module imports the framework only in ``open_session``.

    Raises:
        MindportError: If there is no such backend.
    """
    if name not in backend_names():
        raise MindportError(f"There is no backend {name!r}.{did_you_mean(name, backend_names())}")
    backend: Backend = import_module(f"{backends.__name__}.{name}")
    return backend


def check_choices(backend: str, mode: str, attention: str = EAGER) -> None:
    """Raise if a backend does not have a mode or an attention.

    Raises:
        MindportError: With those that it has.
    """
    loaded = load_backend(backend)
    for what, asked, known in (
        ("mode", mode, loaded.MODES),
        ("attention", attention, loaded.ATTENTIONS),
    ):
        if asked not in known:
            raise MindportError(
                f"The {backend} backend has no {asked} {what}.", f"It has: {', '.join(known)}."
            )


def require(package: str, extra: str) -> Any:
    """Import a framework.

    Raises:
        EnvironmentUnavailableError: If it is not installed or does not start.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise EnvironmentUnavailableError(
            f"{package} cannot be imported: {error}.",
            f"Install it here (pip install 'mindport[{extra}]'), or point --python at an "
            "interpreter that has it.",
        ) from None
