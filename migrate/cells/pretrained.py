"""The base class of the networks, and the named outputs that they return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar

import mindspore
from mindspore import Tensor, context, mutable, nn, ops

from mindport.migrate.architecture import Head, Tap, dimension, network_order
from mindport.migrate.architectures import load_architecture
from mindport.migrate.cells.fused import fuse_attention
from mindport.migrate.cells.inputs import Sizes, as_tensor, check_inputs, check_labels
from mindport.migrate.cells.loading import (
    common_dtype,
    copy_parameters,
    find_checkpoint,
    read_checkpoint,
    require_clean,
)
from mindport.migrate.computation import Score
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.errors import MindportError
from mindport.migrate.positions import longest_sequence

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

    Attributes:
        names: One name per value.
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
    network is called inside a graph. In eager mode on a CPU the first network that is made
    switches the process to ``mindspore.runtime.launch_blocking()``: operations run where they are
    called.

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
        _launch_in_place()
        fields = _fields(config)
        resolved = resolve_config(load_architecture(self.architecture), fields)
        self.config = SimpleNamespace(**resolved, problem_type=fields.get("problem_type"))
        self.signature = inspect.signature(self.construct)
        self.fused = False  # whether attention is one kernel, which shows no scores and weights

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
        inputs = {name: as_tensor(value) for name, value in bound.arguments.items()}
        self.check_inputs(inputs)
        if context.get_context("mode") == context.GRAPH_MODE:
            # A plain tuple would be a constant of the graph, compiled again for every value.
            for name in ("past_key_values", "prefix"):
                if isinstance(inputs.get(name), (tuple, list)):
                    inputs[name] = mutable(tuple(inputs[name]))
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
        check_inputs(inputs, self.limits(), self._sizes(), self.loss_inputs)
        for name, classes in self.label_limits.items():
            if inputs.get(name) is not None:
                limit = vars(self.config)[classes] if isinstance(classes, str) else classes
                check_labels(name, inputs[name].asnumpy(), limit)

    def _sizes(self) -> Sizes:
        """Return what the sizes of embeddings, keys and values must be."""
        config, head = vars(self.config), self.description()
        width = dimension(head.body[0].shape[-1], config)  # of the word embeddings
        heads = next(s.operation.heads for s in head.steps if isinstance(s.operation, Score))
        described = load_architecture(self.architecture)
        positions = longest_sequence(described, config)
        return Sizes(config[described.layers], config[heads], width, positions)

    @classmethod
    def description(cls) -> Head:
        """Return what the architecture file says about this head."""
        return load_architecture(cls.architecture).heads[cls.head]

    def _taps(self) -> list[Tap]:
        layers = vars(self.config)[load_architecture(self.architecture).layers]
        return network_order(self.description().taps, layers)

    def _shown(self, taps: Iterable[Tap]) -> list[Tap]:
        return [tap for tap in taps if not (self.fused and tap.end.startswith("softmax"))]

    def tap_names(self) -> list[str]:
        """Return the canonical names of all taps, in network order."""
        return [tap.name for tap in self._shown(self._taps())]

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
        return {tap.name: named[tap.name] for tap in self._shown(taps)}

    def cast_parameters(self: Model, dtype: mindspore.dtype.Type) -> Model:
        """Give every parameter, and with them the whole computation, another dtype; in place."""
        for parameter in self.get_parameters():
            parameter.set_dtype(dtype)
        self.compile_cache.clear()  # a graph keeps the dtypes that it was compiled for
        return self

    def fuse_attention(
        self: Model, kernel: Callable[..., Tensor] = ops.flash_attention_score
    ) -> Model:
        """Compute attention in one kernel from now on, in place; for inference on Ascend.

        The taps inside it are no longer there, and its dropout is none.

        Args:
            kernel: Has the signature of ``ops.flash_attention_score``.

        Raises:
            EnvironmentUnavailableError: If that computes not in the parameters' dtype, or not with
                heads of this size.
        """
        sizes = self._sizes()
        fuse_attention(self, sizes.width // sizes.heads, kernel)
        self.fused = True
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


def _launch_in_place() -> None:
    """Let this process run every operation where it is called, in eager mode on a CPU.

    Otherwise MindSpore hands it from thread to thread, each of which spins while it waits and so
    takes the cores that the operations need. MindSpore heeds this before its first operation only.
    """
    eager = context.get_context("mode") == context.PYNATIVE_MODE
    if eager and context.get_context("device_target") == "CPU":
        mindspore.runtime.launch_blocking()


def _fields(config: Any) -> Mapping[str, Any]:
    """Return the fields of a config of any kind."""
    if isinstance(config, Mapping):
        return config
    if hasattr(config, "to_dict"):
        fields: Mapping[str, Any] = config.to_dict()
        return fields
    namespace: Mapping[str, Any] = vars(config)
    return namespace
