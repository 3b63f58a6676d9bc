"""From faulty taps to causes: try every hypothesis, keep the one that makes the error vanish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mindport.migrate.computation import Step
from mindport.validate.capture import Capture
from mindport.validate.departures.known import DEPARTURES
from mindport.validate.diagnose.alternatives import alternatives
from mindport.validate.diagnose.causes import UNKNOWN
from mindport.validate.diagnose.fits import fits
from mindport.validate.diagnose.scene import Alternative, Scene
from mindport.validate.emulation.units import find_unit
from mindport.validate.expectation import tap_reader
from mindport.validate.formula.chain import chain_to, inputs_of, run_chain
from mindport.validate.formula.operations import Setting
from mindport.validate.formula.rounding import PRECISIONS, rounding_variance
from mindport.validate.formula.validity import valid_elements
from mindport.validate.metrics import errors_of, rms
from mindport.validate.tolerance import Limits, isolated_limits
from mindport.validate.verdict import Diagnosis, TapResult

_MOST = 24  # taps that are examined; a fault in every block shows in as many
_SLACK = 2.0  # a hypothesis is held to twice the limits: its own rounding differs a little
_WORTH = 0.3  # a hypothesis that explains less of an error is not worth a word


def diagnose(
    taps: Sequence[TapResult],
    candidate: Capture,
    steps: Sequence[Step],
    setting: Setting,
    dtype: str,
    tied: frozenset[str] = frozenset(),
    *,
    matmul: str | None = None,
) -> tuple[Diagnosis, ...]:
    """Return why the taps at fault are wrong, equal causes together.

    Args:
        taps: Results in network order.
        candidate: The judged run.
        steps: Of the head, filled in.
        setting: Config, model inputs and parameters of the reference.
        dtype: Of the run.
        tied: Modules of matrices that are the embeddings'.
        matmul: The matrix unit that may have rounded the products, or None.
    """
    read = tap_reader(candidate)

    def wide(name: str) -> np.ndarray | None:
        array = read(name)
        if array is None or not np.isfinite(array).all():
            return None
        return array.astype(np.float64)

    precision = find_unit(matmul).precision if matmul else PRECISIONS[dtype]
    unstable = frozenset(candidate.manifest.unstable)
    ran = candidate.manifest.identity
    acceptable = frozenset(
        name for name, one in DEPARTURES.items() if one.known_of(ran.framework, ran.device, dtype)
    )
    scene = Scene(steps, setting, wide, dtype, tied, unstable, precision, acceptable)
    faulty = [tap for tap in taps if not tap.ok and tap.own_fault][:_MOST]
    if not faulty:
        return ()
    return _together([_examine(tap, scene) for tap in faulty])


def _together(found: Sequence[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Join diagnoses of the same cause at the same place of several blocks."""
    joined: dict[tuple[str, str, bool], Diagnosis] = {}
    for one in found:
        place = ".".join(part for part in one.tap.split(".") if not part.isdigit())
        key = (place, one.cause, one.confirmed)
        if key in joined and one.cause != UNKNOWN:
            first = joined[key]
            joined[key] = replace(first, also=(*first.also, one.tap))
        else:
            joined[key if key not in joined else (one.tap, *key[1:])] = one
    return tuple(joined.values())


@dataclass(frozen=True)
class _Question:
    """A tap to be explained.

    Attributes:
        found: What the judged run has there, float64.
        expected: What the formula makes of the run's own inputs.
        deviation: Predicted by rounding, of each element.
        valid: Which elements count.
        limits: Of the statistics.
    """

    found: np.ndarray
    expected: np.ndarray
    deviation: np.ndarray
    valid: np.ndarray
    limits: Limits

    def left(self, value: np.ndarray) -> tuple[bool, float]:
        """Return whether a value agrees with what was found, and the error that is left (rms)."""
        # A larger value has larger rounding errors.
        size = np.abs(value) / np.maximum(np.abs(self.expected), 1e-3 * rms(self.expected) + 1e-30)
        deviation = self.deviation * np.clip(size, 1.0, 1e3)
        whole = rms(value[self.valid]) / (rms(self.expected[self.valid]) + 1e-30)
        errors = errors_of(
            self.found, value, deviation * np.clip(whole, 1.0, 1e3), self.valid, self.limits
        )
        return errors.ok, errors.absolute


