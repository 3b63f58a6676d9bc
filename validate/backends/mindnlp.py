"""MindNLP: the stock ``transformers`` on a clone of torch that computes with MindSpore.

``import mindnlp`` puts its clone under the name of torch. Imported too late it does so in vain,
without a word, and real torch computes: hence the order here, and the proof afterwards.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from mindport.migrate.architecture import Head, network_order
from mindport.migrate.architectures import load_architecture
from mindport.migrate.config import resolve_config
from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.migrate.positions import first_position
from mindport.validate.backend import require
from mindport.validate.backends._mindnlp_gradients import differentiate
from mindport.validate.backends._mindspore_run import prove_identity, start_mindspore, to_numpy
from mindport.validate.backends._torch_device import TYPES
from mindport.validate.backends._torch_gradients import Gradients
from mindport.validate.backends._torch_loading import load_model, report_loading
from mindport.validate.backends._torch_prompts import TorchPrompts
from mindport.validate.backends._torch_taps import Listener, Wrapped
from mindport.validate.case import EAGER, SDPA, Run, SettledCase
from mindport.validate.devices import parse_device

FRAMEWORK = "mindnlp"
DIALECT = "torch"  # it reads what Hugging Face wrote
MODES = ("eager",)
ATTENTIONS = (EAGER, SDPA)
_HINT = "Build the environment that is made for it: validate env create mindnlp."


def open_session(run: Run, case: SettledCase) -> MindNLPSession:
    """Start MindNLP, in the right order, and load the weights with ``from_pretrained``.

    Raises:
        EnvironmentUnavailableError: If MindNLP, the device or the dtype on it is not there, or
            what runs is not MindSpore.
    """
    mindspore, torch, transformers = _start(run, case)
    transformers.logging.set_verbosity_error()
    head = load_architecture(case.architecture).heads[case.head]
    model, info = load_model(transformers, torch, run, head)
    model = model.eval()
    device = parse_device(run.device)
    if device.kind != "CPU":
        model = model.to(torch.device(TYPES[device.kind], device.number))
    return MindNLPSession(mindspore, torch, model, info, run, case, head)


def _start(run: Run, case: SettledCase) -> tuple[Any, Any, Any]:
    early = [name for name in ("torch", "transformers") if name in sys.modules]
    if early and "mindnlp" not in sys.modules:
        raise EnvironmentUnavailableError(
            f"{early[0]} was imported before mindnlp, which then cannot take its place: PyTorch "
            "would run instead of MindSpore.",
            "Run the mindnlp backend in a process of its own, without anything (sitecustomize, "
            "a .pth file) that imports torch first.",
        )
    mindspore = start_mindspore(run, case)
    # It would choose the device once more.
    os.environ.pop("DEVICE_TARGET", None)
    try:
        require("mindnlp", "mindspore")
        transformers = require("transformers", "torch")
        torch = require("torch", "torch")
    except EnvironmentUnavailableError as error:
        raise EnvironmentUnavailableError(error.message, _HINT) from None
    except Exception as error:
        # It patches other packages, so a version that does not fit fails with any error at all.
        first = (str(error).splitlines() or [""])[0]
        raise EnvironmentUnavailableError(
            f"mindnlp does not start: {type(error).__name__}: {first}. It works with few versions "
            "of mindspore and transformers.",
            _HINT,
        ) from None
    return mindspore, torch, transformers


class MindNLPSession:
    """A ``transformers`` model on MindSpore that is listened to at every tap.

    Raises:
        EnvironmentUnavailableError: If its parameters are not MindSpore's.
    """

    def __init__(
        self,
        mindspore: Any,
        torch: Any,
        model: Any,
        info: Mapping[str, Any],
        run: Run,
        case: SettledCase,
        head: Head,
    ) -> None:
        self._mindspore, self._torch = mindspore, torch
        self._model, self._head = model, head
        parameter = next(model.parameters())
        if not isinstance(parameter, mindspore.Tensor):
            raise EnvironmentUnavailableError(
                "mindnlp has not taken the place of torch, so PyTorch would run instead of "
                f"MindSpore: the parameters are {type(parameter)}.",
                _HINT,
            )
        if (parameter.device.type == "cpu") != (parse_device(run.device).kind == "CPU"):
            raise EnvironmentUnavailableError(
                f"{run.device} was asked for, but the parameters are on {parameter.device.type}."
            )
        self._device = parameter.device
        self.load_report = report_loading(model, info)
        self.identity = prove_identity(
            mindspore,
            run,
            parameter,
            attention=model.config._attn_implementation,
            details={
                # mindnlp.__version__ is that of another release.
                **{name: version(name) for name in ("mindnlp", "transformers")},
                # With it some of MindNLP's operations are NumPy's.
                "CPU_USE_NUMPY": os.environ.get("CPU_USE_NUMPY", ""),
            },
        )
        architecture = load_architecture(case.architecture)
        config = resolve_config(architecture, model.config.to_dict())
        self._first = first_position(architecture, config)
        asked = set(case.taps)
        self._taps = [
            tap
            for tap in network_order(head.taps, config[architecture.layers])
            if tap.name in asked
        ]
        self._listener = Listener(torch, model, head, self._taps, Wrapped)
        positions, pad = config[architecture.positions], config.get("pad_token_id")
        self._formula = Gradients(torch, model, head, run.dtype, positions, pad)

    def forward(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once; see :class:`mindport.validate.backend.Session`.

        A tap whose module did not run, or whose softmax was not seen, is left out.
        """
        with self._listener as listener:
            output = self._run(inputs)
        captured = listener.captured
        captured |= {tap.name: getattr(output, tap.output) for tap in self._taps if tap.output}
        return {
            tap.name: to_numpy(self._mindspore, captured[tap.name])
            for tap in self._taps
            if tap.name in captured
        }

    def _run(self, inputs: Mapping[str, np.ndarray]) -> Any:
        tensors = {n: self._torch.from_numpy(a).to(self._device) for n, a in inputs.items()}
        with self._torch.no_grad():
            return self._model(**tensors, return_dict=True)

    def gradients(
        self, inputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Run backward too; see :class:`mindport.validate.backend.GradientSession`."""
        fed, labels = (
            {n: self._torch.from_numpy(a).to(self._device) for n, a in arrays.items()}
            for arrays in (inputs, targets)
        )
        return differentiate(self._mindspore, self._model, self._formula, fed, labels)

    def prompt_model(self) -> TorchPrompts:
        """Return what answers; see :class:`mindport.validate.backend.PromptSession`."""
        return TorchPrompts(self._torch, self._model, self._head, self._first)
