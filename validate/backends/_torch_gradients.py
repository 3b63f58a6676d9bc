"""The gradients of a ``transformers`` model: of the run, in float64, and of other correct runs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mindport.migrate.architecture import IGNORED, Head, Target
from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.backend import GradientRun
from mindport.validate.backends._torch_disturbed import Functions, disturbed, functions
from mindport.validate.backends._torch_loading import other_attention, use_attention
from mindport.validate.backends._torch_rounding import Rounding
from mindport.validate.case import EAGER
from mindport.validate.formula.rounding import PRECISIONS

Arrays = Mapping[str, np.ndarray]
DISTURBED = 8  # runs; more would say more exactly what rounding does, and take longer
_EXTRA = 5  # positions of padding that one reordered run adds
# The formula of a loss and that of transformers are both correct to so many units of roundoff.
_SAME = 64


class LossError(AssertionError):
    """Our formula of a loss is not that of ``transformers``: a bug of ours."""


class Gradients:
    """Runs a model forward and backward.

    Args:
        torch: The module torch.
        model: A ``transformers`` model in evaluation mode.
        head: Its description.
        dtype: Of the run.
        positions: How many positions the model has.
        pad: The id that stands at padding; None if the config has none.
    """

    def __init__(
        self, torch: Any, model: Any, head: Head, dtype: str, positions: int, pad: int | None
    ) -> None:
        self._torch, self._model, self._head, self._dtype = torch, model, head, dtype
        self._positions, self._pad = positions, pad

    def as_fed(self, inputs: Arrays, targets: Arrays) -> tuple[float, dict[str, np.ndarray]]:
        """Run at the run's dtype.

        In float32 the loss is that of ``transformers``. In the short formats not every head of it
        computes its loss in float32, as a training would; there it is our formula.

        Raises:
            EnvironmentUnavailableError: If torch has no backward kernel for the dtype.
            LossError: If our formula and ``transformers`` give different losses.
        """
        try:
            loss, gradients = self._run(self._model, inputs, targets)
        except RuntimeError as error:
            if "not implemented for" not in str(error):
                raise
            raise EnvironmentUnavailableError(
                f"torch {self._torch.__version__} has no gradients in {self._dtype} here: {error}.",
                "Leave out --gradients, or use --dtype float32.",
            ) from None
        return loss, {name: gradient.float().numpy() for name, gradient in gradients.items()}

    def loss(self, model: Any, inputs: Mapping[str, Any], labels: Mapping[str, Any]) -> Any:
        """Run a model forward and return its loss: that of ``transformers`` where it is float32.

        Args:
            model: The model; another than the session's, perhaps.
            inputs: Its tensors.
            labels: Likewise.

        Raises:
            LossError: If our formula and ``transformers`` give different losses.
        """
        own = next(model.parameters()).dtype == self._torch.float32 and "cotangent" not in labels
        output = model(**inputs, return_dict=True, **(labels if own else {}))
        loss = self._loss(output, labels)
        if not own:
            return loss
        self._check(float(output.loss.detach()), float(loss.detach()))
        return output.loss

    def runs(self, inputs: Arrays, targets: Arrays) -> Iterator[GradientRun]:
        """Yield correct runs; see :class:`mindport.validate.backend.GradientReference`."""
        wide = copy.deepcopy(self._model).to("cpu").double()
        use_attention(wide, EAGER)  # the one whose operations can be disturbed
        loss, gradients = self._run(wide, inputs, targets)
        yield GradientRun("oracle", "float64", loss, _arrays(gradients))
        for name, model, fed, labels in self._reordered(inputs, targets):
            loss, gradients = self._run(model, fed, labels)
            found = {key: gradient.float().numpy() for key, gradient in gradients.items()}
            yield GradientRun("reordered", name, loss, found)
        for number in range(DISTURBED):
            rounding = Rounding(self._torch, self._dtype, number)
            loss, gradients = self._run(wide, inputs, targets, rounding)
            yield GradientRun("disturbed", f"disturbed {number + 1}", loss, _arrays(gradients))

    def _reordered(
        self, inputs: Arrays, targets: Arrays
    ) -> Iterator[tuple[str, Any, Arrays, Arrays]]:
        model = self._model
        rows = {name: array[::-1].copy() for name, array in inputs.items()}
        yield "rows in reverse", model, rows, {n: a[::-1].copy() for n, a in targets.items()}
        if self._ignores_padding() and inputs["input_ids"].shape[1] + _EXTRA <= self._positions:
            fill = {"input_ids": self._pad or 0, "attention_mask": 0}
            fed = {name: _padded(array, fill.get(name, 0)) for name, array in inputs.items()}
            per = {target.name: target.per for target in self._head.targets}
            ends = {"token": IGNORED, "element": 0}
            longer = {n: _padded(a, ends[per[n]]) if per[n] in ends else a
                      for n, a in targets.items()}  # fmt: skip
            yield f"{_EXTRA} more padded positions", model, fed, longer
        with other_attention(model) as other:
            if other:
                yield f"attention by {other}", model, inputs, targets

    def _ignores_padding(self) -> bool:
        """Return whether more padding leaves the loss as it is.

        It does not where the loss chooses among all positions, or where the last position is read.
        """
        if self._head.pools_last_token and self._pad is None:
            return False
        return all(target.classes != "positions" for target in self._head.targets)

    def _run(
        self, model: Any, inputs: Arrays, targets: Arrays, rounding: Rounding | None = None
    ) -> tuple[float, dict[str, Any]]:
        """Return the loss, and the gradients on the CPU, zero where nothing flows."""
        parameter = next(model.parameters())
        device = parameter.device
        fed = {name: self._torch.from_numpy(a).to(device) for name, a in inputs.items()}
        labels = {name: self._torch.from_numpy(a).to(device) for name, a in targets.items()}
        model.zero_grad(set_to_none=True)
        loss: Any
        if rounding is None:
            loss = self.loss(model, fed, labels)
            value = float(loss.detach())
        else:
            f = functions(self._torch, rounding)
            with disturbed(self._torch, f):
                output = model(**fed, return_dict=True)
            loss = self._loss(output, labels, f)
            value = self._disturbed_value(rounding, output, labels, loss)
        loss.backward()
        found = {
            name: (self._torch.zeros_like(p) if p.grad is None else p.grad).detach().cpu()
            for name, p in model.named_parameters()
        }
        model.zero_grad(set_to_none=True)
        return value, found

    def _loss(self, output: Any, labels: Mapping[str, Any], f: Functions | None = None) -> Any:
        """Return the loss as the targets of the head describe it.

        In float64 it stays there, which the losses of ``transformers`` do not: they take
        ``logits.float()``.
        """
        total: Any = 0.0
        for target in self._head.targets:
            value = getattr(output, target.output)
            value = value if value.dtype == self._torch.float64 else value.float()
            part = self._part(target, value, labels[target.name], f)
            total = total + target.weight * part
        return total

    def _part(self, target: Target, value: Any, labels: Any, f: Functions | None) -> Any:
        if target.per == "element":
            return ((f.store(value) if f else value) * labels).sum()
        if labels.is_floating_point():
            difference = (f.store(value) if f else value).squeeze(-1) - labels
            return difference.square().mean()
        if target.shift:
            value, labels = value[:, :-1], labels[:, 1:]
        counted = labels != IGNORED
        value, labels = value[counted], labels[counted]
        if f is not None:
            return f.cross_entropy(value, labels)
        return -value.log_softmax(-1).gather(-1, labels[:, None]).mean()

    def _disturbed_value(
        self, rounding: Rounding, output: Any, labels: Mapping[str, Any], loss: Any
    ) -> float:
        """Return a loss with the errors of its last operation."""
        loss = loss.detach()
        for target in self._head.targets:
            value = getattr(output, target.output).detach()
            if target.per == "element":
                terms = value * labels[target.name]
                spread = rounding.of_sum(loss, terms.square().sum(), terms.numel())
                return float(rounding.stored(loss, spread))
            loss = loss + target.weight * rounding.of_row_loss(loss, value.shape[-1])
        return float(rounding.stored(loss))

    def _check(self, theirs: float, ours: float) -> None:
        unit = PRECISIONS[self._dtype].unit
        if not math.isclose(theirs, ours, rel_tol=_SAME * unit, abs_tol=_SAME * unit):
            if math.isnan(theirs) and math.isnan(ours):
                return
            raise LossError(
                f"transformers gives the loss {theirs!r}, our formula {ours!r}; the targets of "
                f"{self._head.class_name} do not describe it"
            )


def _arrays(gradients: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: gradient.numpy() for name, gradient in gradients.items()}


def _padded(array: np.ndarray, value: int) -> np.ndarray:
    widths = [(0, 0), (0, _EXTRA)] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, widths, constant_values=value)
