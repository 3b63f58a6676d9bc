"""What the result of a step itself tells: constants, columns, zeros and matrices fitted to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mindport.migrate.architecture import Kind
from mindport.migrate.computation import Activate, Add, Lookup, Norm, Project, Score, Step
from mindport.validate.diagnose.attention import mask_alternative
from mindport.validate.diagnose.scene import Alternative, Scene, rounded_to, shorter_formats
from mindport.validate.emulation.formats import FORMATS
from mindport.validate.formula.operations import (
    lookups,
    normed,
    part_bias,
    part_matrix,
    picked,
    sum_of,
)

_UNRELATED = 0.5  # two matrices whose cosine is below it are not the same one, changed
_RARE = 0.6  # a change of fewer of the rows or columns is a change of a part


def fits(
    step: Step,
    inputs: Sequence[np.ndarray],
    found: np.ndarray,
    expected: np.ndarray,
    valid: np.ndarray,
    scene: Scene,
) -> Iterator[Alternative]:
    """Yield alternatives that are fitted to the result of a step.

    Args:
        step: The operation.
        inputs: Float64 values of the taps that it reads.
        found: Its result in the judged run, float64.
        expected: What the formula makes of the inputs.
        valid: Which elements count, boolean over the leading axes.
        scene: The surroundings.
    """
    operation = step.operation
    if isinstance(operation, Score):
        masked = mask_alternative(step, inputs, found, scene)
        if masked is not None:
            yield masked
    yield from _rounded(found, expected, scene)
    yield from _dropped(found, expected, valid)
    if isinstance(operation, Add):
        for kept, branch in ((0, 1), (1, 0)):
            for item in _dropped(found - inputs[kept], inputs[branch], valid):
                said = f"{step.inputs[branch]}: {item.detail}"
                yield Alternative(item.cause, said, item.value + inputs[kept])
    if isinstance(operation, Lookup):
        yield from _tables(operation, found, expected, valid, scene)
        return
    if isinstance(operation, Norm):
        yield from _norm(operation, inputs[0], found, valid, scene)
    if isinstance(operation, Activate):
        yield from _function(inputs[0], found, valid)
    yield from _scaled(step, inputs, found, expected, valid, scene)
    if isinstance(operation, Project):
        if operation.bias and not operation.squeeze:
            yield from _shifted(found, expected, valid)
        yield from _matrix(step, operation, inputs[0], found, expected, valid, scene)
    elif not isinstance(operation, (Score, Norm)) and found.ndim == 3:
        yield from _shifted(found, expected, valid)


def _rounded(found: np.ndarray, expected: np.ndarray, scene: Scene) -> Iterator[Alternative]:
    for name in shorter_formats(scene.dtype):
        rounded = rounded_to(name)
        if np.array_equal(rounded(found), found) and not np.array_equal(found, np.round(found)):
            # Where the formula lies between two values of the format either may come out.
            near = (
                np.abs(found - expected)
                <= 2 * np.abs(rounded(expected) - expected)
                + np.abs(expected) * 2 * FORMATS[name].unit
            )
            yield Alternative(
                "reduced-precision",
                f"the result is rounded to {name}",
                np.where(near, found, expected),
            )


def _dropped(found: np.ndarray, expected: np.ndarray, valid: np.ndarray) -> Iterator[Alternative]:
    inside = np.zeros(found.shape[: valid.ndim], bool) | valid
    lost = (found == 0) & (expected != 0)
    share = float(lost[inside].mean())
    if 0.01 < share < 0.99:
        kept = ~lost & (expected != 0)
        ratio = np.median(found[kept] / expected[kept]) if kept.any() else 1.0
        value = np.where(lost, 0.0, expected * ratio)
        said = f"{share:.0%} of the elements are zero, the others {ratio:.3f} times as large"
        yield Alternative("dropout-on", said, value)


def _scaled(
    step: Step,
    inputs: Sequence[np.ndarray],
    found: np.ndarray,
    expected: np.ndarray,
    valid: np.ndarray,
    scene: Scene,
) -> Iterator[Alternative]:
    """Yield the result, or a projection's product alone, times the best constant."""
    cause = "attention-scale" if isinstance(step.operation, Score) else "scaled"
    f, e = found[valid], expected[valid]
    square = float(np.vdot(e, e))
    if square:
        factor = float(np.vdot(e, f)) / square
        yield Alternative(cause, f"the result is {factor:.6g} times as large", factor * expected)
    operation = step.operation
    if isinstance(operation, Project) and operation.bias:
        bias = part_bias(operation, scene.setting)
        product = expected - bias if not operation.squeeze else expected
        p = product[valid]
        factor = float(np.vdot(p, (found - bias)[valid])) / max(float(np.vdot(p, p)), 1e-300)
        said = f"the matrix is {factor:.6g} times as large"
        yield Alternative("scaled", said, factor * product + bias)


