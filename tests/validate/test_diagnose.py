"""One wrong step in a small network: it is found, and what is wrong with it is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from mindport.migrate.architecture import Kind
from mindport.validate.diagnose.causes import CAUSES, UNKNOWN
from mindport.validate.diagnose.diagnosis import diagnose
from mindport.validate.diagnose.scene import rounded_to
from mindport.validate.formula.activations import ACTIVATIONS
from mindport.validate.formula.operations import (
    evaluate,
    lookups,
    part_bias,
    part_matrix,
    scale_of,
    softmax,
    split_heads,
    sum_of,
)
from mindport.validate.formula.validity import visible_keys
from mindport.validate.tap_results import compare_captures, first_fault
from mindport.validate.tolerance import choose_policy
from tests.validate.small import hidden

HEADS = {"gpt2": "lm", "bert": "pretraining"}


def rng():
    return np.random.default_rng(7)


# What a wrong step does: (step, inputs, setting) -> value.


def projected(matrix=None, bias=None, inputs=None):
    """Return a projection with something of it changed, each given as a function of it."""

    def wrong(step, given, setting):
        m, b = part_matrix(step.operation, setting), part_bias(step.operation, setting)
        x = given[0] if inputs is None else inputs(given[0])
        return x @ (m if matrix is None else matrix(m)) + (b if bias is None else bias(b))

    return wrong


def normed(change):
    """Return a norm that is written by hand: change(x, eps, scale, shift)."""

    def wrong(step, given, setting):
        owner = step.operation.module
        scale, shift = (
            setting.weights.get(owner, kind) for kind in (Kind.NORM_WEIGHT, Kind.NORM_BIAS)
        )
        return change(given[0], float(setting.config[step.operation.eps]), scale, shift)

    return wrong


def unit(x, eps, over=0):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).sum(-1, keepdims=True) / (x.shape[-1] - over) + eps)


def after(change):
    """Return a step whose result is changed."""
    return lambda step, given, setting: change(evaluate(step, given, setting))


def instead(function):
    return lambda step, given, setting: function(*given)


def of_another(net, tap):
    """Return a step with the operation of another one."""
    other = net.step(tap)
    return lambda step, given, setting: evaluate(replace(other, tap=step.tap), given, setting)


def with_ids(name, change):
    """Return a lookup of other ids."""

    def wrong(step, given, setting):
        inputs = {**setting.inputs, name: change(setting.inputs[name])}
        return evaluate(step, given, replace(setting, inputs=inputs))

    return wrong


def without(name):
    def wrong(step, given, setting):
        rows = zip(step.operation.tables, lookups(step.operation, setting), strict=True)
        return sum_of([row for (_, ids), row in rows if ids != name])

    return wrong


def table_row(step, given, setting):
    value = evaluate(step, given, setting)
    value[setting.inputs["input_ids"] == setting.inputs["input_ids"][0, 3]] += 0.1
    return value


def scored(change, masked=None):
    """Return scores by hand: change(q, k, scale), then the mask masked(real)."""

    def wrong(step, given, setting):
        q, k = (split_heads(a, 4) for a in given)
        value = change(q, k, scale_of(step, setting, q.shape[-1]))
        if masked is None:
            return hidden(step, value, setting, "float32")
        return np.where(masked(setting.real), value, -3e38)

    return wrong


def plain_scores(q, k, scale):
    return scale * (q @ k.swapaxes(-1, -2))


def seen_by(step, given, setting):
    """Return the weights of what the scores do not hide, whichever mask that is."""
    return softmax(given[0], given[0] > -1e30)


def masks(masked, block=1):
    return {
        f"block.{block}.scores": scored(plain_scores, masked),
        f"block.{block}.weights": seen_by,
    }


def added_as_a_number(step, given, setting):
    """Return scores from which 1 is taken where -infinity is due."""
    value = evaluate(step, given, setting)
    return value - ~np.broadcast_to(setting.visible(step.operation.causal), value.shape)


def inside_out(states):
    """Split the width as (head_dim, heads)."""
    batch, heads, seq, size = states.shape
    flat = states.swapaxes(1, 2).reshape(batch, seq, heads * size)
    return flat.reshape(batch, seq, size, heads).transpose(0, 3, 1, 2)


def by_head(net, number):
    """Return query, key or value from a fused matrix whose columns alternate by head."""

    def wrong(step, given, setting):
        weights = setting.weights
        columns = np.arange(96).reshape(4, 3, 8)[:, number].ravel()
        matrix = weights.matrix(f"h.{step.layer}.attn.c_attn", Kind.CONV1D)[:, columns]
        bias = weights.get(f"h.{step.layer}.attn.c_attn", Kind.BIAS)[columns]
        return given[0] @ matrix + bias

    return wrong


def dropped(value):
    return np.where(rng().random(value.shape) < 0.1, 0.0, value / 0.9)


def column(matrix):
    matrix = matrix.copy()
    matrix[:, 5] += 0.01 * rng().standard_normal(len(matrix))
    return matrix


def anything(matrix):
    return rng().standard_normal(matrix.shape) * matrix.std()


def some(bias):
    return bias + np.where(np.arange(len(bias)) % 7 == 0, 0.05, 0.0)


def other_reader(net, tap):
    """Return a step that reads another tap than it should; found in what it was given before."""
    return lambda step, given, setting: evaluate(step, [net.seen[tap]], setting)


@dataclass(frozen=True)
class Fault:
    """A wrong step.

    Attributes:
        architecture: Of the network.
        tap: Where the fault is to be found.
        cause: What it is to be called.
        make: From the network to the wrong steps by tap; or one wrong step, at ``tap``.
        others: How many taps are at fault beside it.
    """

    architecture: str
    tap: str
    cause: str
    make: Callable
    others: int = 0
    whole: bool = False

    def steps(self, net):
        return self.make(net) if self.whole else {self.tap: self.make}


def real_square(real):
    seq = real.shape[1]
    return np.ones((seq, seq), bool) & real[:, None, None, :]


def rolled(real):
    return visible_keys(np.roll(real, -1, axis=1), causal=True)


def shifted_square(real):
    seq = real.shape[1]
    return np.tril(np.ones((seq, seq), bool), 1) & real[:, None, None, :]


def all_square(real):
    return np.ones((len(real), 1, real.shape[1], real.shape[1]), bool)


def bidirectional_causal(real):
    return visible_keys(real, causal=True)


EPS = 1e-3
FAULTS = [
    # weights
    Fault("gpt2", "block.1.attention", "transposed-weight", projected(lambda m: m.T)),
    Fault("bert", "block.2.query", "transposed-weight", projected(lambda m: m.T)),
    Fault("bert", "block.1.up", "transposed-weight",
          projected(lambda m: np.ascontiguousarray(m).reshape(m.shape[::-1]).T)),
    Fault("gpt2", "block.1.query", "swapped-projections",
          lambda n: {"block.1.query": of_another(n, "block.1.key"),
                     "block.1.key": of_another(n, "block.1.query")}, 1, True),
    Fault("bert", "block.0.value", "swapped-projections",
          lambda n: {"block.0.value": of_another(n, "block.0.key")}, 0, True),
    Fault("gpt2", "block.1.query", "fused-order",
          lambda n: {f"block.1.{t}": by_head(n, i)
                     for i, t in enumerate(("query", "key", "value"))}, 2, True),
    Fault("gpt2", "block.1.up", "other-layer",
          lambda n: {"block.1.up": of_another(n, "block.2.up")}, 0, True),
    Fault("bert", "block.2.attention", "other-layer",
          lambda n: {"block.2.attention": of_another(n, "block.0.attention")}, 0, True),
    Fault("gpt2", "block.1.mlp", "missing-bias", projected(bias=lambda b: 0 * b)),
    Fault("gpt2", "block.1.norm_2", "missing-bias", normed(lambda x, e, a, b: unit(x, e) * a)),
    Fault("bert", "logits", "missing-bias", projected(bias=lambda b: 0 * b)),
    Fault("gpt2", "block.1.up", "changed-bias", projected(bias=some)),
    Fault("bert", "block.0", "changed-bias",
          normed(lambda x, e, a, b: unit(x, e) * a + some(b))),
    Fault("gpt2", "block.1.key", "changed-weight", projected(column)),
    Fault("gpt2", "embeddings", "changed-weight", table_row),
    Fault("bert", "block.1.projection", "random-weight", projected(anything)),
    Fault("gpt2", "logits", "untied-head",
          lambda step, given, setting: given[0] @ anything(part_matrix(step.operation, setting))),
    Fault("gpt2", "block.1.mlp", "scaled", after(lambda v: 1.5 * v)),
    Fault("bert", "embeddings.sum", "scaled", lambda step, given, setting: sum_of(
        [row * (32**0.5 if n == 0 else 1)
         for n, row in enumerate(lookups(step.operation, setting))])),
    Fault("gpt2", "block.0.norm_1", "swapped-norm-parameters",
          normed(lambda x, e, a, b: unit(x, e) * b + a)),
    Fault("bert", "embeddings", "missing-norm-weight",
          normed(lambda x, e, a, b: unit(x, e) + b)),
    # arithmetic
    Fault("gpt2", "block.1.activation", "other-activation", instead(ACTIVATIONS["gelu"])),
    Fault("bert", "block.2.activation", "other-activation", instead(ACTIVATIONS["gelu_new"])),
    Fault("bert", "pooler", "missing-operation", instead(lambda x: x)),
    Fault("gpt2", "final_norm", "norm-eps", normed(lambda x, e, a, b: unit(x, EPS) * a + b)),
    Fault("bert", "block.1.attention", "norm-eps",
          normed(lambda x, e, a, b: unit(x, 3.7e-2) * a + b)),
    Fault("gpt2", "block.2.norm_1", "norm-form", normed(lambda x, e, a, b: unit(x, e, 1) * a + b)),
    Fault("bert", "head.norm", "norm-form",
          normed(lambda x, e, a, b: x / np.sqrt((x**2).mean(-1, keepdims=True) + e) * a + b)),
    Fault("gpt2", "block.1.scores", "attention-scale",
          scored(lambda q, k, s: plain_scores(q, k, 1.0))),
    Fault("bert", "block.1.scores", "attention-scale",
          scored(lambda q, k, s: 0.9 * plain_scores(q, k, s))),
    Fault("gpt2", "block.1.scores", "head-split-order",
          scored(lambda q, k, s: plain_scores(inside_out(q), inside_out(k), s))),
    Fault("gpt2", "block.1.scores", "causal-mask", lambda n: masks(real_square), 1, True),
    Fault("gpt2", "block.1.scores", "causal-mask", lambda n: masks(shifted_square), 1, True),
    Fault("bert", "block.1.scores", "causal-mask", lambda n: masks(bidirectional_causal), 0, True),
    Fault("gpt2", "block.1.scores", "padding-mask", lambda n: masks(rolled), 0, True),
    Fault("bert", "block.1.scores", "padding-mask", lambda n: masks(all_square), 1, True),
    Fault("gpt2", "block.1.scores", "mask-sign",
          lambda n: {"block.1.scores": added_as_a_number, "block.1.weights": seen_by}, 1, True),
    Fault("gpt2", "block.1.weights", "softmax-axis",
          instead(lambda s: np.exp(np.maximum(s, -700)) * (s > -1e30))),
    Fault("gpt2", "block.1.context", "head-split-order",
          lambda step, given, setting: (given[0] @ split_heads(given[1], 4)).reshape(
              given[1].shape)),
    Fault("gpt2", "embeddings", "position-offset", with_ids("position_ids", lambda p: p + 1)),
    Fault("bert", "embeddings.sum", "position-offset", without("position_ids")),
    Fault("gpt2", "embeddings", "token-offset",
          with_ids("input_ids", lambda i: np.minimum(i + 1, 95))),
    Fault("bert", "embeddings.sum", "token-types-ignored",
          with_ids("token_type_ids", np.zeros_like)),
    Fault("gpt2", "block.1.residual", "norm-placement", lambda step, given, setting:
          unit(given[0], 1e-5) * setting.weights.get("h.1.ln_1", Kind.NORM_WEIGHT)
          + setting.weights.get("h.1.ln_1", Kind.NORM_BIAS) + given[1]),
    Fault("gpt2", "block.1.norm_1", "missing-norm", instead(lambda x: x)),
    Fault("gpt2", "block.1", "missing-residual", instead(lambda a, b: b)),
    Fault("bert", "block.1.residual", "missing-residual", instead(lambda a, b: a)),
    Fault("gpt2", "block.1.activation", "missing-operation", instead(lambda x: x)),
    Fault("bert", "pooler.dense", "other-input", lambda step, given, setting: evaluate(
        step, [np.roll(given[0], -1, axis=1)], setting)),
    Fault("gpt2", "block.1.mlp", "dropout-on", after(dropped)),
    Fault("gpt2", "block.1.up", "reduced-precision", projected(rounded_to("bfloat16"))),
    Fault("bert", "block.1.up", "reduced-precision", projected(
        rounded_to("tf32"), inputs=rounded_to("tf32"))),
]  # fmt: skip
NOT_MADE = {UNKNOWN}


@pytest.fixture(scope="module")
def nets(small):
    return {name: small(name, head) for name, head in HEADS.items()}


@pytest.fixture(scope="module")
def references(nets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    return {name: net.capture(folder / name, net.run(seed=1), oracle=True)
            for name, net in nets.items()}  # fmt: skip


@pytest.fixture
def verdict(nets, references, tmp_path):
    """Judge a run; return its tap results and the diagnosis."""

    def make(architecture, taps, required=None, **manifest):
        net = nets[architecture]
        candidate = net.capture(tmp_path / "c", taps, **manifest)
        network = net.network
        results = tuple(
            compare_captures(
                references[architecture], candidate, network.steps, network.setting,
                choose_policy("float32", None, None, None),
                required=net.case.taps if required is None else required,
                details=network.details,
            )
        )  # fmt: skip
        return results, diagnose(
            results, candidate, network.steps, network.setting, "float32", network.tied
        )

    return make


@pytest.mark.parametrize(
    "fault", FAULTS, ids=[f"{f.architecture}-{f.tap}-{f.cause}-{n}" for n, f in enumerate(FAULTS)]
)
def test_a_wrong_step_is_found_and_named(nets, verdict, fault):
    net = nets[fault.architecture]
    results, diagnosis = verdict(fault.architecture, net.run(fault.steps(net), seed=2))
    assert first_fault(results).name == fault.tap
    at_fault = [tap.name for tap in results if tap.own_fault]
    assert len(at_fault) == 1 + fault.others, at_fault
    found = next(d for d in diagnosis if d.tap == fault.tap)
    assert (found.cause, found.confirmed) == (fault.cause, True), found
    assert found.detail
    assert 0 <= found.explained <= 1


def test_every_cause_is_tried():
    assert {fault.cause for fault in FAULTS} | NOT_MADE == set(CAUSES)


@pytest.mark.parametrize("architecture", HEADS)
@pytest.mark.parametrize("seed", [2, 3])
def test_a_correct_run_needs_no_diagnosis(nets, verdict, architecture, seed):
    results, diagnosis = verdict(architecture, nets[architecture].run(seed=seed, noise=1.0))
    assert all(tap.ok for tap in results)
    assert diagnosis == ()


def test_what_nothing_fits_is_unknown(nets, verdict):
    """Noise on the context is no function of anything: no cause may be made up for it."""
    taps = nets["gpt2"].run(
        {"block.1.context": after(lambda v: v + rng().standard_normal(v.shape))}, seed=2
    )
    results, diagnosis = verdict("gpt2", taps)
    assert first_fault(results).name == "block.1.context"
    (found,) = diagnosis
    assert (found.cause, found.confirmed, found.explained) == (UNKNOWN, False, 0.0)


def test_values_that_are_not_finite_are_unknown(nets, verdict):
    taps = nets["gpt2"].run(seed=2)
    taps["block.1.up"][0, 0, 0] = np.inf
    _, diagnosis = verdict("gpt2", taps)
    found = next(d for d in diagnosis if d.tap == "block.1.up")
    assert (found.cause, found.confirmed) == (UNKNOWN, False)
    assert "not finite" in found.detail


def test_a_run_that_is_not_deterministic_has_dropout_on(nets, verdict):
    """Noise that no formula explains, but that was other noise when run again."""
    taps = nets["bert"].run(
        {"block.1.mlp": after(lambda v: v + rng().standard_normal(v.shape))}, seed=2
    )
    _, diagnosis = verdict("bert", taps, unstable=("block.1.mlp", "block.1.sum", "block.1"))
    (found,) = diagnosis
    assert (found.tap, found.cause, found.confirmed) == ("block.1.mlp", "dropout-on", True)
    assert "another result when run again" in found.detail


def test_the_same_fault_in_every_block_is_said_once(nets, verdict):
    wrong = {f"block.{i}.norm_1": normed(lambda x, e, a, b: unit(x, EPS) * a + b) for i in range(3)}
    results, diagnosis = verdict("gpt2", nets["gpt2"].run(wrong, seed=2))
    assert [tap.name for tap in results if tap.own_fault] == list(wrong)
    (found,) = diagnosis
    assert (found.tap, found.cause, found.confirmed) == ("block.0.norm_1", "norm-eps", True)
    assert found.also == ("block.1.norm_1", "block.2.norm_1")


def test_two_faults_are_both_named(nets, verdict):
    wrong = {
        "block.0.activation": instead(ACTIVATIONS["relu"]),
        "block.2.attention": projected(lambda m: m.T),
    }
    _, diagnosis = verdict("gpt2", nets["gpt2"].run(wrong, seed=2))
    assert [(d.tap, d.cause, d.confirmed) for d in diagnosis] == [
        ("block.0.activation", "other-activation", True),
        ("block.2.attention", "transposed-weight", True),
    ]


@pytest.mark.parametrize(
    ("tap", "wrong", "cause"),
    [
        ("block.1.scores", scored(lambda q, k, s: plain_scores(q, k, 1.0)), "attention-scale"),
        ("block.1.activation", instead(ACTIVATIONS["relu"]), "other-activation"),
        ("block.1.norm_2", normed(lambda x, e, a, b: unit(x, e) * a), "missing-bias"),
        ("block.1.value", projected(lambda m: m.T), "transposed-weight"),
    ],
)
def test_a_fault_between_blocks_taps_is_named_at_the_next_tap(nets, verdict, tap, wrong, cause):
    """A coarse capture has no tap of the operation; its cause shows through what follows."""
    net = nets["gpt2"]
    coarse = [name for name in net.case.taps if name not in net.network.details]
    taps = net.run({tap: wrong}, seed=2)
    results, diagnosis = verdict("gpt2", {name: taps[name] for name in coarse}, required=coarse)
    shown = (
        "block.1.mlp" if tap in ("block.1.activation", "block.1.norm_2") else "block.1.attention"
    )
    assert first_fault(results).name == shown
    (found,) = diagnosis
    assert (found.tap, found.cause, found.confirmed) == (shown, cause, True)
    assert f"in {tap}: " in found.detail
