"""What a step could have computed instead: alternatives that need no look at its result.

Each function yields the specific before the general, since the first that explains a result is
taken. They work from the inputs of the step, so they also serve where the step's own tap is
lacking and the result is only seen further on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

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
from mindport.validate.departures.known import DEPARTURES
from mindport.validate.diagnose.attention import attention_alternatives
from mindport.validate.diagnose.projection import projection_alternatives
from mindport.validate.diagnose.scene import Alternative, Scene, rounded_to, shorter_formats
from mindport.validate.formula.activations import ACTIVATIONS
from mindport.validate.formula.operations import evaluate, function_of, normed, sum_of

Inputs = Sequence[np.ndarray]


def alternatives(step: Step, inputs: Inputs, scene: Scene) -> Iterator[Alternative]:
    """Yield what a step could have made of its inputs if it were wrong.

    Args:
        step: The operation.
        inputs: Float64 values of the taps that it reads.
        scene: The surroundings.
    """
    match step.operation:
        case Lookup() as operation:
            yield from _lookup(operation, scene)
        case Norm() as operation:
            yield from _norm(step, operation, inputs[0], scene)
        case Project() as operation:
            yield from projection_alternatives(step, operation, inputs[0], scene)
        case Score() | Softmax() | Mix():
            yield from attention_alternatives(step, inputs, scene)
        case Activate() as operation:
            yield from _activate(operation, inputs[0], scene)
        case Add():
            yield from _add(step, inputs, scene)
    yield from _other_inputs(step, inputs, scene)


def _lookup(operation: Lookup, scene: Scene) -> Iterator[Alternative]:
    tables = {
        name: scene.setting.weights.get(module, Kind.EMBEDDING) for module, name in operation.tables
    }
    ids = {name: scene.setting.inputs[name] for name in tables}
    rows = {name: table[ids[name]] for name, table in tables.items()}

    def with_ids(name: str, other: np.ndarray) -> np.ndarray:
        clipped = np.clip(other, 0, len(tables[name]) - 1)
        return sum_of(list({**rows, name: tables[name][clipped]}.values()))

    def without(name: str) -> np.ndarray:
        return sum_of([array for key, array in rows.items() if key != name])

    if "token_type_ids" in rows:
        segments = ids["token_type_ids"]
        yield Alternative("token-types-ignored", "no segment is added", without("token_type_ids"))
        for other, said in ((segments * 0, "all are 0"), (1 - segments, "0 and 1 are exchanged")):
            yield Alternative("token-types-ignored", said, with_ids("token_type_ids", other))
    if "position_ids" in rows:
        places = ids["position_ids"]
        seq = places.shape[1]
        pad = scene.setting.config.get("pad_token_id") or 0
        lengths = scene.setting.real.sum(1, keepdims=True)
        last = np.take_along_axis(places, lengths - 1, 1)
        shifted = [(places + n, f"positions are shifted by {n:+d}") for n in (1, 2, -1, -2, 3, -3)]
        others = [
            *shifted,
            (places * 0, "every position is 0"),
            (places[:, ::-1], "positions run backwards"),
            (_backwards(places, lengths), "positions run backwards from the last token"),
            (places + pad + 1, "positions start behind pad_token_id, as RoBERTa's do"),
            (places + seq - lengths, "positions count padding on the left"),
            (np.minimum(places, last), "positions stop at the last token"),
            (np.arange(seq) + 0 * places, "positions count from 0, padding included"),
        ]
        yield Alternative("position-offset", "no position is added", without("position_ids"))
        for other, said in others:
            yield Alternative("position-offset", said, with_ids("position_ids", other))
    words = ids["input_ids"]
    for n in (1, -1, 2, -2):
        said = f"token ids are shifted by {n:+d}"
        yield Alternative("token-offset", said, with_ids("input_ids", words + n))
        turned = np.mod(words + n, len(tables["input_ids"]))
        yield Alternative("token-offset", said, with_ids("input_ids", turned))
    for n, said in ((1, "right"), (-1, "left")):
        other = np.roll(words, n, axis=1)
        yield Alternative(
            "token-offset", f"tokens stand one place to the {said}", with_ids("input_ids", other)
        )
    yield Alternative("token-offset", "no token is added", without("input_ids"))
    for name in shorter_formats(scene.dtype):
        rounded = rounded_to(name)
        value = sum_of([rounded(row) for row in rows.values()])
        yield Alternative("reduced-precision", f"the tables are rounded to {name}", value)
    width = tables["input_ids"].shape[-1]
    scaled = sum_of([rows["input_ids"] * width**0.5, without("input_ids")])
    yield Alternative("scaled", "the token embedding is multiplied by sqrt(width)", scaled)


def _backwards(places: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the positions of each row's tokens, (batch, seq), from the last to the first."""
    order = np.maximum(lengths - 1 - np.arange(places.shape[1]), 0)
    return np.take_along_axis(places, order, 1)


