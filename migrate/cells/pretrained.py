"""The base class of the networks, and the named outputs that they return."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar

import mindspore
import numpy as np
from mindspore import Tensor, context, mutable, nn

from mindport.migrate.architecture import Head, Tap, network_order
from mindport.migrate.architectures import load_architecture
from mindport.migrate.cells.layers import IGNORE_INDEX
from mindport.migrate.cells.loading import (
    common_dtype,
    copy_parameters,
    find_checkpoint,
    read_checkpoint,
    require_clean,
)
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.errors import MindportError

Model = TypeVar("Model", bound="PretrainedModel")

FIELDS = (
    "loss",
    "last_hidden_state",
    "pooler_output",
    "logits",
    "prediction_logits",
    "seq_relationship_logits",
    "start_logits",
    "end_logits",
    "past_key_values",
    "hidden_states",
    "taps",
)


class ModelOutput(tuple[Any, ...]):
    """What a network returns: a tuple whose items also have names.

    ``output[0]``, ``output["logits"]`` and ``output.logits`` all work; a field that this output
    does not have is None as an attribute and a KeyError as an item. Inside a graph (a cell in
    another cell, ``mindspore.jit``, ``value_and_grad`` in graph mode) it is a plain tuple: index.

    Args:
        names: One name per value.
        values: What the network returned.
    """

    names: tuple[str, ...]

    def __new__(cls, names: Iterable[str], values: Iterable[Any]) -> ModelOutput:  # noqa: D102
        output = super().__new__(cls, values)
        output.names = tuple(names)
        if len(output.names) != len(output):
            raise ValueError(f"{len(output)} values cannot be named {output.names}")
        return output

    def __getattr__(self, name: str) -> Any:
        if name not in FIELDS:
            raise AttributeError(f"ModelOutput has no field {name!r}; it has {self.names}")
        return self[self.names.index(name)] if name in self.names else None

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in self.names:
                raise KeyError(key)
            key = self.names.index(key)
        return super().__getitem__(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.names, tuple(self))

    def __repr__(self) -> str:
        fields = (f"{name}={value!r}" for name, value in zip(self.names, self, strict=True))
        return f"{type(self).__name__}({', '.join(fields)})"

    def keys(self) -> tuple[str, ...]:
        """Return the names of the fields that are there, in order."""
        return self.names


class PretrainedModel(nn.Cell):
    """A network that an architecture file describes.

    Calling it checks the inputs, runs ``construct`` and names the outputs, in eager and in graph
    mode alike. ``construct`` itself returns a plain tuple, and that is also what one gets when the
    network is called inside a graph.

    Args:
        config: The contents of ``config.json``, a ``transformers`` config, or the ``config`` of
            another network.

    Attributes:
        config: The resolved config, its fields as attributes.
        architecture: Name of the architecture file.
        head: Name of the head in it.
        outputs: Names of what ``construct`` always returns.
        loss_inputs: Names of the inputs that, when all are given, make it return ``loss`` first.
        label_limits: By the name of an input, how many classes its labels choose from, as a number
            or the name of a config field.
    """

    architecture: ClassVar[str]
    head: ClassVar[str]
    outputs: tuple[str, ...] = ("logits",)
    loss_inputs: ClassVar[tuple[str, ...]] = ("labels",)
    label_limits: ClassVar[Mapping[str, str | int]] = {}

    def __init__(self, config: Any) -> None:
        super().__init__()
        fields = _fields(config)
        resolved = resolve_config(load_architecture(self.architecture), fields)
        self.config = SimpleNamespace(**resolved, problem_type=fields.get("problem_type"))
        self.signature = inspect.signature(self.construct)

    def __call__(self, *args: Any, **kwargs: Any) -> ModelOutput:
        """Run the network.

        Args:
            *args: The arguments of ``construct``; ids and masks may be tensors, arrays or lists.
            **kwargs: The same by name.

        Raises:
            MindportError: If a shape does not fit, or an id lies beyond its table; MindSpore itself
                does not notice that on every device.
        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        inputs = {name: _tensor(value) for name, value in bound.arguments.items()}
        self.check_inputs(inputs)
        if context.get_context("mode") == context.GRAPH_MODE and inputs.get("past_key_values"):
            # A plain tuple would be a constant of the graph, compiled again for every value.
            inputs["past_key_values"] = mutable(tuple(inputs["past_key_values"]))
        return ModelOutput(self.output_names(inputs), super().__call__(*inputs.values()))

    def output_names(self, inputs: Mapping[str, Any]) -> list[str]:
        """Return the names of what ``construct`` returns for these inputs."""
        names = list(self.outputs)
        if all(inputs.get(name) is not None for name in self.loss_inputs):
            names.insert(0, "loss")
        if inputs.get("past_key_values") is not None:
            names.append("past_key_values")
        return names + [n for n in ("hidden_states", "taps") if inputs.get(f"output_{n}")]

    def limits(self) -> dict[str, int]:
        """Return, by the name of an input, the number that its ids must stay below."""
        config = vars(self.config)
        architecture = load_architecture(self.architecture)
        return {
            "input_ids": config["vocab_size"],
            "token_type_ids": config.get("type_vocab_size", config["vocab_size"]),
            "position_ids": config[architecture.positions],
        }

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Check shapes and ids on the host.

        Raises:
            MindportError: If one is impossible; it names the input and the limit.
        """
        limits = self.limits()
        ids = inputs["input_ids"]
        if ids.ndim != 2 or 0 in ids.shape:
            raise MindportError(f"input_ids has shape {tuple(ids.shape)}, not (batch, seq).")
        batch, seq = ids.shape
        first, keys = 0, seq
        if inputs.get("past_key_values") is not None:
            if inputs["cache_position"] is None:
                raise MindportError("past_key_values needs cache_position, the row to write to.")
            first, keys = int(inputs["cache_position"]), inputs["past_key_values"][0][0].shape[2]
        if not 0 <= first <= min(keys, limits["position_ids"]) - seq:
            raise MindportError(
                f"{seq} tokens from position {first} on do not fit: there are "
                f"{limits['position_ids']} positions"
                + (f" and {keys} rows in the cache." if keys != seq or first else "."),
                "Shorten the input.",
            )
        for name, length in (("attention_mask", keys), ("token_type_ids", seq)):
            if inputs.get(name) is not None and tuple(inputs[name].shape) != (batch, length):
                raise MindportError(
                    f"{name} has shape {tuple(inputs[name].shape)}, not {(batch, length)}."
                )
        for name, limit in limits.items():
            if inputs.get(name) is not None:
                _check_ids(name, inputs[name].asnumpy(), limit)
        for name, classes in self.label_limits.items():
            if inputs.get(name) is not None:
                labels = inputs[name].asnumpy()
                limit = vars(self.config)[classes] if isinstance(classes, str) else classes
                if labels.dtype.kind in "iu" and limit > 1:  # of one class: regression
                    _check_ids(name, labels[labels != IGNORE_INDEX], limit)

    @classmethod
    def description(cls) -> Head:
        """Return what the architecture file says about this head."""
        return load_architecture(cls.architecture).heads[cls.head]

    def _taps(self) -> list[Tap]:
        layers = vars(self.config)[load_architecture(self.architecture).layers]
        return network_order(self.description().taps, layers)

    def tap_names(self) -> list[str]:
        """Return the canonical names of all taps, in network order."""
        return [tap.name for tap in self._taps()]

    def named_taps(self, output: ModelOutput) -> dict[str, Tensor]:
        """Return the taps of an output by their canonical names, ``logits`` and such included.

        Args:
            output: The result of a call with ``output_taps=True``.

        Raises:
            MindportError: If the call had no ``output_taps=True``.
        """
        if output.taps is None:
            raise MindportError(
                "This output has no taps.", "Call the network with output_taps=True."
            )
        taps = self._taps()
        inner = (tap for tap in taps if not tap.output)
        named = {tap.name: value for tap, value in zip(inner, output.taps, strict=True)}
        named.update({tap.name: output[tap.output] for tap in taps if tap.output})
        return {tap.name: named[tap.name] for tap in taps}

    def cast_parameters(self: Model, dtype: mindspore.dtype.Type) -> Model:
        """Give every parameter, and with them the whole computation, another dtype; in place."""
        for parameter in self.get_parameters():
            parameter.set_dtype(dtype)
        self.compile_cache.clear()  # a graph keeps the dtypes that it was compiled for
        return self

    @classmethod
    def from_checkpoint(
        cls: type[Model],
        path: str | Path,
        dtype: mindspore.dtype.Type | None = None,
        strict: bool = True,
    ) -> Model:
        """Return the network with the weights of a checkpoint in MindSpore's layout.

        Args:
            path: A folder that holds ``config.json`` and ``model.safetensors`` or ``model.ckpt``,
                or such a file with ``config.json`` beside it.
            dtype: The dtype of the parameters; the checkpoint's own if None.
            strict: Whether every parameter must be there, none too many, and all shapes right.
                If not, what is missing keeps its random values.

        Raises:
            CheckpointError: If there is no checkpoint, or, with ``strict``, if it does not fit; it
                names every parameter that is at fault.
            ConfigError: If the config is absent or of another architecture.
        """
        file = find_checkpoint(Path(path), cls.architecture)
        config = read_config_file(file.parent / "config.json")
        model = cls(config)
        stored = read_checkpoint(file)
        model.cast_parameters(dtype or common_dtype(stored))
        report = copy_parameters(model, stored)
        if strict:
            require_clean(report, file, cls.architecture)
        model.set_train(False)
        return model


def _fields(config: Any) -> Mapping[str, Any]:
    """Return the fields of a config of any kind."""
    if isinstance(config, Mapping):
        return config
    if hasattr(config, "to_dict"):
        fields: Mapping[str, Any] = config.to_dict()
        return fields
    namespace: Mapping[str, Any] = vars(config)
    return namespace


def _tensor(value: Any) -> Any:
    """Return arrays, lists and positions as tensors, and anything else as it is."""
    if isinstance(value, (list, np.ndarray, np.integer)) or type(value) is int:
        array = np.asarray(value)
        return Tensor(array.astype(np.int32) if array.dtype.kind in "iub" else array)
    return value


def _check_ids(name: str, ids: np.ndarray, limit: int) -> None:
    """Check that all ids lie in ``[0, limit)``."""
    low, high = int(ids.min(initial=0)), int(ids.max(initial=0))
    if low < 0 or high >= limit:
        bad = low if low < 0 else high
        raise MindportError(f"{name} holds {bad}, outside [0, {limit}).")
