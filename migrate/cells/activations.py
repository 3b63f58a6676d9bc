"""The activation functions of the networks, in eager and in graph mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import mindspore
from mindspore import Tensor, nn, ops

_HALF = 0.3989422804014327  # sqrt(2 / pi) / 2
_ROOT = 0.7071067811865476  # 1 / sqrt(2)


class GELUTanh(nn.Cell):
    """The tanh approximation of GELU: ``x / 2 (1 + tanh(u))``.

    Here ``u`` is ``sqrt(2 / pi) (x + 0.044715 x^3)``. It is computed as ``x / 2 + x t / (1 + t t)``
    with ``t = tanh(u / 2)``: in eager mode on a CPU that takes about half as long as MindSpore's
    own kernel. What ``ops.tanh`` is off where ``t`` is close to 1 (see :func:`tanh`) vanishes from
    ``t / (1 + t t)``.
    """

    def construct(self, values: Tensor) -> Tensor:
        """Return GELU of values of any shape; float16 is computed in float32."""
        if values.dtype == mindspore.float64:  # graphs hold Python's numbers as float32
            return ops.gelu(values, approximate="tanh")
        x = ops.cast(values, mindspore.float32)
        t = ops.tanh(x * (_HALF + (_HALF * 0.044715) * (x * x)))
        return ops.cast(0.5 * x + x * t / (1 + t * t), values.dtype)


class GELU(nn.Cell):
    """GELU as it is defined: ``x / 2 (1 + erf(x / sqrt(2)))``.

    ``ops.gelu`` is the same formula with its constants as tensors, and on a CPU adding a tensor of
    one number takes ten times as long as adding a number.
    """

    def construct(self, values: Tensor) -> Tensor:
        """Return GELU of values of any shape; float16 is computed in float32."""
        if values.dtype == mindspore.float64:  # graphs hold Python's numbers as float32
            return ops.gelu(values, approximate="none")
        x = ops.cast(values, mindspore.float32)
        return ops.cast(0.5 * x * (ops.erf(_ROOT * x) + 1.0), values.dtype)


ACTIVATIONS: Mapping[str, Callable[[], nn.Cell]] = {
    "gelu_new": GELUTanh,
    "gelu": GELU,
    "relu": nn.ReLU,
}


def tanh(values: Tensor) -> Tensor:
    """Return tanh, to about three units in the last place of float32.

    MindSpore's CPU kernel is a truncated continued fraction, up to 1e-4 off where ``|x|`` is near 5
    (measured in 2.7.0 and 2.10.0) and good below 2; above, ``1 - 2 / (exp(2 |x|) + 1)`` is.

    Args:
        values: Of any shape; float16 is computed in float32.
    """
    wide = values if values.dtype == mindspore.float64 else ops.cast(values, mindspore.float32)
    size = ops.abs(wide)
    grown = ops.exp(2 * ops.minimum(size, 20.0))
    large = ops.sign(wide) * (1 - 2 / (grown + 1))
    return ops.cast(ops.where(size < 2, ops.tanh(wide), large), values.dtype)
