"""Disturb a float64 run, forward and backward, as rounding would: Monte Carlo arithmetic.

Every operation that rounds, and the gradient of each of its arguments, gets random errors of the
size that probabilistic rounding analysis predicts (:mod:`mindport.validate.formula.rounding` has
the model, Parker 1997, *Monte Carlo arithmetic*, the idea). The error of a sum follows from the
squares of its terms, not from the sum: where terms cancel it is large beside what is left, as it
is in the real dtype.

A ``TorchFunctionMode`` puts disturbed functions in the place of torch's, so that no module is
known by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mindport.validate.formula.rounding import EXP_SLOPE, PRECISIONS, ROUNDING

# Of a plain sum of n terms, E (error / u)^2 = 0.18 (n / 2 sum(terms^2) + n / 3 sum^2).
_WALK, _DRIFT = ROUNDING / 2, ROUNDING / 3


class Rounding:
    """Makes random errors.

    Args:
        torch: The module torch.
        dtype: Whose rounding is imitated.
        seed: Of the errors.
    """

    def __init__(self, torch: Any, dtype: str, seed: int) -> None:
        self.torch, self.precision = torch, PRECISIONS[dtype]
        self._generator = torch.Generator().manual_seed(seed)
        precision = self.precision
        # What is stored is rounded; below the smallest normal number, to a fixed spacing.
        self._spacing = 2 * precision.unit * precision.smallest / math.sqrt(12)

    def noise(self, like: Any) -> Any:
        """Return standard normal numbers."""
        return self.torch.randn(like.shape, generator=self._generator, dtype=like.dtype)

    def stored(self, value: Any, variance: Any = 0.0) -> Any:
        """Return a value with the errors of computing it and of storing it.

        Args:
            value: float64.
            variance: Of the error of computing it, in the units of the value.
        """
        total = variance + self.precision.stored * value.square() + self._spacing**2
        return value + total.sqrt() * self.noise(value)

    def rounded(self, value: Any) -> Any:
        """Return a value with the errors of storing it; it may be as large as a mask is."""
        factor = 1 + math.sqrt(self.precision.stored) * self.noise(value)
        largest = self.torch.finfo(value.dtype).max
        return (value * factor + self._spacing * self.noise(value)).clamp(-largest, largest)

    def of_softmax(self, x: Any, shown: Any) -> tuple[Any, Any]:
        """Return the relative variance of a softmax's error: by row, and of each element.

        Args:
            x: What goes into it.
            shown: Which elements are not hidden by a mask.
        """
        precision = self.precision
        below = self.torch.where(shown, x - x.amax(-1, keepdim=True), 0.0)
        of_row = precision.kernel * shown.sum(-1, keepdim=True) / 3
        slope = precision.stored + (EXP_SLOPE * precision.inner) ** 2
        return of_row, slope * below.square() + precision.ulps("exp") + 3 * precision.stored

    def of_row_loss(self, like: Any, classes: int) -> Any:
        """Return the error of a cross entropy: that of one row, as if all rows made the same."""
        relative = self.precision.kernel * classes / 3 + self.precision.ulps("exp")
        return math.sqrt(relative) * self.noise(like)

    def of_sum(self, total: Any, squares: Any, terms: float | Any) -> Any:
        """Return the variance of the error of a sum.

        Args:
            total: The sum.
            squares: The sum of the squares of its terms.
            terms: How many there are.
        """
        drift = _DRIFT * total.square()
        return self.precision.inner**2 * terms * (_WALK * squares + drift)

    def of_dot(self, a: Any, b: Any) -> Any:
        """Return the sum of a product over the last axis, kept, and the variance of its error."""
        terms = a * b
        total = terms.sum(-1, keepdim=True)
        squares = terms.square().sum(-1, keepdim=True)
        return total, self.of_sum(total, squares, a.shape[-1])

    def product(self, a: Any, b: Any) -> Any:
        """Return a matrix product with its errors."""
        total = a @ b
        squares = (a.float().square() @ b.float().square()).double()
        return self.stored(total, self.of_sum(total, squares, a.shape[-1]))


def disturbed(torch: Any, f: Functions) -> Any:
    """Return a context in which torch's functions make errors, forward and backward.

    Args:
        torch: The module torch.
        f: What stands in the place of torch's functions.
    """
    functional = torch.nn.functional

    def linear(x: Any, weight: Any, bias: Any = None) -> Any:
        product = f.product(x, weight.transpose(0, 1))
        return product if bias is None else product + f.bias(product, bias)

    def addmm(bias: Any, x: Any, weight: Any) -> Any:
        product = f.product(x, weight)
        return product + f.bias(product, bias)

    def layer_norm(x: Any, _shape: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
        normal = f.normalise(x, eps)
        return f.scale(normal, weight) + f.bias(normal, bias)

    def embedding(ids: Any, table: Any, padding_idx: int | None = None, **_: Any) -> Any:
        return f.lookup(table, ids, padding_idx)

    def softmax(x: Any, dim: int = -1, **_: Any) -> Any:
        if dim not in (-1, x.ndim - 1):
            raise NotImplementedError(f"a softmax over axis {dim}")
        return f.softmax(x)

    replaced: dict[Any, Callable[..., Any]] = {
        functional.linear: linear,
        torch.addmm: addmm,
        functional.layer_norm: layer_norm,
        functional.embedding: embedding,
    }
    for matmul in (torch.matmul, torch.bmm, torch.Tensor.matmul, torch.Tensor.__matmul__):
        replaced[matmul] = f.product
    for function in (functional.softmax, torch.softmax, torch.Tensor.softmax):
        replaced[function] = softmax
    elementwise = ("add", "sub", "mul", "div", "tanh", "pow")
    rounded = {getattr(owner, name) for owner in (torch, torch.Tensor) for name in elementwise}
    rounded |= {functional.gelu, functional.tanh, torch.Tensor.__add__, torch.Tensor.__mul__,
                torch.Tensor.__radd__, torch.Tensor.__rmul__, torch.Tensor.__sub__,
                torch.Tensor.__rsub__, torch.Tensor.__truediv__, torch.Tensor.__pow__}  # fmt: skip

    class Mode(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, function: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if function in replaced:
                return replaced[function](*args, **(kwargs or {}))
            result = function(*args, **(kwargs or {}))
            wide = isinstance(result, torch.Tensor) and result.dtype == torch.float64
            return f.store(result) if function in rounded and wide else result

    return Mode()


class Functions:
    """Torch's functions with errors; see :func:`functions`."""

    product: Callable[[Any, Any], Any]
    bias: Callable[[Any, Any], Any]
    scale: Callable[[Any, Any], Any]
    normalise: Callable[[Any, float], Any]
    lookup: Callable[[Any, Any, int | None], Any]
    softmax: Callable[[Any], Any]
    store: Callable[[Any], Any]
    cross_entropy: Callable[[Any, Any], Any]