def _norm(step: Step, operation: Norm, x: np.ndarray, scene: Scene) -> Iterator[Alternative]:
    weights, eps = scene.setting.weights, operation.epsilon(scene.setting.config)
    scale = weights.get(operation.module, Kind.NORM_WEIGHT)
    shift = weights.get(operation.module, Kind.NORM_BIAS)
    unit = normed(x, eps)
    yield Alternative("missing-norm", "the result is the input", x)
    yield Alternative("missing-bias", "the shift is left out", unit * scale)
    yield Alternative("missing-norm-weight", "the scale is left out", unit + shift)
    yield Alternative("missing-norm-weight", "neither scale nor shift is applied", unit)
    yield Alternative("swapped-norm-parameters", "scale and shift", unit * shift + scale)
    for small in (1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
        if small != eps:
            yield Alternative("norm-eps", f"eps is {small:g}", normed(x, small) * scale + shift)
    centred = x - x.mean(-1, keepdims=True)
    variance = np.mean(centred * centred, -1, keepdims=True)
    width = x.shape[-1]
    square = np.mean(x * x, -1, keepdims=True)
    forms = (
        ("the variance is divided by n - 1",
         centred / np.sqrt(variance * width / (width - 1) + eps)),
        ("the mean is not taken off (RMS norm)", x / np.sqrt(square + eps)),
        ("eps is added to the standard deviation", centred / (np.sqrt(variance) + eps)),
        ("the deviation is divided by n - 1, eps behind the root",
         centred / (np.sqrt(variance * width / (width - 1)) + eps)),
        ("the mean is taken off but nothing divided", centred),
        ("it is divided by the variance", centred / (variance + eps)),
        ("the mean square divides, the mean is taken off", centred / np.sqrt(square + eps)),
        ("the norm runs over the sequence", _over_sequence(x, eps)),
    )  # fmt: skip
    for said, value in forms:
        yield Alternative("norm-form", said, value * scale + shift)
    for other in (*scene.elsewhere(step), *(found for found, _ in scene.norms(step))):
        if isinstance(other.operation, Norm):
            owner = other.operation.module
            theirs = weights.get(owner, Kind.NORM_WEIGHT), weights.get(owner, Kind.NORM_BIAS)
            for said, a, b in (
                ("parameters", *theirs), ("scale", theirs[0], shift), ("shift", scale, theirs[1]),
            ):  # fmt: skip
                yield Alternative("other-layer", f"it has the {said} of {other.tap}", unit * a + b)


def _over_sequence(x: np.ndarray, eps: float) -> np.ndarray:
    if x.ndim != 3:
        return x
    return normed(x.swapaxes(1, 2), eps).swapaxes(1, 2)


def _activate(operation: Activate, x: np.ndarray, scene: Scene) -> Iterator[Alternative]:
    name = function_of(operation, scene.setting)
    for departure in DEPARTURES.values():
        if name in departure.functions and scene.setting.functions[name] is ACTIVATIONS[name]:
            said = departure.summary
            if departure.name in scene.acceptable:
                said += f"; --accept {departure.name} judges everything else"
            yield Alternative("other-activation", said, departure.functions[name](x))
    if scene.setting.functions[name] is not ACTIVATIONS[name]:
        said = f"{name} as it is defined, not as the accepted departure has it"
        yield Alternative("other-activation", said, ACTIVATIONS[name](x))
    for other, function in ACTIVATIONS.items():
        if other != name:
            yield Alternative("other-activation", f"{other} instead of {name}", function(x))
    leaky = np.where(x > 0, x, 0.01 * x)
    elu = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    yield Alternative("other-activation", f"leaky ReLU instead of {name}", leaky)
    yield Alternative("other-activation", f"ELU instead of {name}", elu)
    yield Alternative("missing-operation", f"{name} is left out", x)
    twice = ACTIVATIONS[name](ACTIVATIONS[name](x))
    yield Alternative("other-activation", f"{name} is applied twice", twice)


def _add(step: Step, inputs: Inputs, scene: Scene) -> Iterator[Alternative]:
    first, second = inputs
    for kept, lost in ((0, 1), (1, 0)):
        branch = step.inputs[lost]
        yield Alternative("missing-residual", f"{branch} is not added", inputs[kept])
    yield Alternative("scaled", f"{step.inputs[1]} is added twice", first + 2 * second)
    yield Alternative("scaled", f"{step.inputs[0]} is added twice", 2 * first + second)
    yield Alternative("scaled", f"{step.inputs[1]} is subtracted", first - second)
    yield Alternative("scaled", f"{step.inputs[0]} is subtracted", second - first)
    # The norms around: of a term before the sum, or of the sum.
    for other in scene.steps:
        if other.layer != step.layer or not isinstance(other.operation, Norm):
            continue
        norm = _norm_of(other, scene)
        yield Alternative(
            "norm-placement", f"the sum goes through {other.tap}", norm(first + second)
        )
        yield Alternative(
            "norm-placement", f"{step.inputs[0]} goes through {other.tap} first",
            norm(first) + second,
        )  # fmt: skip
        yield Alternative(
            "norm-placement", f"{step.inputs[1]} goes through {other.tap} first",
            first + norm(second),
        )  # fmt: skip


def _norm_of(other: Step, scene: Scene) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: evaluate(other, [x], scene.setting)


def _other_inputs(step: Step, inputs: Inputs, scene: Scene) -> Iterator[Alternative]:
    """Yield the step with each of its inputs taken from another tap of its surroundings."""
    for number, own in enumerate(inputs):
        if isinstance(step.operation, (Lookup, Softmax)):
            continue
        for other, array in scene.near(step, own.shape):
            if other.tap in (step.tap, step.inputs[number]):
                continue
            given = [array if n == number else one for n, one in enumerate(inputs)]
            cause = _cause_of_wiring(step, number, other, scene)
            said = f"it reads {other.tap} instead of {step.inputs[number]}"
            yield Alternative(cause, said, evaluate(step, given, scene.setting))


def _cause_of_wiring(step: Step, number: int, other: Step, scene: Scene) -> str:
    """Return what it is called when an input is ``other`` instead of the one that is meant."""
    meant = scene.step(step.inputs[number])
    if isinstance(meant.operation, Norm) and other.tap in meant.inputs:
        return "missing-norm"
    if isinstance(other.operation, Norm) and meant.tap in other.inputs:
        return "norm-placement"  # normed once more than it should be
    if isinstance(step.operation, Norm):
        # Before its sum instead of behind it, or the reverse; reading the stream from before the
        # block is no matter of the norm.
        return "norm-placement" if other.layer == step.layer else "other-input"
    attention = ("query", "key", "value")
    if isinstance(step.operation, (Score, Mix)) and other.tap.rpartition(".")[2] in attention:
        return "swapped-projections"
    if isinstance(meant.operation, Add) and other.tap in meant.inputs:
        return "missing-residual"
    return "other-input"
