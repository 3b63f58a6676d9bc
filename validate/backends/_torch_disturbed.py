"""Torch's functions with rounding errors in both directions, put in the place of torch's own.

A ``TorchFunctionMode`` does so, hence no module is known by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mindport.validate.backends._torch_rounding import Rounding


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
            rows, place = ids.expand(g.shape[:-1]).flatten().unique(return_inverse=True)
            g = g.flatten(0, -2)
            total = g.new_zeros(len(rows), g.shape[-1]).index_add(0, place, g)
            squares = torch.zeros_like(total).index_add(0, place, g.square())
            count = torch.bincount(place).double()[:, None]
            result = g.new_zeros(ctx.shape)
            result[rows] = stored(total, of_sum(total, squares, count))
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
