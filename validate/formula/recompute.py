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
from dataclasses import dataclass, field

import numpy as np

from mindport.migrate.computation import Softmax, Step
from mindport.validate.formula.operations import Setting, evaluate
from mindport.validate.formula.rounding import Precision, rounding_variance
from mindport.validate.formula.validity import valid_elements

Tap = Callable[[str], "np.ndarray | None"]
_NEAR = 0.1  # relative: inputs this near to the oracle's have the oracle's rounding errors
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
    """

    step: Step
    valid: np.ndarray
    accumulated: View
    isolated: Mapping[str, View]


@dataclass
class _Carried:
    """A tap that a run does not have: its exact value, and disturbed copies of it."""

    value: np.ndarray
    copies: list[np.ndarray]


@dataclass
class _Side:
    tap: Tap
    carried: dict[str, _Carried] = field(default_factory=dict)


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
    rng = np.random.default_rng(seed)
    last_use = {name: n for n, step in enumerate(steps) for name in step.inputs}
    exact: dict[str, _Carried] = {}
    readers = {name: _Side(tap) for name, tap in sides.items()}
    for number, step in enumerate(steps):
        before = [exact[name] for name in step.inputs]
        value = evaluate(step, [b.value for b in before], setting)
        variance = rounding_variance(step, [b.value for b in before], value, setting, precision)
        disturbed = [
            _disturb(evaluate(step, [b.copies[n] for b in before], setting), variance, rng)
            for n in range(copies)
        ]
        exact[step.tap] = _Carried(value, disturbed)
        valid = valid_elements(step, setting.real, value.shape)
        isolated = {
            name: view
            for name, side in readers.items()
            if (view := _isolate(step, side, exact, variance, setting, precision, copies, rng, valid))
        }  # fmt: skip
        yield Recomputed(
            step,
            valid,
            View(value, _spread(step, value, disturbed, valid, precision), direct=False),
            isolated,
        )
        for name in step.inputs:
            if last_use[name] == number:
                del exact[name]
                for side in readers.values():
                    side.carried.pop(name, None)


def _isolate(
    step: Step,
    side: _Side,
    exact: Mapping[str, _Carried],
    variance: np.ndarray,
    setting: Setting,
    precision: Precision,
    copies: int,
    rng: np.random.Generator,
    valid: np.ndarray,
) -> View | None:
    inputs: list[np.ndarray] = []
    direct = True
    for name in step.inputs:
        own = side.tap(name)
        if own is None or own.shape != exact[name].value.shape or not np.isfinite(own).all():
            direct = direct and name not in side.carried
            inputs.append(side.carried[name].value)
        else:
            inputs.append(own.astype(np.float64))
    value = evaluate(step, inputs, setting)
    near = all(
        _is_near(own, exact[name].value) for own, name in zip(inputs, step.inputs, strict=True)
    )
    if not near:
        variance = rounding_variance(step, inputs, value, setting, precision)
    if direct:
        view = View(value, np.sqrt(variance))
        disturbed = [_disturb(value, variance, rng) for _ in range(copies)]
    else:
        disturbed = []
        for n in range(copies):
            given = [
                side.carried[name].copies[n] if name in side.carried else own
                for own, name in zip(inputs, step.inputs, strict=True)
            ]
            disturbed.append(_disturb(evaluate(step, given, setting), variance, rng))
        view = View(value, _spread(step, value, disturbed, valid, precision), direct=False)
    has = side.tap(step.tap)
    if has is None or has.shape != value.shape or not np.isfinite(has).all():
        side.carried[step.tap] = _Carried(value, disturbed)
    return view if has is not None else None


def _disturb(value: np.ndarray, variance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(value.shape, np.float32)
    result: np.ndarray = value + np.sqrt(variance) * noise
    return result


def _is_near(own: np.ndarray, exact: np.ndarray) -> bool:
    distance = np.linalg.norm((own - exact).ravel())
    return bool(distance <= _NEAR * np.linalg.norm(exact.ravel()))


def _spread(
    step: Step,
    value: np.ndarray,
    disturbed: Sequence[np.ndarray],
    valid: np.ndarray,
    precision: Precision,
) -> np.ndarray:
    """Return the standard deviation of the copies, as a scale per row times one per column.

    Two copies tell little of one element, but much of a row and of a column. Attention weights
    span many magnitudes within a row; there it is the relative error that a row shares.
    """
    square = np.mean([np.square(copy - value) for copy in disturbed], axis=0)
    if isinstance(step.operation, Softmax):
        size = np.square(value) + precision.smallest**2
        return np.sqrt(np.mean(square / size, -1, keepdims=True) * size)
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
    return np.sqrt(rows * columns / mean)
