"""What a matrix product could have computed instead."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mindport.migrate.architecture import Kind
from mindport.migrate.computation import Mix, Project, Score, Step
from mindport.validate.diagnose.scene import Alternative, Scene, rounded_to, shorter_formats
from mindport.validate.formula.operations import (
    evaluate,
    part,
    part_bias,
    part_matrix,
    picked,
)


def projection_alternatives(
    step: Step, operation: Project, values: np.ndarray, scene: Scene
) -> Iterator[Alternative]:
    """Yield what a projection could have made of its input if it were wrong.

    Args:
        step: The projection's step.
        operation: The projection.
        values: Float64, what it reads.
        scene: The surroundings.
    """
    x = picked(values, operation.rows, scene.setting)
    matrix = part_matrix(operation, scene.setting)
    bias = part_bias(operation, scene.setting)
    product = x @ matrix

    def made(cause: str, said: str, value: np.ndarray) -> Alternative:
        return Alternative(cause, said, value[..., 0] if operation.squeeze else value)

    if operation.bias:
        yield made("missing-bias", f"the bias of {operation.bias} is left out", product)
    for said, layout in _other_layouts(operation, scene):
        yield made("transposed-weight", said, x @ layout + bias)
    for sibling, other in scene.projections_like(step):
        theirs, shift = part_matrix(other, scene.setting), part_bias(other, scene.setting)
        for said, a, b in (
            ("matrix and bias", theirs, shift), ("matrix", theirs, bias), ("bias", matrix, shift),
        ):  # fmt: skip
            said = f"{said} of {sibling.tap} stand here"
            yield made("swapped-projections", said, x @ a + b)
    for said, cut, shift in _other_orders(step, operation, scene):
        yield made("fused-order", said, x @ cut + shift)
    for said, columns in _head_orders(step, matrix.shape[1], scene):
        yield made("head-split-order", said, (product + bias)[..., columns])
    for said, rows in _head_orders(step, matrix.shape[0], scene):
        yield made("head-split-order", said, x[..., rows] @ matrix + bias)
    for twin in scene.elsewhere(step):
        if isinstance(twin.operation, Project):
            theirs = part_matrix(twin.operation, scene.setting)
            shift = part_bias(twin.operation, scene.setting)
            yield made("other-layer", f"parameters of {twin.tap}", x @ theirs + shift)
            yield made("other-layer", f"matrix of {twin.tap}", x @ theirs + bias)
            if operation.bias:
                yield made("other-layer", f"bias of {twin.tap}", product + shift)
    yield from _other_rows(operation, values, scene)
    for name in shorter_formats(scene.dtype):
        rounded = rounded_to(name)
        short, cut_off = rounded(matrix), rounded(x)
        rest = rounded(np.asarray(bias))
        yield made("reduced-precision", f"the matrix is rounded to {name}", x @ short + bias)
        yield made("reduced-precision", f"matrix and bias are rounded to {name}", x @ short + rest)
        with np.errstate(invalid="ignore"):  # what the format cannot hold is infinite
            one, both = cut_off @ matrix + bias, cut_off @ short + bias
        yield made("reduced-precision", f"the input is rounded to {name}", one)
        yield made("reduced-precision", f"matrix and input are rounded to {name}", both)
    if x.shape[-1] == matrix.shape[1]:
        yield made("missing-operation", "the result is the input", x)
    for near, norm in scene.norms(step):
        width = len(scene.setting.weights.get(norm.module, Kind.NORM_WEIGHT))
        if near.tap not in step.inputs and width == values.shape[-1]:
            given = picked(evaluate(near, [values], scene.setting), operation.rows, scene.setting)
            said = f"the input goes through {near.tap} first"
            yield made("norm-placement", said, given @ matrix + bias)


def _other_layouts(operation: Project, scene: Scene) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the matrix as it is read from bytes in the other order, (in, out)."""
    whole = scene.setting.weights.matrix(operation.module, operation.kind)
    own = part(whole, operation.part)
    if own.shape[0] == own.shape[1]:
        yield "the square matrix is not transposed", own.T
    # As many numbers, cut into rows of the wrong length: a reshape where a transpose is due.
    yield (
        "the matrix is reshaped, not transposed",
        part(np.ascontiguousarray(whole).reshape(whole.shape[::-1]).T, operation.part),
    )
    yield (
        "the matrix is reshaped, not transposed, from (out, in)",
        part(np.ascontiguousarray(whole.T).reshape(whole.shape), operation.part),
    )