def _shifted(found: np.ndarray, expected: np.ndarray, valid: np.ndarray) -> Iterator[Alternative]:
    """Yield the result with a constant added to each column."""
    error = (found - expected)[valid]
    if error.ndim != 2 or len(error) < 3:
        return
    columns = np.median(error, axis=0)
    touched = int(np.count_nonzero(np.abs(columns) > 1e-3 * np.abs(columns).max()))
    said = f"a constant is added to {touched} of {len(columns)} columns, at most "
    said += f"{columns[np.argmax(np.abs(columns))]:+.3g}"
    yield Alternative("changed-bias", said, expected + columns)


def _norm(
    operation: Norm, x: np.ndarray, found: np.ndarray, valid: np.ndarray, scene: Scene
) -> Iterator[Alternative]:
    weights = scene.setting.weights
    scale = weights.get(operation.module, Kind.NORM_WEIGHT)
    shift = weights.get(operation.module, Kind.NORM_BIAS)
    eps = operation.epsilon(scene.setting.config)
    centred = x - x.mean(-1, keepdims=True)
    variance = np.mean(centred * centred, -1)
    # found - shift = scale * centred / sqrt(variance + eps): each row gives an eps.
    along = centred * scale
    rate = np.sum((found - shift) * along, -1) / np.sum(along * along, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        guesses = (1 / np.square(rate) - variance)[valid]
    guess = float(np.median(guesses[np.isfinite(guesses)])) if np.isfinite(guesses).any() else eps
    if guess > 0:
        yield Alternative("norm-eps", f"eps is about {guess:.3g}", normed(x, guess) * scale + shift)
    unit = normed(x, eps)
    u, f = unit[valid], found[valid]
    constant = np.median(f - u * scale, axis=0)
    touched = _touched(constant - shift, np.abs(shift).mean() + 1e-6)
    yield Alternative(
        "changed-bias", f"the shift differs in {touched} of {len(shift)} places",
        unit * scale + constant,
    )  # fmt: skip
    gain = np.sum(u * (f - shift), 0) / np.sum(u * u, 0)
    touched = _touched(gain - scale, np.abs(scale).mean() + 1e-6)
    yield Alternative(
        "changed-weight", f"the scale differs in {touched} of {len(scale)} places",
        unit * gain + shift,
    )  # fmt: skip
    mean = u.mean(0)
    gain = np.sum((u - mean) * (f - f.mean(0)), 0) / np.sum(np.square(u - mean), 0)
    both = unit * gain + (f.mean(0) - gain * mean)
    cause = "random-weight" if _cosine(gain - 1, scale - 1) < _UNRELATED else "changed-weight"
    yield Alternative(cause, "scale and shift differ", both)


def _touched(change: np.ndarray, size: float) -> int:
    return int(np.count_nonzero(np.abs(change) > 1e-5 * size))


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b)) / norms if norms else 1.0


