"""MindSpore with a network that the user wrote: an ``nn.Cell`` with names of its own.

Its taps are read with forward hooks on its cells. Where they are is said in the user's taps file,
or proposed by :mod:`mindport.validate.own.proposal`; a tap that is in neither is not captured.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.architecture import Architecture, Head, network_order
from mindport.migrate.architectures import load_architecture
from mindport.migrate.computation import network_steps
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.errors import MindportError
from mindport.migrate.positions import first_position
from mindport.validate.backend import LoadReport
from mindport.validate.backends._mindspore_hooks import Listener, cells_of, observe
from mindport.validate.backends._mindspore_run import (
    prove_identity,
    start_mindspore,
    to_numpy,
    to_tensors,
)
from mindport.validate.backends._recomputed_prompts import RecomputedPrompts
from mindport.validate.case import EAGER, Run, SettledCase
from mindport.validate.formula.weights import ROUNDED
from mindport.validate.own.anchors import Layout, block_elements
from mindport.validate.own.calling import Call, find_outputs, harmful_omissions, match_inputs
from mindport.validate.own.contents import fingerprint
from mindport.validate.own.factory import blamed_on, find_factory, load_factory
from mindport.validate.own.places import Place, check_cells, read_places
from mindport.validate.own.proposal import propose
from mindport.validate.own.shapes import Shape, conforms, matrix_sizes, tap_shapes

FRAMEWORK = "mindspore"
DIALECT = "mindspore"
MODES = ("eager",)
ATTENTIONS = (EAGER,)  # whatever the network has of its own
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def open_session(run: Run, case: SettledCase) -> CellSession:
    """Build the user's network.

    Raises:
        MindportError: If there is no factory, or what it names or returns is not usable.
    """
    if not run.factory:
        raise MindportError(
            "The backend 'cell' runs a network of your own, and none is named.",
            "Name it with --candidate FILE.py:FUNCTION.",
        )
    return CellSession(start_mindspore(run, case), run, case)


class CellSession:
    """A user's cell that is listened to."""

    def __init__(self, mindspore: Any, run: Run, case: SettledCase) -> None:
        self._mindspore, self._run, self._case = mindspore, run, case
        self._factory = find_factory(run.factory)
        config = _config_of(run)
        self._architecture: Architecture = load_architecture(case.architecture)
        self._head: Head = self._architecture.heads[case.head]
        self._config = resolve_config(self._architecture, config)
        self._network = self._build(dict(config))
        signature = inspect.signature(self._network.construct)
        title = f"{type(self._network).__name__}.construct"
        self._call: Call = match_inputs(signature, self._head.inputs, title)
        self._places: dict[str, Place] | None = None
        self._proposed: frozenset[str] = frozenset()
        self._notices: list[str] = []
        count = len(list(self._network.get_parameters()))
        # Which of them were loaded cannot be known here; see mindport.validate.own.contents.
        self.load_report = LoadReport(loaded=count)
        parameter = next(
            (p for p in self._network.get_parameters() if str(p.dtype).lower() in _FLOATS), None
        )
        self.identity = prove_identity(
            mindspore, run, parameter, "its own", {"candidate": self._factory.title}
        )

    def _build(self, config: dict[str, Any]) -> Any:
        mindspore = self._mindspore
        build = load_factory(self._factory)
        with blamed_on(self._factory, "raised"):
            network = build(config, self._run.checkpoint)
        if not isinstance(network, mindspore.nn.Cell):
            kind = type(network)
            raise MindportError(
                f"{self._factory.title} returned {kind.__module__}.{kind.__qualname__}, not a "
                "mindspore.nn.Cell.",
                "Return the network itself, built and loaded.",
            )
        if not any(str(p.dtype).lower() in _FLOATS for p in network.get_parameters()):
            raise MindportError(
                f"{self._factory.title} returned a {type(network).__name__} without parameters.",
                "Assign its cells and parameters as attributes in __init__, or use CellList.",
            )
        dtype = getattr(mindspore, self._run.dtype)
        for parameter in network.get_parameters():
            if str(parameter.dtype).lower() in _FLOATS and parameter.dtype != dtype:
                parameter.set_dtype(dtype)
        network.set_train(False)
        return network

    def forward(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network once; see :class:`mindport.validate.backend.Session`.

        The first time it also runs to see where its taps are.
        """
        shapes = self._shapes(inputs)
        if set(self._case.taps) <= set(self._finals()):  # nothing inside is asked for
            found = find_outputs(
                self._run_once(inputs), self._finals(), shapes, self._mindspore.Tensor
            )
            return {
                name: self._read(found[name], shapes[name])
                for name in self._case.taps
                if name in found
            }
        if self._places is None:
            self._places = self._find_places(inputs, shapes)
            taps = {name: str(place) for name, place in self._places.items()}
            self.identity = replace(self.identity, details={**self.identity.details, "taps": taps})
        listener = Listener(self._mindspore, self._network, self._places)
        with listener:
            output = self._run_once(inputs)
        found = listener.captured(self._places)
        found |= find_outputs(output, self._finals(), shapes, self._mindspore.Tensor)
        return {
            name: self._read(found[name], shapes[name]) for name in self._case.taps if name in found
        }

    def prompt_model(self) -> RecomputedPrompts:
        """Return what answers; see :class:`mindport.validate.backend.PromptSession`.

        What a network of the user's own calls its cache is not known, so it does without.
        """
        first = first_position(self._architecture, self._config)
        return RecomputedPrompts(self._logits, self._head, first)

    def _logits(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return float32 (batch, seq, vocab)."""
        shapes = self._shapes(inputs)
        output = self._run_once(inputs)
        found = find_outputs(output, self._finals(), shapes, self._mindspore.Tensor)
        if "logits" not in found:
            raise MindportError(
                f"What {self._factory.title}'s network returns holds no logits of shape "
                f"{list(shapes['logits'])}.",
                "Return them alone, first in a tuple, or as .logits.",
            )
        return self._read(found["logits"], shapes["logits"])

    def notes(self) -> dict[str, Any]:
        """Return what a verdict needs to know besides the taps, as plain values for JSON."""
        places = self._places or {}
        parameters = {}
        for path, parameter in self._network.parameters_and_names():
            if str(parameter.dtype).lower() in _FLOATS:
                array = to_numpy(self._mindspore, parameter).astype(ROUNDED[self._run.dtype])
                parameters[path] = fingerprint(array).to_dict()
        return {
            "factory": self._factory.title,
            "places": {name: place.to_yaml() for name, place in places.items()},
            "proposed": [name for name in self._case.taps if name in self._proposed],
            "notices": self._notices,
            "parameters": parameters,
        }

    def _find_places(
        self, inputs: Mapping[str, np.ndarray], shapes: Mapping[str, Shape]
    ) -> dict[str, Place]:
        records = observe(self._mindspore, self._network, lambda: self._run_once(inputs))
        layers = self._config[self._architecture.layers]
        given: dict[str, Place | None] = {}
        if self._run.taps_file:
            path = Path(self._run.taps_file)
            given = read_places(path, self._head.taps, layers)
            calls = dict.fromkeys(cells_of(self._network), 0)
            check_cells(path, given, calls | {r.path: r.calls for r in records.values()})
        layout = Layout(
            tuple(network_steps(self._head.steps, layers)),
            shapes,
            matrix_sizes(self._architecture, self._head, self._config),
            layers,
            block_elements(self._head, self._config),
        )
        finals = self._finals()
        proposed = {
            name: place
            for name, place in propose(records, layout).items()
            if name in self._case.taps and name not in given and name not in finals
        }
        self._proposed = frozenset(proposed)
        self._notices += harmful_omissions(self._call.left_out, inputs)
        said = {name: place for name, place in given.items() if place is not None}
        return {n: p for n, p in (proposed | said).items() if n in self._case.taps}

    def _finals(self) -> dict[str, str]:
        """Return the taps that the network itself returns, with upstream's name of each."""
        layers = self._config[self._architecture.layers]
        taps = network_order(self._head.taps, layers)
        finals = {tap.name: tap.output for tap in taps if tap.output}
        return finals or {taps[-1].name: ""}

    def _shapes(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Shape]:
        batch, length = inputs["input_ids"].shape
        layers = self._config[self._architecture.layers]
        return tap_shapes(
            tuple(network_steps(self._head.steps, layers)),
            matrix_sizes(self._architecture, self._head, self._config),
            self._config,
            batch,
            length,
        )

    def _run_once(self, inputs: Mapping[str, np.ndarray]) -> Any:
        tensors = to_tensors(self._mindspore, inputs)
        positional = [tensors[name] for name in self._call.positional]
        named = {name: tensors[given] for name, given in self._call.named.items()}
        with blamed_on(self._factory, "built a network that raised"):
            return self._network(*positional, **named)

    def _read(self, tensor: Any, shape: Shape) -> np.ndarray:
        with blamed_on(self._factory, "built a network that raised"):
            array = to_numpy(self._mindspore, tensor)
        # Axes that the port has merged or split are put back; the elements stand in that order.
        return array.reshape(shape) if conforms(array.shape, shape) else array


def _config_of(run: Run) -> dict[str, Any]:
    beside = Path(run.case) / "config.json"
    file = beside if run.case and beside.is_file() else Path(run.checkpoint) / "config.json"
    return read_config_file(file)