def _other_orders(
    step: Step, operation: Project, scene: Scene
) -> Iterator[tuple[str, np.ndarray, np.ndarray | float]]:
    """Yield matrix and bias of query, key or value, cut from a fused one in another order."""
    fused = _fused(step, operation, scene)
    if fused is None:
        return
    number, whole, shift = fused
    heads, parts = _heads(scene), 3
    order = np.arange(whole.shape[1])
    orders = (
        ("query, key and value alternate by head",
         order.reshape(heads, parts, -1)[:, number].ravel()),
        ("a matrix that is fused by head is cut into thirds",
         order.reshape(parts, heads, -1).swapaxes(0, 1).reshape(parts, -1)[number]),
        ("query, key and value alternate by column", order.reshape(-1, parts)[:, number]),
        ("columns are dealt out to query, key and value",
         order.reshape(parts, -1).T.reshape(parts, -1)[number]),
    )  # fmt: skip
    for said, columns in orders:
        yield said, whole[:, columns], shift[columns]
        own = part_bias(operation, scene.setting)
        yield f"{said}, in the matrix alone", whole[:, columns], own


def _fused(
    step: Step, operation: Project, scene: Scene
) -> tuple[int, np.ndarray, np.ndarray] | None:
    """Return which of query, key and value a step is, and their matrices and biases in one."""
    members = [other for other in scene.steps if other.layer == step.layer]
    score = next((s for s in members if isinstance(s.operation, Score)), None)
    mix = next((s for s in members if isinstance(s.operation, Mix)), None)
    if step.layer is None or score is None or mix is None:
        return None
    taps = (*score.inputs, mix.inputs[1])
    projections = [s.operation for s in (scene.step(tap) for tap in taps)]
    if step.tap not in taps or not all(isinstance(p, Project) and p.bias for p in projections):
        return None
    three = [p for p in projections if isinstance(p, Project)]
    whole = np.concatenate([part_matrix(p, scene.setting) for p in three], 1)
    shift = np.concatenate([np.asarray(part_bias(p, scene.setting)) for p in three])
    return taps.index(step.tap), whole, shift


def _head_orders(step: Step, size: int, scene: Scene) -> Iterator[tuple[str, np.ndarray]]:
    if step.layer is None:
        return
    heads = _heads(scene)
    if size % heads:
        return
    order = np.arange(size)
    yield "heads lie inside, not outside", order.reshape(-1, heads).T.ravel()
    yield "heads lie outside, not inside", order.reshape(heads, -1).T.ravel()
    yield "heads run backwards", order.reshape(heads, -1)[::-1].ravel()


def _heads(scene: Scene) -> int:
    score = next(s.operation for s in scene.steps if isinstance(s.operation, Score))
    return int(scene.setting.config[score.heads])


def _other_rows(operation: Project, values: np.ndarray, scene: Scene) -> Iterator[Alternative]:
    if operation.rows == "all":
        return
    real = scene.setting.real
    lengths = real.sum(1)
    count = np.arange(len(values))
    mean = (values * real[..., None]).sum(1) / lengths[:, None]
    rows = (
        ("the first position", values[:, 0]),
        ("the second position", values[:, min(1, values.shape[1] - 1)]),
        ("the last position, padding or not", values[:, -1]),
        ("the last real token", values[count, lengths - 1]),
        ("the mean over the tokens", mean),
        ("the mean over all positions", values.mean(1)),
        ("the maximum over the tokens", np.where(real[..., None], values, -np.inf).max(1)),
        ("the token before the last", values[count, np.maximum(lengths - 2, 0)]),
    )
    matrix, bias = part_matrix(operation, scene.setting), part_bias(operation, scene.setting)
    for said, row in rows:
        value = row @ matrix + bias
        yield Alternative(
            "other-input", f"it reads {said}", value[..., 0] if operation.squeeze else value
        )
