"""What each operation of :mod:`mindport.migrate.computation` computes, in float64.

Shapes: ``hidden`` is (batch, seq, width), ``scores`` (batch, heads, query, key).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mindport.migrate.architecture import Kind
from mindport.migrate.computation import (
    Activate,
    Add,
    Lookup,
    Mix,
    Norm,
    Project,
    Rows,
    Score,
    Softmax,
    Step,
)
from mindport.validate.formula.activations import ACTIVATIONS, Function
from mindport.validate.formula.validity import visible_keys
from mindport.validate.formula.weights import Weights

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]


def exact_product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a matrix product, in the dtype of its inputs."""
    result: np.ndarray = x @ y
    return result


@dataclass(frozen=True)
class Setting:
    """All that the steps of a case have in common.

    Attributes:
        config: The resolved config.
        inputs: The model's inputs, int64 (batch, seq).
        weights: The parameters.
        functions: The activation functions by name, as defined or as a platform computes them.
    """

    config: Mapping[str, Any]
    inputs: Mapping[str, np.ndarray]
    weights: Weights
    functions: Mapping[str, Function] = field(default_factory=lambda: ACTIVATIONS)

    @cached_property
    def real(self) -> np.ndarray:
        """Where there is a token and no padding, (batch, seq)."""
        result: np.ndarray = self.inputs["attention_mask"] != 0
        return result

    def visible(self, causal: bool) -> np.ndarray:
        """Return which keys a query may see, (batch, 1, query, key)."""
        return visible_keys(self.real, causal)


def evaluate(
    step: Step,
    inputs: Sequence[np.ndarray],
    setting: Setting,
    product: Product = exact_product,
) -> np.ndarray:
    """Return what a step makes of its inputs.

    Args:
        step: Which operation.
        inputs: Float64 values of the taps that it reads.
        setting: Config, model inputs and parameters.
        product: What a matrix product is: exact, or what a matrix unit makes of it.
    """
    operation = step.operation
    result: np.ndarray
    match operation:
        case Lookup():
            result = sum_of(lookups(operation, setting))
        case Norm():
            scale = setting.weights.get(operation.module, Kind.NORM_WEIGHT)
            shift = setting.weights.get(operation.module, Kind.NORM_BIAS)
            result = normed(inputs[0], operation.epsilon(setting.config)) * scale + shift
        case Project():
            result = project(operation, inputs[0], setting, product)
        case Score():
            heads = setting.config[operation.heads]
            query, key = (split_heads(array, heads) for array in inputs)
            scores = product(query, key.swapaxes(-1, -2))
            result = scale_of(step, setting, query.shape[-1]) * scores
        case Softmax():
            result = softmax(inputs[0], setting.visible(operation.causal))
        case Mix():
            heads = setting.config[operation.heads]
            result = merge_heads(product(inputs[0], split_heads(inputs[1], heads)))
        case Activate():
            result = setting.functions[function_of(operation, setting)](inputs[0])
        case Add():
            result = inputs[0] + inputs[1]
    return result


def lookups(operation: Lookup, setting: Setting) -> list[np.ndarray]:
    """Return the rows of each table, (batch, seq, width)."""
    return [
        setting.weights.get(module, Kind.EMBEDDING)[setting.inputs[name]]
        for module, name in operation.tables
    ]


def sum_of(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sum of arrays of the same shape."""
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


def normed(values: np.ndarray, eps: float) -> np.ndarray:
    """Return values with mean 0 and variance 1 over the last axis (Ba et al., arXiv 1607.06450)."""
    centred = values - values.mean(-1, keepdims=True)
    variance = np.mean(centred * centred, -1, keepdims=True)
    result: np.ndarray = centred / np.sqrt(variance + eps)
    return result


def project(
    operation: Project, values: np.ndarray, setting: Setting, product: Product = exact_product
) -> np.ndarray:
    """Return a matrix product with its bias."""
    x = picked(values, operation.rows, setting)
    total = product(x, part_matrix(operation, setting)) + part_bias(operation, setting)
    result: np.ndarray = total[..., 0] if operation.squeeze else total
    return result


def part_matrix(operation: Project, setting: Setting) -> np.ndarray:
    """Return the matrix of a projection, or its part of a fused one, (in, out)."""
    return part(setting.weights.matrix(operation.module, operation.kind), operation.part)


def part_bias(operation: Project, setting: Setting) -> np.ndarray | float:
    """Return the bias of a projection, or its part of a fused one, (out,); 0 if it has none."""
    if not operation.bias:
        return 0.0
    return part(setting.weights.get(operation.bias, Kind.BIAS), operation.part)


def part(array: np.ndarray, which: tuple[int, int]) -> np.ndarray:
    """Return one of so many equal parts of the last axis."""
    number, parts = which
    size = array.shape[-1] // parts
    return array[..., number * size : (number + 1) * size]


def picked(values: np.ndarray, rows: Rows, setting: Setting) -> np.ndarray:
    """Return the positions that a projection reads, (batch, seq, width) or (batch, width)."""
    if rows == "all":
        return values
    if rows == "first":
        return values[:, 0]
    result: np.ndarray = values[np.arange(len(values)), last_token(setting)]
    return result


def last_token(setting: Setting) -> np.ndarray:
    """Return the last position of each row that is not ``pad_token_id``, (batch,).

    transformers finds it by the id and not by the mask (``GPT2ForSequenceClassification``).
    """
    ids, pad = setting.inputs["input_ids"], setting.config["pad_token_id"]
    if pad is None:
        return np.full(len(ids), ids.shape[1] - 1)
    last: np.ndarray = np.max((ids != pad) * np.arange(ids.shape[1]), axis=1)
    return last


def scale_of(step: Step, setting: Setting, head_dim: int) -> float:
    """Return what the scores of a step are multiplied with."""
    operation, config = step.operation, setting.config
    if not isinstance(operation, Score):
        raise TypeError(f"{step.tap} has no scores")
    scale = head_dim**-0.5 if not operation.scaled or config[operation.scaled] else 1.0
    if operation.by_layer and config[operation.by_layer]:
        scale /= (step.layer or 0) + 1
    return float(scale)


def softmax(scores: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Return the weights of the visible keys, 0 for the others; a row that sees none is even."""
    seen = np.where(visible, scores, -np.inf)
    top = seen.max(-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    powers = np.exp(seen - top)
    total = powers.sum(-1, keepdims=True)
    result: np.ndarray = np.divide(
        powers, total, out=np.full(powers.shape, 1 / scores.shape[-1]), where=total > 0
    )
    return result


def split_heads(states: np.ndarray, heads: int) -> np.ndarray:
    """Turn (batch, seq, width) into (batch, heads, seq, head_dim)."""
    batch, seq, width = states.shape
    return states.reshape(batch, seq, heads, width // heads).swapaxes(1, 2)


def merge_heads(states: np.ndarray) -> np.ndarray:
    """Turn (batch, heads, seq, head_dim) into (batch, seq, width)."""
    batch, heads, seq, head_dim = states.shape
    return states.swapaxes(1, 2).reshape(batch, seq, heads * head_dim)


def function_of(operation: Activate, setting: Setting) -> str:
    """Return the name of an activation function."""
    return operation.function or str(setting.config[operation.field])