def _function(x: np.ndarray, found: np.ndarray, valid: np.ndarray) -> Iterator[Alternative]:
    """Yield a smooth function of the input, whichever it is, drawn through the points."""
    points, values = x[valid].ravel(), found[valid].ravel()
    order = np.argsort(points)
    points, values = points[order], values[order]
    # Each point lies between its neighbours' line, if the result is a function of the input.
    if len(points) < 1000:
        return
    inner = np.interp(points[1:-1:2], points[::2], values[::2])
    error = np.abs(inner - values[1:-1:2][: len(inner)])
    if np.median(error) < 1e-3 * np.abs(values).max() and np.quantile(error, 0.99) < 1e-2:
        drawn = np.interp(x, points, values)
        yield Alternative("other-activation", "another function of the same input", drawn)


def _tables(
    operation: Lookup,
    found: np.ndarray,
    expected: np.ndarray,
    valid: np.ndarray,
    scene: Scene,
) -> Iterator[Alternative]:
    rows = lookups(operation, scene.setting)
    names = [name for _, name in operation.tables]
    basis = np.stack([row[valid].ravel() for row in rows], 1)
    factors, *_ = np.linalg.lstsq(basis, found[valid].ravel(), rcond=None)
    said = ", ".join(f"{f:.6g} x {n}" for f, n in zip(factors, names, strict=True))
    total = sum_of([f * row for f, row in zip(factors, rows, strict=True)])
    yield Alternative("scaled", f"the rows are added as {said}", total)
    error = found - expected
    for number in np.argsort([len(np.unique(scene.setting.inputs[n][valid])) for n in names]):
        ids = scene.setting.inputs[names[number]]
        shown, place = np.unique(ids[valid], return_inverse=True)
        counts = np.bincount(place)
        sums = np.zeros((len(shown), found.shape[-1]))
        np.add.at(sums, place, error[valid])
        change = sums / counts[:, None]
        own = rows[number]
        first = np.zeros((len(shown), found.shape[-1]))
        first[place] = own[valid]
        touched = np.abs(change).max(1) > 1e-4 * np.abs(first).max()
        # The others differ by rounding, and their mean would carry it from large values to small.
        value = expected.copy()
        value[valid] += np.where(touched[:, None], change, 0.0)[place]
        share = float(touched.mean())
        unrelated = _cosine((first + change)[touched], first[touched]) < _UNRELATED
        cause = "random-weight" if share > _RARE and unrelated else "changed-weight"
        module = operation.tables[number][0]
        said = f"{touched.sum()} of {len(shown)} rows of {module} that were looked up differ"
        yield Alternative(cause, said, value)


def _matrix(
    step: Step,
    operation: Project,
    values: np.ndarray,
    found: np.ndarray,
    expected: np.ndarray,
    valid: np.ndarray,
    scene: Scene,
) -> Iterator[Alternative]:
    """Yield the product with whichever matrix fits best; many rows of input show it whole."""
    x = picked(values, operation.rows, scene.setting)[valid]
    error = (found - expected)[valid]
    if operation.squeeze:
        error = error[:, None]
    matrix = part_matrix(operation, scene.setting)
    change, *_ = np.linalg.lstsq(x, error, rcond=None)
    value = expected.copy()
    made = x @ change
    value[valid] += made[:, 0] if operation.squeeze else made
    # With fewer rows than unknowns any result can be fitted, and what fits is not the matrix.
    determined = len(x) >= 1.1 * len(matrix)
    product = x @ matrix
    related = _cosine(product + made, product)
    if related < _UNRELATED:
        cause, said = "random-weight", "the matrix is another one"
        if operation.module in scene.tied:
            cause, said = "untied-head", "the head's matrix is not the embeddings'"
    else:
        size = np.abs(matrix).mean()
        columns = np.abs(change).max(0) > 1e-3 * np.abs(change).max()
        lines = np.abs(change).max(1) > 1e-3 * np.abs(change).max()
        cause = "changed-weight"
        said = f"the matrix differs by {np.abs(change).mean() / size:.2g} of its size"
        if determined and columns.mean() < _RARE:
            said += f", in {columns.sum()} of {len(columns)} columns"
        elif determined and lines.mean() < _RARE:
            said += f", in {lines.sum()} of {len(lines)} rows"
    if not determined:
        said += f" (a guess: {len(x)} rows of input do not determine it)"
    yield Alternative(cause, said, value, certain=determined)
