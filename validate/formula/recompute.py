"""Two views of a run, tap by tap: what it should have been from the start, and from its own inputs.

*Accumulated*: the whole network in float64, and how far rounding may have carried a run from it by
then, found by Monte Carlo arithmetic (Parker, *Monte Carlo arithmetic*, 1997): copies of the
network run along, and each of their results is disturbed by the rounding error that the formula
predicts for it.

*Isolated*: each operation alone, in float64, from the inputs that the judged run itself had. Errors
do not add up, and a fault shows at its own operation and at no later one. Where a run has no tap,
the value is carried on from the taps before, with copies that are disturbed as above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mindport.migrate.computation import Activate, Mix, Project, Score, Softmax, Step
from mindport.validate.formula.jumps import jump_variance
from mindport.validate.formula.operands import Short, operand_variance
from mindport.validate.formula.operations import Setting, evaluate
from mindport.validate.formula.rounding import Precision, rounding_variance
from mindport.validate.formula.validity import valid_elements

Tap = Callable[[str], "np.ndarray | None"]
_NEAR = 1e-4  # relative: inputs this near to the oracle's have the oracle's rounding errors
_REACH = 4.0  # how far rounding may carry an argument, in deviations
_SHRINK = 0.1  # how much of a row's or a column's scale is that of the whole tap


@dataclass(frozen=True)
class View:
    """What a tap should be.

    Attributes:
        expected: Float64.
        deviation: Standard deviation of the rounding error of each element, float64.
        direct: Whether it follows from captured taps by one operation.
    """

    expected: np.ndarray
    deviation: np.ndarray
    direct: bool = True


@dataclass(frozen=True)
class Recomputed:
    """Both views of a step.

    Attributes:
        step: The operation and the tap that it makes.
        valid: Which elements count, a boolean array over the leading axes.
        accumulated: From the model's inputs.
        isolated: From the side's own inputs, by side; absent if the side has no such tap.
        copies: How many disturbed copies the deviations were estimated from.
    """

    step: Step
    valid: np.ndarray
    accumulated: View
    isolated: Mapping[str, View]
    copies: int


@dataclass(frozen=True)
class _Carried:
    """The exact value of a tap, and disturbed copies of it."""

    value: np.ndarray
    copies: list[np.ndarray]


@dataclass(frozen=True)
class _Variance:
    """The variance of the error of a step's result.

    Attributes:
        whole: All of it.
        local: Without that of inputs that a matrix unit rounds.
    """

    whole: np.ndarray
    local: np.ndarray


@dataclass(frozen=True)
class _Course:
    """What all steps have in common, and the taps of a side that are carried on for it."""

    setting: Setting
    precision: Precision
    copies: int
    rng: np.random.Generator

    def variance(self, step: Step, values: Sequence[np.ndarray], value: np.ndarray) -> _Variance:
        """Return the variance of a step's error, given its inputs and its exact result."""
        short = self.precision.operands
        plain = replace(self.precision, operands=None)
        local = rounding_variance(step, values, value, self.setting, plain)
        if short is None:
            return _Variance(local, local)
        return _Variance(local + operand_variance(step, values, self.setting, short), local)

    def advance(
        self, step: Step, before: Sequence[_Carried], variance: _Variance, value: np.ndarray
    ) -> _Carried:
        """Return the exact result of a step and its disturbed copies."""
        disturbed = []
        for n in range(self.copies):
            given = [b.copies[n] for b in before]
            copy = evaluate(step, given, self.setting, self._product)
            noise = self.rng.standard_normal(copy.shape, np.float32)
            disturbed.append(copy + np.sqrt(variance.local) * noise)
        return _Carried(value, disturbed)

    def _product(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return a product whose inputs are disturbed as a matrix unit rounds them.

        A rounded matrix is the same for every token. Were its errors drawn per token they would
        average out where attention mixes tokens, which those of the unit do not.
        """
        short = self.precision.operands
        result: np.ndarray = (
            x @ y if short is None else self._rounded(x, short) @ self._rounded(y, short)
        )
        return result

    def _rounded(self, values: np.ndarray, short: Short) -> np.ndarray:
        noise = self.rng.standard_normal(values.shape, np.float32)
        result: np.ndarray = values + np.sqrt(short.variance(values)) * noise
        return result


def recompute(
    steps: Sequence[Step],
    setting: Setting,
    sides: Mapping[str, Tap],
    precision: Precision,
    *,
    copies: int = 2,
    seed: int = 0,
) -> Iterator[Recomputed]:
    """Yield both views of each step, in network order.

    Args:
        steps: Of the head, filled in.
        setting: Config, model inputs and parameters.
        sides: How to read a side's tap; None where it has none.
        precision: Of the runs.
        copies: How many disturbed copies of the network run along.
        seed: Of the disturbances.
    """
    course = _Course(setting, precision, copies, np.random.default_rng(seed))
    last_use = {name: n for n, step in enumerate(steps) for name in step.inputs}
    exact: dict[str, _Carried] = {}
    carried: dict[str, dict[str, _Carried]] = {side: {} for side in sides}
    for number, step in enumerate(steps):
        before = [exact[name] for name in step.inputs]
        values = [b.value for b in before]
        value = evaluate(step, values, setting)
        variance = course.variance(step, values, value)
        exact[step.tap] = course.advance(step, before, variance, value)
        valid = valid_elements(step, setting.real, value.shape)
        isolated = {}
        for side, tap in sides.items():
            view = _isolate(step, tap, carried[side], exact, variance, valid, course)
            if view is not None:
                isolated[side] = view
        spread = _spread(step, before, exact[step.tap], valid, course)
        yield Recomputed(step, valid, View(value, spread, direct=False), isolated, copies)
        for name in step.inputs:
            if last_use[name] == number:
                del exact[name]
                for kept in carried.values():
                    kept.pop(name, None)


def _isolate(
    step: Step,
    tap: Tap,
    carried: dict[str, _Carried],
    exact: Mapping[str, _Carried],
    variance: _Variance,
    valid: np.ndarray,
    course: _Course,
) -> View | None:
    """Return what a side's tap should be from its own inputs; None if it has no such tap.

    What the side lacks, or has in another shape or with values that are not finite, is put into
    ``carried``. ``variance`` is that of the exact inputs.
    """
    for name in step.inputs:
        own = tap(name)
        if name not in carried and own is not None:
            wide = own.astype(np.float64)
            carried[name] = _Carried(wide, [wide] * course.copies)
    before = [carried[name] for name in step.inputs]
    direct = all(b.value is b.copies[0] for b in before)
    values = [b.value for b in before]
    value = evaluate(step, values, course.setting)
    if not _shares_errors(step, values, [exact[name].value for name in step.inputs]):
        variance = course.variance(step, values, value)
    has = tap(step.tap)
    usable = has is not None and has.shape == value.shape and bool(np.isfinite(has).all())
    if direct and usable:
        return View(value, np.sqrt(variance.whole))
    result = course.advance(step, before, variance, value)
    if not usable:
        carried[step.tap] = result
    if has is None:
        return None
    return View(value, _spread(step, before, result, valid, course), direct=False)


def _shares_errors(step: Step, own: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> bool:
    """Return whether the rounding errors of the exact inputs serve for a side's own.

    Those of a product, which are dear to compute, hardly depend on its value: its terms count. An
    element of a sum or an activation can be next to zero on one side and ten times that on the
    other, and its errors with it.
    """
    if not isinstance(step.operation, (Project, Score, Mix)):
        return False
    for mine, theirs in zip(own, exact, strict=True):
        if not np.linalg.norm((mine - theirs).ravel()) <= _NEAR * np.linalg.norm(theirs.ravel()):
            return False
    return True


def _spread(
    step: Step,
    before: Sequence[_Carried],
    carried: _Carried,
    valid: np.ndarray,
    course: _Course,
) -> np.ndarray:
    """Return the standard deviation of a tap that is made from disturbed copies of its inputs."""
    shared = _shared_spread(step, carried, valid, course.precision)
    if not isinstance(step.operation, Activate):
        return shared
    # Whether an argument is carried over a jump is a matter of the element, which no row tells.
    value = before[0].value
    reach = _REACH * np.max([np.abs(copy - value) for copy in before[0].copies], axis=0)
    jump = jump_variance(step, [value], reach, course.setting)
    result: np.ndarray = np.sqrt(np.square(shared) + jump)
    return result


def _shared_spread(
    step: Step, carried: _Carried, valid: np.ndarray, precision: Precision
) -> np.ndarray:
    """Return the standard deviation of the copies, as a scale per row times one per column.

    Two copies tell little of one element, but much of a row and of a column. Attention weights
    span many magnitudes within a row; there it is the relative error that a row shares.
    """
    value = carried.value
    square = np.mean([np.square(copy - value) for copy in carried.copies], axis=0)
    if isinstance(step.operation, Softmax):
        size = np.square(value) + precision.smallest**2
        # A hidden key's weight is zero and so has no relative error; the seen ones alone tell.
        seen = np.abs(value) > precision.smallest
        total = np.sum(np.where(seen, square / size, 0.0), -1, keepdims=True)
        count = np.maximum(seen.sum(-1, keepdims=True), 1)
        share = total / count * size
        shared: np.ndarray = np.sqrt(share + precision.underflow)
        return shared
    counted = valid if valid.ndim == value.ndim else valid[..., None]
    counted = np.broadcast_to(counted, value.shape)
    square = np.where(counted, square, 0.0)
    mean = square.sum() / max(np.count_nonzero(counted), 1)
    if mean == 0 or value.ndim < 2:
        return np.full(value.shape, np.sqrt(max(mean, np.finfo(np.float32).tiny)))
    rows = square.sum(-1, keepdims=True) / np.maximum(counted.sum(-1, keepdims=True), 1)
    leading = tuple(range(value.ndim - 1))
    columns = square.sum(leading) / np.maximum(counted.sum(leading), 1)
    rows, columns = ((1 - _SHRINK) * part + _SHRINK * mean for part in (rows, columns))
    result: np.ndarray = np.sqrt(rows * columns / mean)
    return result
