"""The formula against definitions written out, and its rounding errors against plain loops."""

from __future__ import annotations

import math
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

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
    position_axes,
)
from mindport.validate.formula.activations import ACTIVATIONS, erf
from mindport.validate.formula.operations import (
    evaluate,
    last_token,
    merge_heads,
    scale_of,
    softmax,
    split_heads,
)
from mindport.validate.formula.rounding import PRECISIONS, rounding_variance
from mindport.validate.formula.validity import valid_elements, visible_keys
from mindport.validate.metrics import rms

DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def gpt2(small):
    return small("gpt2", "lm", batch=3, length=14)


@pytest.fixture(scope="module")
def bert(small):
    return small("bert", "pretraining", batch=3, length=14)


class TestActivations:
    X = np.linspace(-6, 6, 241)

    def test_erf_is_the_integral_that_it_is_defined_as(self):
        nodes, weights = np.polynomial.legendre.leggauss(60)
        for x in (-3.0, -0.4, 0.0, 0.7, 2.5):
            integral = x / 2 * np.sum(weights * np.exp(-((x / 2 * (nodes + 1)) ** 2)))
            assert erf(np.array([x]))[0] == pytest.approx(2 / np.sqrt(np.pi) * integral, abs=1e-14)
        assert erf(np.zeros((2, 3))).shape == (2, 3)

    @pytest.mark.parametrize(
        ("name", "definition"),
        [
            ("gelu", lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
            ("gelu_new", lambda x: x / 2 * (
                1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
            ("quick_gelu", lambda x: x / (1 + math.exp(-1.702 * x))),
            ("relu", lambda x: x if x > 0 else 0.0),
            ("silu", lambda x: x / (1 + math.exp(-x))),
            ("tanh", lambda x: 2 / (1 + math.exp(-2 * x)) - 1),
            ("sigmoid", lambda x: 1 / (1 + math.exp(-x))),
        ],
    )  # fmt: skip
    def test_definitions(self, name, definition):
        expected = [definition(x) for x in self.X]
        np.testing.assert_allclose(ACTIVATIONS[name](self.X), expected, rtol=1e-13, atol=1e-15)

    def test_all_are_defined_here(self):
        (marker,) = [m for m in self.test_definitions.pytestmark if m.name == "parametrize"]
        assert {name for name, _ in marker.args[1]} == set(ACTIVATIONS)


class TestWeights:
    def test_matrices_come_as_in_out_whatever_their_kind(self, gpt2, bert):
        fused = gpt2.network.setting.weights.matrix("h.0.attn.c_attn", Kind.CONV1D)
        assert fused.shape == (32, 96)
        up = bert.network.setting.weights
        stored = up.get("encoder.layer.0.intermediate.dense", Kind.LINEAR)
        assert stored.shape == (64, 32)
        assert np.array_equal(
            up.matrix("encoder.layer.0.intermediate.dense", Kind.LINEAR), stored.T
        )

    def test_a_tied_head_is_the_embedding(self, gpt2):
        weights = gpt2.network.setting.weights
        table = weights.get("wte", Kind.EMBEDDING)
        assert np.array_equal(weights.get("lm_head", Kind.LINEAR), table)
        assert gpt2.network.tied == {"lm_head"}

    def test_an_untied_head_is_not(self, small):
        net = small("gpt2", "lm", config={"tie_word_embeddings": False})
        weights = net.network.setting.weights
        table = weights.get("wte", Kind.EMBEDDING)
        assert not np.allclose(weights.get("lm_head", Kind.LINEAR), table)
        assert net.network.tied == frozenset()

    def test_names_are_found_with_and_without_the_prefix(self, bert):
        weights = bert.network.setting.weights
        names = ("bert.pooler.dense", "pooler.dense")
        assert np.array_equal(*(weights.get(name, Kind.BIAS) for name in names))
        assert weights.has("pooler.dense", Kind.BIAS)
        assert not weights.has("pooler.dense", Kind.NORM_BIAS)
        with pytest.raises(KeyError):
            weights.get("pooler.dense", Kind.NORM_BIAS)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_they_are_rounded_to_the_dtype_and_widened(self, small, dtype):
        wide = small("gpt2", "lm").network.setting.weights.get("wte", Kind.EMBEDDING)
        got = small("gpt2", "lm", dtype=dtype).network.setting.weights.get("wte", Kind.EMBEDDING)
        assert got.dtype == np.float64
        assert np.array_equal(got, wide.astype(DTYPES[dtype]).astype(np.float64))
        assert np.array_equal(got, wide) == (dtype == "float32")


class TestSteps:
    """Each operation in loops over rows, written down apart from the formula."""

    def test_lookup(self, bert):
        value, weights = bert.exact()["embeddings.sum"], bert.network.setting.weights
        words, kinds, places = (
            weights.get(f"embeddings.{name}_embeddings", Kind.EMBEDDING)
            for name in ("word", "token_type", "position")
        )
        for b in range(3):
            for t in range(14):
                expected = (
                    words[bert.inputs["input_ids"][b, t]]
                    + kinds[bert.inputs["token_type_ids"][b, t]] + places[t]
                )  # fmt: skip
                np.testing.assert_allclose(value[b, t], expected, rtol=1e-14)

    def test_norm(self, gpt2):
        taps, weights = gpt2.exact(), gpt2.network.setting.weights
        x = taps["embeddings"][1, 4]
        mean = sum(x) / 32
        variance = sum((v - mean) ** 2 for v in x) / 32
        scale, shift = (weights.get("h.0.ln_1", k) for k in (Kind.NORM_WEIGHT, Kind.NORM_BIAS))
        expected = (x - mean) / math.sqrt(variance + 1e-5) * scale + shift
        np.testing.assert_allclose(taps["block.0.norm_1"][1, 4], expected, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize(("tap", "number"), [("query", 0), ("key", 1), ("value", 2)])
    def test_part_of_a_fused_projection(self, gpt2, tap, number):
        taps, weights = gpt2.exact(), gpt2.network.setting.weights
        matrix = weights.matrix("h.2.attn.c_attn", Kind.CONV1D)
        bias = weights.get("h.2.attn.c_attn", Kind.BIAS)
        x = taps["block.2.norm_1"][0, 3]
        for column in (0, 31):
            place = 32 * number + column
            expected = sum(x[k] * matrix[k, place] for k in range(32)) + bias[place]
            assert taps[f"block.2.{tap}"][0, 3, column] == pytest.approx(expected, rel=1e-12)

    def test_attention(self, gpt2):
        taps = gpt2.exact()
        q, k, v = (taps[f"block.1.{name}"] for name in ("query", "key", "value"))
        b, head, t = 2, 3, 5
        part = slice(8 * head, 8 * head + 8)
        scores = [q[b, t, part] @ k[b, u, part] / math.sqrt(8) for u in range(t + 1)]
        np.testing.assert_allclose(taps["block.1.scores"][b, head, t, : t + 1], scores, rtol=1e-12)
        powers = [math.exp(s) for s in scores]
        weights = np.array(powers) / sum(powers)
        np.testing.assert_allclose(
            taps["block.1.weights"][b, head, t, : t + 1], weights, rtol=1e-12
        )
        assert (taps["block.1.weights"][b, head, t, t + 1 :] == 0).all()
        context = sum(w * v[b, u, part] for u, w in enumerate(weights))
        np.testing.assert_allclose(taps["block.1.context"][b, t, part], context, rtol=1e-12)

    def test_sum_and_activation(self, bert):
        taps = bert.exact()
        total = taps["block.0.projection"] + taps["embeddings"]
        assert np.array_equal(taps["block.0.residual"], total)
        assert np.array_equal(taps["block.0.activation"], ACTIVATIONS["gelu"](taps["block.0.up"]))
        assert np.array_equal(taps["pooler"], np.tanh(taps["pooler.dense"]))

    def test_the_pooler_reads_the_first_token(self, bert):
        taps, weights = bert.exact(), bert.network.setting.weights
        matrix = weights.matrix("pooler.dense", Kind.LINEAR)
        expected = taps["block.2"][:, 0] @ matrix + weights.get("pooler.dense", Kind.BIAS)
        assert np.array_equal(taps["pooler.dense"], expected)

    def test_the_classifier_reads_the_last_token(self, small):
        net = small("gpt2", "sequence-classification", batch=4, length=14)
        lengths = net.inputs["attention_mask"].sum(1)
        assert np.array_equal(last_token(net.network.setting), lengths - 1)
        taps = net.exact()
        matrix = net.network.setting.weights.matrix("score", Kind.LINEAR)
        rows = taps["final_norm"][np.arange(4), lengths - 1]
        np.testing.assert_allclose(taps["logits"], rows @ matrix, rtol=1e-12)

    @pytest.mark.parametrize(
        ("config", "expected"),
        [
            ({}, 8**-0.5),
            ({"scale_attn_weights": False}, 1.0),
            ({"scale_attn_by_inverse_layer_idx": True}, 8**-0.5 / 3),
        ],
    )
    def test_scale(self, small, config, expected):
        net = small("gpt2", "lm", config=config)
        assert scale_of(net.step("block.2.scores"), net.network.setting, 8) == pytest.approx(
            expected
        )
        with pytest.raises(TypeError, match=r"block\.2\.up"):
            scale_of(net.step("block.2.up"), net.network.setting, 8)

    def test_a_query_that_sees_nothing_has_even_weights(self):
        weights = softmax(RNG.standard_normal((1, 1, 2, 4)), np.zeros((1, 1, 2, 4), bool))
        assert np.array_equal(weights, np.full((1, 1, 2, 4), 0.25))

    def test_heads_are_split_and_merged(self):
        states = RNG.standard_normal((2, 5, 12))
        split = split_heads(states, 3)
        assert split.shape == (2, 3, 5, 4)
        assert np.array_equal(split[1, 2, 3], states[1, 3, 8:12])
        assert np.array_equal(merge_heads(split), states)


class TestPlaces:
    def test_position_axes(self, bert, gpt2):
        axes = position_axes(bert.network.steps)
        assert axes["embeddings"] == axes["block.2.mlp"] == axes["logits"] == (1,)
        assert axes["block.0.scores"] == axes["block.0.weights"] == (2, 3)
        assert axes["pooler.dense"] == axes["pooler"] == axes["nsp_logits"] == ()
        for net in (bert, gpt2):
            axes = position_axes(net.network.steps)
            for name, array in net.exact().items():
                lengths = [array.shape[axis] for axis in axes[name]]
                assert lengths == [14] * len(axes[name]), name
                assert (14 in array.shape) == bool(axes[name]), name

    def test_visible_keys(self):
        real = np.array([[True, True, False], [True, True, True]])
        assert visible_keys(real, False)[0, 0].tolist() == [[1, 1, 0]] * 3
        assert visible_keys(real, True)[0, 0].tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 0]]
        assert np.array_equal(visible_keys(real, True)[1, 0], np.tril(np.ones((3, 3), bool)))

    def test_valid_elements(self, bert):
        real = bert.network.setting.real
        assert not real.all()
        found = {n: valid_elements(bert.step(n), real, a.shape) for n, a in bert.exact().items()}
        assert np.array_equal(found["block.1.up"], real)
        assert found["pooler"].tolist() == [True] * 3
        weights, scores = found["block.0.weights"], found["block.0.scores"]
        assert (weights.shape, scores.shape) == ((3, 4, 14), (3, 4, 14, 14))
        for b in range(3):
            length = int(real[b].sum())
            assert weights[b, 2].tolist() == real[b].tolist()
            assert scores[b, 1, length - 1].tolist() == real[b].tolist()
            assert not scores[b, :, length:].any()

    def test_valid_scores_of_a_causal_network(self, gpt2):
        step, real = gpt2.step("block.0.scores"), gpt2.network.setting.real
        valid = valid_elements(step, real, (3, 4, 14, 14))
        assert np.array_equal(valid[0, 0], np.tril(np.ones((14, 14), bool)))


class TestRounding:
    """One step in a dtype, one elementary operation after the other, against the prediction."""

    # The tap of each kind of operation, and how far its error may be from the prediction: a plain
    # loop is what is predicted, but what is allowed a function's kernel is more than NumPy takes.
    KINDS = (
        ("gpt2", "embeddings", 0.3),
        ("bert", "embeddings.sum", 0.3),
        ("gpt2", "block.1.norm_1", 0.05),
        ("gpt2", "block.1.key", 0.3),
        ("gpt2", "block.2.mlp", 0.3),
        ("bert", "block.1.mlp", 0.3),
        ("bert", "logits", 0.3),
        ("gpt2", "block.1.scores", 0.2),
        ("bert", "block.1.weights", 0.01),
        ("gpt2", "block.1.weights", 0.01),
        ("gpt2", "block.1.context", 0.3),
        ("gpt2", "block.0.residual", 0.5),
        ("gpt2", "block.0.activation", 0.02),
        ("bert", "block.0.activation", 0.02),
        ("bert", "pooler", 0.02),
    )

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(("architecture", "tap", "least"), KINDS)
    def test_a_plain_computation_is_off_by_what_is_predicted(
        self, small, architecture, tap, least, dtype
    ):
        head = {"gpt2": "lm", "bert": "pretraining"}[architecture]
        net = small(architecture, head, dtype=dtype, batch=3, length=14)
        step, setting = net.step(tap), net.network.setting
        taps = net.run(noise=0)  # inputs that the dtype holds
        given = [taps[name].astype(np.float64) for name in step.inputs]
        exact = evaluate(step, given, setting)
        variance = rounding_variance(step, given, exact, setting, PRECISIONS[dtype])
        assert variance.shape == exact.shape
        assert (variance > 0).all()
        found = plainly(step, given, setting, dtype)
        valid = valid_elements(step, setting.real, exact.shape)
        scaled = rms(((found - exact) / np.sqrt(variance))[valid])
        if dtype != "float32":
            least = max(least, 0.1)  # storing is the larger part, and the same for everyone
        assert least <= scaled <= 1.5

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_relu_rounds_nothing(self, small, dtype):
        net = small("bert", "mlm", dtype=dtype, config={"hidden_act": "relu"})
        step = net.step("block.0.activation")
        taps = net.run(noise=0)
        given = [taps["block.0.up"].astype(np.float64)]
        exact = evaluate(step, given, net.network.setting)
        setting, precision = net.network.setting, PRECISIONS[dtype]
        variance = rounding_variance(step, given, exact, setting, precision)
        assert (variance > 0).all()  # a quotient by it must be finite
        assert np.sqrt(variance.max()) <= 2 * precision.smallest

    def test_a_longer_sum_has_a_larger_error(self, gpt2):
        """The error of a loop grows with the number of terms; that of storing does not."""
        step, setting = gpt2.step("block.0.mlp"), gpt2.network.setting
        x = RNG.standard_normal((3, 14, 128))
        short = np.where(np.arange(128) < 8, x, 0.0)
        precision = replace(PRECISIONS["float32"], unit=0.0)
        sizes = []
        for given in (x, short):
            value = evaluate(step, [given], setting)
            sizes.append(rounding_variance(step, [given], value, setting, precision).mean())
        assert sizes[0] > 8 * sizes[1]

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_one_rounding_has_the_variance_that_is_said(self, dtype):
        values = np.exp2(RNG.uniform(-3, 3, 200_000))
        error = values.astype(DTYPES[dtype]).astype(np.float64) / values - 1
        assert rms(error) == pytest.approx(math.sqrt(PRECISIONS[dtype].stored), rel=0.02)


def plainly(step, given, setting, dtype):
    """Compute a step in a dtype, each sum as a loop, each function as NumPy has it.

    As kernels of short formats do, what is not stored is kept in float32.
    """
    kind = DTYPES[dtype]

    def stored(array):
        return np.asarray(array, np.float32).astype(kind).astype(np.float32)

    def looped(a, b):
        """Multiply matrices, term after term."""
        total = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
        for k in range(a.shape[-1]):
            total = total + a[..., k : k + 1] * b[..., k : k + 1, :]
        return total

    x = [array.astype(np.float32) for array in given]
    weights, config = setting.weights, setting.config

    def parameter(module, which):
        return weights.get(module, which).astype(np.float32)

    match step.operation:
        case Lookup() as operation:
            total = None
            for module, name in operation.tables:
                row = parameter(module, Kind.EMBEDDING)[setting.inputs[name]]
                total = row if total is None else stored(total + row)
            return total
        case Norm() as operation:
            mean = x[0][..., :1] * 0
            for k in range(x[0].shape[-1]):
                mean = mean + x[0][..., k : k + 1]
            mean = mean / np.float32(x[0].shape[-1])
            centred = x[0] - mean
            variance = mean * 0
            for k in range(x[0].shape[-1]):
                variance = variance + centred[..., k : k + 1] ** 2
            variance = variance / np.float32(x[0].shape[-1])
            unit = centred / np.sqrt(variance + np.float32(config[operation.eps]))
            scale = parameter(operation.module, Kind.NORM_WEIGHT)
            return stored(unit * scale + parameter(operation.module, Kind.NORM_BIAS))
        case Project() as operation:
            matrix = weights.matrix(operation.module, operation.kind).astype(np.float32)
            number, parts = operation.part
            part = slice(*(matrix.shape[1] // parts * n for n in (number, number + 1)))
            product = stored(looped(x[0], matrix[:, part]))
            return stored(product + parameter(operation.bias, Kind.BIAS)[part])
        case Score() as operation:
            query, key = (split_heads(array, config[operation.heads]) for array in x)
            product = stored(looped(query, key.swapaxes(-1, -2)))
            return stored(product * np.float32(scale_of(step, setting, query.shape[-1])))
        case Softmax() as operation:
            seen = np.where(setting.visible(operation.causal), x[0], np.float32(-np.inf))
            powers = np.exp(seen - seen.max(-1, keepdims=True))
            total = powers[..., :1] * 0
            for k in range(powers.shape[-1]):
                total = total + powers[..., k : k + 1]
            return stored(powers / total)
        case Mix() as operation:
            return stored(merge_heads(looped(x[0], split_heads(x[1], config[operation.heads]))))
        case Activate() as operation:
            name = operation.function or config[operation.field]
            if name == "tanh":
                return stored(np.tanh(x[0]))
            if name == "gelu":
                inner = erf((x[0] / np.float32(np.sqrt(2))).astype(np.float64)).astype(np.float32)
            else:
                cube = x[0] * x[0] * x[0]
                inner = np.tanh(
                    np.float32(np.sqrt(2 / np.pi)) * (x[0] + np.float32(0.044715) * cube)
                )
            return stored(np.float32(0.5) * x[0] * (np.float32(1) + inner))
        case Add():
            return stored(x[0] + x[1])
    raise TypeError(step)


def test_every_kind_of_operation_is_computed_plainly(gpt2, bert):
    kinds = {type(step.operation) for net in (gpt2, bert) for step in net.network.steps}
    nets = {"gpt2": gpt2, "bert": bert}
    tried = {type(nets[name].step(tap).operation) for name, tap, _ in TestRounding.KINDS}
    assert kinds == tried
    assert isinstance(gpt2.network.steps[0], Step)
