"""The rounding error that a correct computation of a step may make, as a variance per element.

The model is that of probabilistic rounding analysis: every elementary operation multiplies its
exact result by ``1 + d`` with independent ``d`` of mean 0 (Higham and Mary, *A new approach to
probabilistic rounding error analysis*, SIAM J. Sci. Comput. 41, 2019). For round-to-nearest and
results spread over a binade as usual, ``E d^2 = 0.18 u^2``. Sums are taken one term after the
other: the plain loop, which some kernels are, has the largest error of all orders in use.
``docs/tolerance.md`` derives each line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mindport.migrate.architecture import Kind
from mindport.migrate.computation import (
    Activate,
    Add,
    Lookup,
    Mix,
    Norm,
    Project,
    Score,
    Softmax,
    Step,
)
from mindport.validate.formula.activations import gelu_argument
from mindport.validate.formula.jumps import jump_variance
from mindport.validate.formula.operands import ROUNDING, Short, operand_variance, squares
from mindport.validate.formula.operations import (
    Setting,
    function_of,
    lookups,
    merge_heads,
    part_bias,
    part_matrix,
    picked,
    scale_of,
    split_heads,
    sum_of,
)

# What a correct function of one variable may be off, in units in the last place: the limits that
# the OpenCL C specification sets for single precision (section on relative error as ULPs). The
# exponential is the exception: its limit is 3, but MindSpore's CPU softmax was seen up to 34 off,
# and further by 8 u for each unit of the argument.
ULPS: Mapping[str, float] = {"exp": 34, "tanh": 5, "erf": 16, "rsqrt": 2, "divide": 2.5}
EXP_SLOPE = 8.0


@dataclass(frozen=True)
class Precision:
    """How a dtype rounds.

    Attributes:
        unit: Unit roundoff of the values that are stored: half the spacing at 1.
        inner: Unit roundoff inside a kernel: of its sums and functions. Other values between
            may be stored, since not every framework fuses a softmax or a norm into one kernel.
        smallest: Below this magnitude numbers lose digits, or are flushed to zero.
        operands: How a matrix unit rounds the inputs of its products; None takes them as they are.
        products: How it rounds their sums; None leaves them as they were added.
    """

    unit: float
    inner: float
    smallest: float
    operands: Short | None = None
    products: Short | None = None

    @property
    def stored(self) -> float:
        """Variance of the relative error of storing a value."""
        return float(ROUNDING * self.unit**2)

    @property
    def kernel(self) -> float:
        """Variance of the relative error of one operation inside a kernel."""
        return float(ROUNDING * self.inner**2)

    @property
    def underflow(self) -> float:
        """Variance of the error next to zero: there the spacing is fixed, or all is flushed."""
        spacing = (self.smallest * 2 * self.unit) ** 2
        return spacing + self.smallest**2 if self.unit == self.inner else spacing

    def of_output(self, values: np.ndarray) -> np.ndarray | float:
        """Return the variance of what a matrix unit does to the sums of products."""
        return self.products.variance(values) if self.products else 0.0

    def ulps(self, function: str) -> float:
        """Return the variance of the relative error of a function of one variable."""
        return float((2 * ULPS[function] * self.inner) ** 2 / 3)


_POINTS = 8
# How far an activation's own rounding may carry its argument, in units of it: the four factors of
# GELU's, each off by 0.4 u or so, and three times that.
_REACH = 8.0
# Kernels of the short formats sum in float32 (those of cuBLAS, oneDNN and torch do).
PRECISIONS: Mapping[str, Precision] = {
    "float32": Precision(2.0**-24, 2.0**-24, 2.0**-126),
    "float16": Precision(2.0**-11, 2.0**-24, 2.0**-14),
    "bfloat16": Precision(2.0**-8, 2.0**-24, 2.0**-126),
}


def rounding_variance(
    step: Step,
    inputs: Sequence[np.ndarray],
    value: np.ndarray,
    setting: Setting,
    precision: Precision,
) -> np.ndarray:
    """Return the variance of the error of a step's result, given exact inputs.

    Args:
        step: Which operation.
        inputs: Values of the taps that it reads.
        value: Its exact result.
        setting: Config, model inputs and parameters.
        precision: Of the run.

    Returns:
        Like ``value``; never zero, so that a quotient by it is finite.
    """
    variance = _variance(step, inputs, value, setting, precision)
    if isinstance(step.operation, Activate):
        width = _REACH * precision.unit * np.abs(inputs[0])
        variance = variance + jump_variance(step, inputs, width, setting)
    if precision.operands is not None:
        variance = variance + operand_variance(step, inputs, setting, precision.operands)
    result: np.ndarray = variance + precision.underflow
    return result


def _variance(
    step: Step,
    inputs: Sequence[np.ndarray],
    value: np.ndarray,
    setting: Setting,
    precision: Precision,
) -> np.ndarray:
    stored = precision.stored
    result: np.ndarray
    match step.operation:
        case Lookup() as operation:
            rows = lookups(operation, setting)
            partial = sum_of([row * row for row in rows])
            result = stored * ((len(rows) - 1) * partial + value * value)
        case Add():
            result = stored * value * value
        case Norm() as operation:
            scale = setting.weights.get(operation.module, Kind.NORM_WEIGHT)
            result = _norm(inputs[0], scale, operation.epsilon(setting.config), value, precision)
        case Project() as operation:
            x, matrix = picked(inputs[0], operation.rows, setting), part_matrix(operation, setting)
            product = _product(x, matrix, precision)
            if operation.squeeze:
                product = product[..., 0]
            # The unit's own output is without the bias, or with it where the two are one kernel.
            bare = value - part_bias(operation, setting)
            output = precision.of_output(np.maximum(np.abs(bare), np.abs(value)))
            result = product + output + stored * value * value  # stored again with the bias
        case Score() as operation:
            query, key = (split_heads(a, setting.config[operation.heads]) for a in inputs)
            query = query * scale_of(step, setting, query.shape[-1])
            product = _product(query, key.swapaxes(-1, -2), precision)
            # Scaled before the product (every term is rounded) or after it; then the mask.
            terms = squares(query) @ squares(key).swapaxes(-1, -2)
            result = product + precision.of_output(value) + stored * (terms + 2 * value * value)
        case Softmax() as operation:
            result = _softmax(inputs[0], value, setting.visible(operation.causal), precision)
        case Mix() as operation:
            values = split_heads(inputs[1], setting.config[operation.heads])
            result = merge_heads(_product(inputs[0], values, precision))
            result = result + precision.of_output(value)
        case Activate() as operation:
            result = _activation(function_of(operation, setting), inputs[0], value, precision)
    return result


def _product(x: np.ndarray, matrix: np.ndarray, precision: Precision) -> np.ndarray:
    """Return the variance of each element of ``x @ matrix``, stored.

    Each partial sum is rounded in the kernel. Between eight points on the way, where the partial
    sums are known, the terms are taken for a random walk. The whole way as a random walk with
    drift is the other estimate, for kernels that add in another order; the larger one counts. A
    kernel of a short format may store the sum half-way, as MindSpore's does for few columns.
    """
    terms = matrix.shape[-2]
    x, matrix = x.astype(np.float32), matrix.astype(np.float32)
    borders = np.linspace(0, terms, min(_POINTS, terms) + 1).astype(int)
    partial = path = half_way = np.zeros((), np.float32)
    for number, (start, end) in enumerate(pairwise(borders)):
        after = partial + x[..., start:end] @ matrix[..., start:end, :]
        path = path + (end - start) / 2 * (np.square(partial) + np.square(after))
        partial = after
        if number + 1 == len(borders) // 2:
            half_way = np.square(after)
    walk = np.square(x) @ np.square(matrix)
    within = terms / len(borders) / 2 * walk
    drift = terms / 2 * walk + terms / 3 * np.square(partial)
    sums = precision.kernel * np.maximum(path + within, drift).astype(np.float64)
    stored = np.square(partial) + (half_way if precision.unit != precision.inner else 0)
    result: np.ndarray = sums + precision.stored * stored.astype(np.float64)
    return result


def _norm(
    values: np.ndarray, scale: np.ndarray, eps: float, result: np.ndarray, precision: Precision
) -> np.ndarray:
    width = values.shape[-1]
    kernel = precision.kernel
    mean = values.mean(-1, keepdims=True)
    square = np.mean(values * values, -1, keepdims=True)
    centred = values - mean
    variance = np.maximum(square - mean * mean, 0) + eps
    # The mean is a sum of `width` terms; the variance too, perhaps as mean square minus square.
    of_mean = kernel * (square / 2 + width / 3 * mean * mean) + precision.stored * mean * mean
    of_variance = kernel * width / 3 * (square / variance) ** 2
    relative = of_variance / 4 + precision.ulps("rsqrt") + 3 * precision.stored
    shifted = (of_mean + precision.stored * centred * centred) / variance
    total: np.ndarray = scale**2 * (shifted + relative * centred * centred / variance)
    total += precision.stored * result * result
    return total


def _softmax(
    scores: np.ndarray, weights: np.ndarray, visible: np.ndarray, precision: Precision
) -> np.ndarray:
    seen = np.where(visible, scores, -np.inf)
    top = seen.max(-1, keepdims=True)
    below = np.where(visible & np.isfinite(top), seen - np.where(np.isfinite(top), top, 0), 0.0)
    keys = visible.sum(-1, keepdims=True)
    # The difference to the maximum is rounded before the exponential, the sum after it.
    slope = precision.stored + (EXP_SLOPE * precision.inner) ** 2
    power = slope * below * below + precision.kernel * keys / 3 + precision.ulps("exp")
    relative = power + precision.ulps("divide") + 3 * precision.stored
    result: np.ndarray = relative * weights * weights
    return result


def _activation(
    name: str, values: np.ndarray, result: np.ndarray, precision: Precision
) -> np.ndarray:
    stored = precision.stored
    if name == "relu":
        return np.zeros_like(result)
    if name in ("gelu", "gelu_new"):
        # x/2 (1 + t): the error of t counts whole where 1 + t cancels. Each factor of the
        # argument may be stored on the way. (A tanh is near enough to erf for a variance.)
        argument = gelu_argument(values) if name == "gelu_new" else values / np.sqrt(2)
        inner = np.tanh(argument)
        slope = 1 - inner * inner
        function = precision.ulps("tanh" if name == "gelu_new" else "erf") + stored
        of_inner = function * inner * inner + 4 * stored * (slope * argument) ** 2
        half = (values / 2) ** 2
        gelu: np.ndarray = half * of_inner + 3 * stored * result * result
        return gelu
    tanh: np.ndarray = (precision.ulps("tanh") + stored) * result * result
    return tanh