def _examine(tap: TapResult, scene: Scene) -> Diagnosis:
    step = scene.step(tap.name)
    found = scene.tap(tap.name)
    if found is None:
        return Diagnosis(tap.name, UNKNOWN, False, "it holds values that are not finite", 0.0)
    chain = chain_to(step, scene.steps, lambda name: scene.tap(name) is not None)
    if tap.name in scene.unstable and not set(step.inputs) & scene.unstable:
        said = "the same inputs gave another result when run again"
        return Diagnosis(tap.name, "dropout-on", True, said, 1.0)
    values = run_chain(chain, {}, scene.tap, scene.setting)
    expected = values[step.tap]
    if expected.shape != found.shape:
        return Diagnosis(tap.name, UNKNOWN, False, "it has another shape", 0.0)
    valid = valid_elements(step, scene.setting.real, found.shape)
    question = _question(step, chain, values, found, valid, scene)
    total = rms((found - expected)[valid])
    best: Diagnosis | None = None
    for item in _hypotheses(step, chain, values, found, valid, scene):
        if item.value.shape != found.shape or not np.isfinite(item.value[valid]).all():
            continue
        agrees, left = question.left(item.value)
        explained = 1 - left / total if total else 0.0
        # Where a mask is wrong the visible scores may agree: there is nothing to explain but it.
        if agrees and (explained >= _WORTH or total == 0 or "mask" in item.cause):
            if item.certain:
                return Diagnosis(tap.name, item.cause, True, item.detail, max(explained, 0.0))
            explained = max(explained, _WORTH)
        if explained >= _WORTH and (best is None or explained > best.explained + 0.05):
            best = Diagnosis(tap.name, item.cause, False, item.detail, explained)
    return best or Diagnosis(tap.name, UNKNOWN, False, "no tested cause explains it", 0.0)


def _question(
    step: Step,
    chain: Sequence[Step],
    values: dict[str, np.ndarray],
    found: np.ndarray,
    valid: np.ndarray,
    scene: Scene,
) -> _Question:
    inputs = inputs_of(step, values, scene.tap)
    variance = rounding_variance(step, inputs, values[step.tap], scene.setting, scene.precision)
    # Errors of the steps before are carried into the last one, at most a few times larger each.
    deviation = np.sqrt(variance) * (1 if len(chain) == 1 else 8 * len(chain) ** 0.5)
    elements = int(np.count_nonzero(np.broadcast_to(
        valid.reshape(valid.shape + (1,) * (found.ndim - valid.ndim)), found.shape)))  # fmt: skip
    limits = isolated_limits(elements)
    limits = Limits(_SLACK * limits.rms, _SLACK * limits.peak)
    return _Question(found, values[step.tap], deviation, valid, limits)


def _hypotheses(
    step: Step,
    chain: Sequence[Step],
    values: dict[str, np.ndarray],
    found: np.ndarray,
    valid: np.ndarray,
    scene: Scene,
) -> Iterator[Alternative]:
    inputs = inputs_of(step, values, scene.tap)
    if len(chain) == 1:
        yield from alternatives(step, inputs, scene)
        yield from fits(step, inputs, found, values[step.tap], valid, scene)
        return
    for member in chain:
        given = inputs_of(member, values, scene.tap)
        for item in alternatives(member, given, scene):
            if item.value.shape != values[member.tap].shape:
                continue
            after = run_chain(chain, {member.tap: item.value}, scene.tap, scene.setting)
            detail = item.detail if member is step else f"in {member.tap}: {item.detail}"
            yield replace(item, detail=detail, value=after[step.tap])
    yield from fits(step, inputs, found, values[step.tap], valid, scene)
