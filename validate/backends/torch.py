"""PyTorch with ``transformers``: the reference that a port is held against."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from mindport.migrate.architecture import Head, network_order
from mindport.migrate.architectures import load_architecture
from mindport.migrate.computation import network_steps, position_axes
from mindport.migrate.config import resolve_config
from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.migrate.positions import first_position, longest_sequence
from mindport.validate.backend import GradientRun, Identity, require
from mindport.validate.backends._torch_device import (
    KINDS,
    describe_device,
    prove_device,
    select_device,
)
from mindport.validate.backends._torch_floor import Reordered
from mindport.validate.backends._torch_gradients import Gradients
from mindport.validate.backends._torch_learning import TorchLearnable
from mindport.validate.backends._torch_loading import (
    load_model,
    report_loading,
    use_attention,
)
from mindport.validate.backends._torch_positions import accept_positions
from mindport.validate.backends._torch_prompts import TorchPrompts, untrained
from mindport.validate.backends._torch_taps import Listener
from mindport.validate.case import EAGER, SDPA, Run, SettledCase
from mindport.validate.determinism import make_torch_repeatable, settings_in_force
from mindport.validate.devices import parse_device
from mindport.validate.learning.network import network_sizes, no_words

FRAMEWORK = "torch"
DIALECT = "torch"
MODES = ("eager",)
ATTENTIONS = (EAGER, SDPA)


def open_session(run: Run, case: SettledCase) -> TorchSession:
    """Load the weights with ``from_pretrained``."""
    torch = require(FRAMEWORK, "torch")
    transformers = require("transformers", "torch")
    device = parse_device(run.device)
    place = select_device(torch, device)
    make_torch_repeatable(torch, device, case.seed, run.threads)  # cuBLAS reads it as it starts
    prove_device(torch, device, place)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    head = load_architecture(case.architecture).heads[case.head]
    model, info = load_model(transformers, torch, run, head)
    return TorchSession(torch, model.eval().to(place), info, run, case, head)


class TorchSession:
    """A ``transformers`` model that is listened to at every tap."""

    def __init__(
        self,
        torch: Any,
        model: Any,
        info: Mapping[str, Any],
        run: Run,
        case: SettledCase,
        head: Head,
    ) -> None:
        self._torch, self._model, self._head = torch, model, head
        config = resolve_config(load_architecture(case.architecture), model.config.to_dict())
        architecture = load_architecture(case.architecture)
        self.layers: int = config[architecture.layers]
        self._sizes = network_sizes(architecture, head, config) if head.prompts else None
        self._first = first_position(architecture, config)
        longest = longest_sequence(architecture, config)
        pad = config.get("pad_token_id")
        asked = set(case.taps)
        self._taps = [tap for tap in network_order(head.taps, self.layers) if tap.name in asked]
        self._listener = Listener(torch, model, head, self._taps)
        self._reordered = Reordered(
            model,
            self.forward,
            position_axes(tuple(network_steps(head.steps, self.layers))),
            # Without a pad_token_id the head would take padding for the last token.
            0 if head.pools_last_token and pad is None else longest,
            pad or 0,
        )
        self._gradients = Gradients(
            torch,
            model,
            head,
            run.dtype,
            longest,
            config.get("pad_token_id"),
        )
        parameter = next(model.parameters())
        # A redirected import can put another framework under the name of torch.
        if type(parameter).__module__ != "torch.nn.parameter":
            raise EnvironmentUnavailableError(
                f"The module called torch is not PyTorch: its parameters are {type(parameter)}.",
                "Run the torch backend in an interpreter without MindNLP.",
            )
        self.load_report = report_loading(model, info)
        self.identity = Identity(
            backend="torch",
            framework="torch",
            version=torch.__version__,
            device=KINDS[parameter.device.type],
            dtype=str(parameter.dtype).removeprefix("torch."),
            mode=run.mode,
            attention=model.config._attn_implementation,
            details={
                "transformers": version("transformers"),
                "numpy": np.__version__,
                "python": sys.version.split()[0],
                "threads": torch.get_num_threads(),
                "device": describe_device(torch, parameter.device),
                "determinism": settings_in_force("torch"),
            },
        )

    def forward(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once; see :class:`mindport.validate.backend.Session`.

        Another attention than the plain formula has no scores and weights; these are left out.
        """
        return {name: self._to_numpy(tensor) for name, tensor in self._tap(inputs).items()}

    def oracle(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run in float64; see :class:`mindport.validate.backend.ReferenceSession`.

        Always by the plain formula, which is the one that shows all taps. The model stays so
        afterwards: ask for everything else first.
        """
        use_attention(self._model, EAGER)
        self._model.to("cpu").double()
        return {name: tensor.numpy() for name, tensor in self._tap(inputs).items()}

    def reordered(
        self, inputs: Mapping[str, np.ndarray]
    ) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """Run in other orders; see :class:`mindport.validate.backend.ReferenceSession`."""
        return self._reordered.variants(inputs)

    def gradients(
        self, inputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Run backward too; see :class:`mindport.validate.backend.GradientSession`."""
        return self._gradients.as_fed(inputs, targets)

    def gradient_runs(
        self, inputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> Iterator[GradientRun]:
        """Yield correct runs; see :class:`mindport.validate.backend.GradientReference`."""
        return self._gradients.runs(inputs, targets)

    def learnable_model(self) -> TorchLearnable:
        """Return the network as :mod:`mindport.prompts.learning` trains prompts on it.

        Raises:
            MindportError: If the head predicts no words.
        """
        if self._sizes is None:
            raise no_words(self._head)
        return TorchLearnable(self._torch, self._model, self._head, self._sizes)

    def _tap(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        with self._listener as listener:
            output = self._run(inputs)
        captured = listener.captured
        captured |= {tap.name: getattr(output, tap.output) for tap in self._taps if tap.output}
        return {tap.name: captured[tap.name] for tap in self._taps if tap.name in captured}

    def prompt_model(self) -> TorchPrompts:
        """Return what answers; see :class:`mindport.validate.backend.PromptSession`."""
        return TorchPrompts(self._torch, self._model, self._head, self._first)

    def control_model(self, seed: int) -> TorchPrompts:
        """Return a network without training; see :class:`mindport.validate.backend.ControlSession`.

        It is drawn by ``transformers``' own rules.
        """
        fresh = untrained(self._torch, self._model, seed)
        accept_positions(fresh, self._head)
        return TorchPrompts(self._torch, fresh, self._head, self._first)

    def _run(self, inputs: Mapping[str, np.ndarray]) -> Any:
        device = next(self._model.parameters()).device
        tensors = {n: self._torch.from_numpy(a).to(device) for n, a in inputs.items()}
        with self._torch.inference_mode():
            return self._model(**tensors, return_dict=True)

    @staticmethod
    def _to_numpy(tensor: Any) -> np.ndarray:
        array: np.ndarray = tensor.float().cpu().numpy()
        return array
