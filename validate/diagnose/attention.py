"""What scores, weights and context could have been computed as instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mindport.migrate.computation import Mix, Score, Softmax, Step
from mindport.validate.diagnose.scene import Alternative, Scene, rounded_to, shorter_formats
from mindport.validate.formula.operations import (
    merge_heads,
    scale_of,
    softmax,
    split_heads,
)
from mindport.validate.formula.validity import visible_keys

_MASKED = -5000.0  # a score below it was meant to be hidden; -10000 was BERT's first mask


def attention_alternatives(
    step: Step, inputs: Sequence[np.ndarray], scene: Scene
) -> Iterator[Alternative]:
    """Yield what a step of attention could have made of its inputs if it were wrong."""
    match step.operation:
        case Score() as operation:
            heads = int(scene.setting.config[operation.heads])
            yield from _scores(step, inputs[0], inputs[1], heads, scene)
        case Softmax() as operation:
            yield from _weights(inputs[0], operation.causal, scene)
        case Mix() as operation:
            yield from _context(inputs[0], inputs[1], scene, operation)


def _inside_out(states: np.ndarray, heads: int) -> np.ndarray:
    """Split the width as (head_dim, heads) and not as (heads, head_dim)."""
    batch, seq, width = states.shape
    return states.reshape(batch, seq, width // heads, heads).transpose(0, 3, 1, 2)


def _across(states: np.ndarray, heads: int) -> np.ndarray:
    """Cut (batch, seq, width) into (batch, heads, seq, head_dim) without swapping axes."""
    batch, seq, width = states.shape
    return states.reshape(batch, heads, seq, width // heads)


def _scores(
    step: Step, query: np.ndarray, key: np.ndarray, heads: int, scene: Scene
) -> Iterator[Alternative]:
    head_dim = query.shape[-1] // heads
    scale = scale_of(step, scene.setting, head_dim)
    q, k = split_heads(query, heads), split_heads(key, heads)
    raw = q @ k.swapaxes(-1, -2)
    width = query.shape[-1]
    for other, said in (
        (1.0, "the scores are not scaled"),
        (1 / head_dim, "the scores are scaled by 1/head_dim"),
        (scale / head_dim**0.5, "the scores are scaled twice"),
        (width**-0.5, "the scores are scaled by 1/sqrt(width)"),
        (head_dim**0.5, "the scores are multiplied by sqrt(head_dim)"),
        (heads**-0.5, "the scores are scaled by 1/sqrt(heads)"),
    ):
        if other != scale:
            yield Alternative("attention-scale", said, raw * other)
    for cut, said in (
        (_inside_out, "the width is split as (head_dim, heads)"),
        (_across, "the width is cut without swapping the axes"),
    ):
        both = scale * (cut(query, heads) @ cut(key, heads).swapaxes(-1, -2))
        yield Alternative("head-split-order", said, both)
        one = scale * (cut(query, heads) @ k.swapaxes(-1, -2))
        yield Alternative("head-split-order", f"{said}, for the query alone", one)
        one = scale * (q @ cut(key, heads).swapaxes(-1, -2))
        yield Alternative("head-split-order", f"{said}, for the key alone", one)
    flipped = scale * raw.swapaxes(-1, -2)
    yield Alternative("swapped-projections", "query and key are exchanged", flipped)
    backwards = scale * raw[..., ::-1]
    yield Alternative("other-input", "the keys run backwards", backwards)
    yield Alternative("other-input", "the heads of the key run backwards",
                      scale * (q @ k[:, ::-1].swapaxes(-1, -2)))  # fmt: skip
    for name in shorter_formats(scene.dtype):
        rounded = rounded_to(name)
        value = scale * (rounded(q) @ rounded(k).swapaxes(-1, -2))
        yield Alternative("reduced-precision", f"query and key are rounded to {name}", value)


def _weights(scores: np.ndarray, causal: bool, scene: Scene) -> Iterator[Alternative]:
    real = scene.setting.real
    shown = visible_keys(real, causal)
    everything = np.ones_like(shown)
    yield Alternative("padding-mask", "padding is attended",
                      softmax(scores, visible_keys(np.ones_like(real), causal)))  # fmt: skip
    if causal:
        future = visible_keys(real, causal=False)
        yield Alternative("causal-mask", "later keys are attended", softmax(scores, future))
        yield Alternative("causal-mask", "all keys are attended", softmax(scores, everything))
    finite = np.where(shown, scores, -np.inf)
    top = finite.max(-1, keepdims=True)
    powers = np.where(shown, np.exp(finite - top), 0.0)
    total = powers.sum(-1, keepdims=True)
    yield Alternative("softmax-axis", "the weights are not divided by their sum",
                      np.where(shown, np.exp(np.minimum(finite, 700)), 0.0))  # fmt: skip
    yield Alternative("softmax-axis", "the weights are divided by their sum plus 1",
                      powers / (total + np.exp(-top)))  # fmt: skip
    for axis, said in ((-2, "queries"), (1, "heads"), (0, "the batch")):
        yield Alternative("softmax-axis", f"the softmax runs over {said}", _along(scores, axis))
    for factor, said in ((2.0, "twice"), (0.5, "half")):
        yield Alternative("attention-scale", f"the softmax takes {said} the scores",
                          softmax(factor * scores, shown))  # fmt: skip


def _along(scores: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis, keepdims=True)
    return result


def _context(
    weights: np.ndarray, value: np.ndarray, scene: Scene, operation: Mix
) -> Iterator[Alternative]:
    heads = int(scene.setting.config[operation.heads])
    v = split_heads(value, heads)
    right = weights @ v
    batch, _, seq, head_dim = right.shape
    merged = (
        ("heads are merged as (head_dim, heads)",
         right.transpose(0, 2, 3, 1).reshape(batch, seq, heads * head_dim)),
        ("heads are merged without swapping the axes",
         right.reshape(batch, seq, heads * head_dim)),
        ("the heads run backwards", merge_heads(right[:, ::-1])),
        ("the value's width is split as (head_dim, heads)",
         merge_heads(weights @ _inside_out(value, heads))),
        ("the value's width is cut without swapping the axes",
         merge_heads(weights @ _across(value, heads))),
    )  # fmt: skip
    for said, array in merged:
        yield Alternative("head-split-order", said, array)
    turned = merge_heads(weights.swapaxes(-1, -2) @ v)
    yield Alternative("softmax-axis", "the weights are transposed", turned)
    even = np.broadcast_to(weights.sum(-1, keepdims=True) / seq, weights.shape)
    yield Alternative("missing-operation", "the weights are left out", merge_heads(even @ v))
    yield Alternative("missing-operation", "the result is the value", value)
    for name in shorter_formats(scene.dtype):
        rounded = rounded_to(name)
        yield Alternative("reduced-precision", f"weights and value are rounded to {name}",
                          merge_heads(rounded(weights) @ rounded(v)))  # fmt: skip
        yield Alternative("reduced-precision", f"the weights are rounded to {name}",
                          merge_heads(rounded(weights) @ v))  # fmt: skip


def mask_alternative(
    step: Step, inputs: Sequence[np.ndarray], found: np.ndarray, scene: Scene
) -> Alternative | None:
    """Return which mask the scores of the judged run show, or None if it is the right one.

    Args:
        step: Of the scores.
        inputs: Query and key, float64 (batch, seq, width).
        found: The judged run's scores, (batch, heads, query, key).
        scene: The surroundings.
    """
    operation = step.operation
    if not isinstance(operation, Score):
        return None
    heads = int(scene.setting.config[operation.heads])
    q, k = (split_heads(array, heads) for array in inputs)
    raw = scale_of(step, scene.setting, q.shape[-1]) * (q @ k.swapaxes(-1, -2))
    real = scene.setting.real
    shown = np.broadcast_to(visible_keys(real, operation.causal), found.shape)
    queries = np.broadcast_to(real[:, None, :, None], found.shape)
    seen = found > _MASKED
    shift = found - raw
    size = 1e-3 * (1 + np.abs(raw).max())

    def made(cause: str, said: str) -> Alternative:
        # What a query sees is as found: the mask was read off, the numbers are the formula's.
        return Alternative(cause, said, np.where(seen, raw, found))

    if (shift[queries] > -_MASKED).any():
        return made("mask-sign", "hidden keys are raised, not lowered")
    plain = np.abs(shift) > size
    small = plain & seen & queries
    if small.any():
        values = shift[small]
        if np.ptp(values) <= size and (shown[small].all() or not shown[small].any()):
            which = "seen" if shown[small].all() else "hidden"
            said = f"{float(np.median(values)):+.3g} is added to {which} keys, which hides nothing"
            shifted = np.where(small, raw + np.median(values), np.where(seen, raw, found))
            return Alternative("mask-sign", said, shifted)
    for cause, said, pattern in _masks(real, operation.causal):
        if np.array_equal(np.broadcast_to(pattern, found.shape)[queries], seen[queries]):
            return made(cause, said)
    wrong = (seen != shown) & queries
    if not wrong.any():
        return None
    seq = real.shape[1]
    later = np.broadcast_to(~np.tril(np.ones((seq, seq), bool)), found.shape)
    padded = np.broadcast_to(~real[:, None, None, :], found.shape)
    of_future = np.count_nonzero(wrong & later & ~padded)
    of_padding = np.count_nonzero(wrong & padded)
    if operation.causal and of_future >= of_padding and of_future:
        return made("causal-mask", f"{of_future} later keys are seen")
    if of_padding:
        return made("padding-mask", f"{of_padding} padded keys are seen")
    return made("padding-mask", f"{np.count_nonzero(wrong)} keys that should be seen are hidden")


def _masks(real: np.ndarray, causal: bool) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield cause, words and pattern of the masks that are mistaken for the right one."""
    seq = real.shape[1]
    keys = real[:, None, None, :]
    all_real = np.ones_like(keys)
    square = np.ones((seq, seq), bool)
    padding = (
        ("padding is attended", all_real),
        ("padding is attended, and nothing else", ~keys),
    )
    if not causal:
        for said, shown in padding:
            yield "padding-mask", said, np.broadcast_to(shown, (len(real), 1, seq, seq))
        for n in (1, -1):
            rolled = np.roll(real, n, axis=1)[:, None, None, :]
            said = f"the padding mask is shifted by {n:+d}"
            yield "padding-mask", said, np.broadcast_to(rolled, (len(real), 1, seq, seq))
        yield "causal-mask", "a causal mask is applied", np.tril(square) & keys
        return
    for said, shown in padding:
        yield "padding-mask", said, np.tril(square) & shown
    for n in (1, -1):
        rolled = np.roll(real, n, axis=1)[:, None, None, :]
        yield "padding-mask", f"the padding mask is shifted by {n:+d}", np.tril(square) & rolled
    triangles = (
        ("later keys are seen", square),
        ("the next key is seen as well", np.tril(square, 1)),
        ("the two next keys are seen as well", np.tril(square, 2)),
        ("a token does not see itself", np.tril(square, -1)),
        ("a token sees neither itself nor the one before", np.tril(square, -2)),
        ("the mask is turned round", np.triu(square)),
        ("the mask is turned round, without itself", np.triu(square, 1)),
    )
    for said, triangle in triangles:
        yield "causal-mask", said, triangle & keys
        yield "causal-mask", f"{said}, padding too", triangle & all_real