def functions(torch: Any, rounding: Rounding) -> Functions:
    """Return autograd functions that compute with errors in both directions.

    Args:
        torch: The module torch.
        rounding: Makes the errors.
    """
    stored, of_sum, of_dot = rounding.stored, rounding.of_sum, rounding.of_dot
    precision = rounding.precision

    class Store(torch.autograd.Function):  # type: ignore[misc]
        """The identity: a value is stored, and so is its gradient."""

        @staticmethod
        def forward(_: Any, x: Any) -> Any:
            return rounding.rounded(x)

        @staticmethod
        def backward(_: Any, g: Any) -> Any:
            return rounding.rounded(g)

    class Product(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            ctx.save_for_backward(a, b)
            return rounding.product(a, b)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            a, b = ctx.saved_tensors
            of_a = rounding.product(g, b.transpose(-1, -2))
            if b.ndim == 2:  # a weight: its gradient is summed over all tokens
                a, g = a.flatten(0, -2), g.flatten(0, -2)
            return of_a, rounding.product(a.transpose(-1, -2), g)

    class Bias(torch.autograd.Function):  # type: ignore[misc]
        """A bias for every token; adding it is the caller's."""

        @staticmethod
        def forward(_: Any, like: Any, bias: Any) -> Any:
            return bias.expand_as(like).clone()

        @staticmethod
        def backward(_: Any, g: Any) -> Any:
            g = g.flatten(0, -2)
            total = g.sum(0)
            return None, stored(total, of_sum(total, g.square().sum(0), len(g)))

    class Scale(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any) -> Any:
            ctx.save_for_backward(x, weight)
            return stored(x * weight)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, weight = ctx.saved_tensors
            terms = (g * x).flatten(0, -2)
            total = terms.sum(0)
            variance = of_sum(total, terms.square().sum(0), len(terms))
            return stored(g * weight), stored(total, variance)

    class Normalise(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any, eps: float) -> Any:
            width = x.shape[-1]
            mean = x.mean(-1, keepdim=True)
            centred = x - mean
            spread = centred.square().mean(-1, keepdim=True)
            deviation = (spread + eps).sqrt()
            squares = x.square().sum(-1, keepdim=True)
            of_mean = of_sum(mean * width, squares, width) / width**2
            of_mean = of_mean + precision.stored * mean.square()
            # The variance is a sum of positive terms, perhaps as mean square minus square.
            drift = precision.kernel * width / 3 * (squares / width / deviation.square()).square()
            of_scale = drift / 4 + precision.ulps("rsqrt")
            row = of_mean.sqrt() / deviation * rounding.noise(mean)
            factor = 1 + of_scale.sqrt() * rounding.noise(mean)
            normal = (centred / deviation + row) * factor
            variance = precision.stored * (normal.square() + centred.square() / deviation.square())
            ctx.save_for_backward(normal, deviation, of_scale)
            return stored(normal, variance)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            normal, deviation, of_scale = ctx.saved_tensors
            width = g.shape[-1]
            mean, of_mean = of_dot(g, torch.ones_like(g))
            along, of_along = of_dot(g, normal)
            mean = (mean + of_mean.sqrt() * rounding.noise(mean)) / width
            along = (along + of_along.sqrt() * rounding.noise(along)) / width
            factor = (1 + of_scale.sqrt() * rounding.noise(mean)) / deviation
            result = (g - mean - normal * along) * factor
            size = g.square() + mean.square() + (normal * along).square()
            return stored(result, precision.stored * size * factor.square()), None

    class Lookup(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, table: Any, ids: Any, padding: int | None) -> Any:
            ctx.save_for_backward(ids)
            ctx.shape, ctx.padding = table.shape, padding
            return table[ids]

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (ids,) = ctx.saved_tensors
            ids = ids.expand(g.shape[:-1]).flatten()
            g = g.flatten(0, -2)
            total = g.new_zeros(ctx.shape).index_add(0, ids, g)
            squares = g.new_zeros(ctx.shape).index_add(0, ids, g.square())
            count = torch.bincount(ids, minlength=len(total)).double()[:, None]
            result = torch.where(count > 0, stored(total, of_sum(total, squares, count)), 0.0)
            if ctx.padding is not None:
                result[ctx.padding] = 0
            return result, None, None

    class Softmax(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            exact = x.softmax(-1)
            of_row, each = rounding.of_softmax(x, exact > 0)
            row = of_row.sqrt() * rounding.noise(of_row)
            weights = exact * (1 + row + each.sqrt() * rounding.noise(exact))
            ctx.save_for_backward(weights)
            return weights

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (weights,) = ctx.saved_tensors
            total, of_total = of_dot(g, weights)
            total = total + of_total.sqrt() * rounding.noise(total)
            size = precision.stored * (g.square() + total.square()) * weights.square()
            return stored((g - total) * weights, size)

    class CrossEntropy(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, logits: Any, labels: Any) -> Any:
            log = logits.log_softmax(-1)
            ctx.save_for_backward(logits, log.exp(), labels)
            return -log.gather(-1, labels[:, None]).mean()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            logits, share, labels = ctx.saved_tensors
            of_row, each = rounding.of_softmax(logits, share > 0)
            # Some kernels make the same error in a whole row, as one in its sum would be.
            row = (of_row + precision.ulps("exp")).sqrt() * rounding.noise(of_row)
            share = share * (1 + row + each.sqrt() * rounding.noise(share))
            one = torch.nn.functional.one_hot(labels, share.shape[-1])
            return stored(g * (share - one) / len(labels)), None

    found = Functions()
    found.cross_entropy = CrossEntropy.apply
    found.product, found.bias, found.scale = Product.apply, Bias.apply, Scale.apply
    found.normalise, found.lookup = Normalise.apply, Lookup.apply
    found.softmax, found.store = Softmax.apply, Store.apply
    return found
