"""MindSpore with the networks of :mod:`mindport.migrate.cells`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.architecture import Head
from mindport.migrate.architectures import load_architecture
from mindport.migrate.config import read_config_file
from mindport.migrate.dialect import MINDSPORE
from mindport.migrate.errors import MindportError
from mindport.validate.backend import LoadReport
from mindport.validate.backends._mindspore_kernels import prove_fused_attention
from mindport.validate.backends._mindspore_learning import MindSporeLearnable
from mindport.validate.backends._mindspore_prompts import MindSporePrompts
from mindport.validate.backends._mindspore_run import (
    prove_identity,
    start_mindspore,
    to_numpy,
    to_tensors,
)
from mindport.validate.case import EAGER, FUSED, Run, SettledCase
from mindport.validate.devices import parse_device
from mindport.validate.faults import apply_network_fault
from mindport.validate.learning.network import network_sizes, no_words, table_name

FRAMEWORK = "mindspore"
DIALECT = "mindspore"
MODES = ("eager", "graph")
ATTENTIONS = (EAGER, FUSED)


def open_session(run: Run, case: SettledCase) -> MindSporeSession:
    """Build the network of the case's head and load what the checkpoint holds.

    What is missing stays at random, as MindSpore's own loading leaves it; the load report says
    so, and no verdict passes with such a report.
    """
    mindspore = start_mindspore(run, case)
    if run.attention == FUSED:
        prove_fused_attention(mindspore, parse_device(run.device))
    head = load_architecture(case.architecture).heads[case.head]
    return MindSporeSession(mindspore, run, case, head)


class MindSporeSession:
    """One of our cells; its taps are extra outputs, since hooks do not fire in graph mode.

    Raises:
        MindportError: If the case names a tap that the network does not have.
    """

    def __init__(self, mindspore: Any, run: Run, case: SettledCase, head: Head) -> None:
        cells = import_module("mindport.migrate.cells")
        folder = Path(run.checkpoint)
        network = getattr(cells, head.class_name)(read_config_file(folder / "config.json"))
        network.cast_parameters(getattr(mindspore, run.dtype))
        network.set_train(False)
        loading = import_module("mindport.migrate.cells.loading")
        file = loading.find_checkpoint(folder, network.architecture)
        report = loading.load_parameters(network, file)
        if run.fault:
            apply_network_fault(mindspore, network, network.architecture, head.name, run.fault)
        unknown = [name for name in case.taps if name not in network.tap_names()]
        if unknown:
            raise MindportError(
                f"{head.class_name} has no tap {unknown[0]!r}.",
                f"It has: {', '.join(network.tap_names())}.",
            )
        if run.attention == FUSED:
            network.fuse_attention()
        self._network, self._head = network, head
        self._taps = case.taps
        self._returned = {tap.name: tap.output for tap in head.taps if tap.output}
        self._targets = network.loss_inputs if head.name != "none" else ("cotangent",)
        self._loss_and_gradients = mindspore.value_and_grad(
            _loss_of(mindspore, network), None, network.trainable_params()
        )
        self.load_report = LoadReport(
            loaded=len(report.loaded),
            missing=report.missing,
            unexpected=report.unexpected,
            mismatched=tuple(
                f"{name}: stored {list(stored)}, the network needs {list(wanted)}"
                for name, stored, wanted in report.mismatched
            ),
        )
        self.identity = prove_identity(
            mindspore,
            run,
            next(iter(network.get_parameters())),
            FUSED if network.fused else EAGER,
        )
        self._mindspore = mindspore

    def forward(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network once; see :class:`mindport.validate.backend.Session`."""
        if self._returned.keys() >= set(self._taps):  # nothing inside is asked for
            output = self._network(**self._tensors(inputs))
            return {
                name: self._to_numpy(getattr(output, self._returned[name])) for name in self._taps
            }
        output = self._network(**self._tensors(inputs), output_taps=True)
        taps = self._network.named_taps(output)
        return {name: self._to_numpy(taps[name]) for name in self._taps if name in taps}

    def prompt_model(self) -> MindSporePrompts:
        """Return what answers; see :class:`mindport.validate.backend.PromptSession`."""
        return MindSporePrompts(self._mindspore, self._network, self._head)

    def gradients(
        self, inputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Run forward and backward once, without dropout.

        Args:
            inputs: int64 arrays of shape (batch, seq).
            targets: What the head's loss needs (``labels``, ``next_sentence_label``,
                ``start_positions``, ``end_positions``), int64. The head ``none`` has no loss;
                there it is ``cotangent``, float32 of the shape of ``last_hidden_state``, and the
                loss is the sum of the product of the two.

        Returns:
            The loss, and the float32 gradient of every trainable parameter by MindSpore's name:
            zeros if the loss does not depend on it. Tied ones are there once, with the sum.

        Raises:
            MindportError: If a target is missing or unknown, or holds an impossible value.
        """
        if sorted(targets) != sorted(self._targets):
            raise MindportError(
                f"The loss needs {', '.join(self._targets)}, but got {', '.join(targets)}."
            )
        given = self._tensors({**inputs, **targets})
        cotangent = given.pop("cotangent", None)
        arguments = self._network.signature.bind(**given)
        arguments.apply_defaults()
        self._network.check_inputs(arguments.arguments)
        with _training_without_dropout(self._mindspore, self._network):
            loss, gradients = self._loss_and_gradients(cotangent, *arguments.args)
            parameters = self._network.trainable_params()
            return float(self._to_numpy(loss)), {
                parameter.name: self._to_numpy(gradient)
                for parameter, gradient in zip(parameters, gradients, strict=True)
            }

    def learnable_model(self) -> MindSporeLearnable:
        """Return the network as :mod:`mindport.prompts.learning` trains prompts on it.

        Raises:
            MindportError: If the head predicts no words.
        """
        head, network = self._head, self._network
        if not head.prompts:
            raise no_words(head)
        parameters = {p.name: p for p in network.get_parameters()}
        table = self._to_numpy(parameters[table_name(head, MINDSPORE)])
        architecture = load_architecture(network.architecture)
        sizes = network_sizes(architecture, head, vars(network.config))
        return MindSporeLearnable(self._mindspore, network, head, table, sizes)

    def _tensors(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return to_tensors(self._mindspore, arrays)

    def _to_numpy(self, tensor: Any) -> np.ndarray:
        return to_numpy(self._mindspore, tensor)


def _loss_of(mindspore: Any, network: Any) -> Callable[..., Any]:
    """Return the loss as a function of a cotangent, or None, and the network's arguments."""

    # A function, not a cell around the network: that would rename the network's parameters.
    def loss(cotangent: Any, *arguments: Any) -> Any:
        first = network(*arguments)[0]
        if cotangent is None:
            return first
        return (mindspore.ops.cast(first, mindspore.float32) * cotangent).sum()

    return loss


@contextmanager
def _training_without_dropout(mindspore: Any, network: Any) -> Iterator[None]:
    """Let a network learn as in training, where the embedding of padding gets no gradient."""
    network.set_train(True)
    for _, cell in network.cells_and_names():
        if isinstance(cell, mindspore.nn.Dropout):
            cell.set_train(False)
    try:
        yield
    finally:
        network.set_train(False)
