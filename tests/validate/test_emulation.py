"""Matrix units emulated: is the error what was predicted, is a fault still seen, is it no pass?"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mindport.migrate.computation import Mix, Project, Score
from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.validate.backends.emulated import open_session
from mindport.validate.case import EMULATED_DEVICES, Run
from mindport.validate.diagnose.diagnosis import diagnose
from mindport.validate.emulation.asking import check_unit
from mindport.validate.emulation.formats import FORMATS
from mindport.validate.emulation.prediction import NOT_RUN, Emulation
from mindport.validate.emulation.units import UNITS, find_unit
from mindport.validate.formula.operands import Short, operand_variance
from mindport.validate.formula.operations import evaluate
from mindport.validate.judge import Evidence, judge
from mindport.validate.metrics import rms
from mindport.validate.request import Request
from mindport.validate.tap_results import compare_captures
from mindport.validate.tolerance import choose_policy
from tests.validate.conftest import SCHEMA

HEADS = {"gpt2": "lm", "bert": "mlm"}
SHALLOW = {"gpt2": {"n_layer": 2}, "bert": {"num_hidden_layers": 2}}
STRICT = ""
# The variance of an error of rounding, E d^2 = 0.18 u^2, is that of mantissas spread as usual; were
# all of them next to 1 it would be u^2 / 3, next to 2 a quarter of that. So the prediction may be
# off by sqrt(0.33 / 0.18) = 1.36 or sqrt(0.083 / 0.18) = 0.68 and no more where errors are many and
# independent; copies that estimate it and few independent errors take up the rest.
FACTOR = 2.0


@pytest.fixture(scope="module")
def nets(small):
    return {name: small(name, head, config=SHALLOW[name], batch=3, length=16)
            for name, head in HEADS.items()}  # fmt: skip


@pytest.fixture(scope="module")
def references(nets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    return {name: net.capture(folder / name, net.run(seed=1), oracle=True)
            for name, net in nets.items()}  # fmt: skip


@pytest.fixture
def session(nets, small_checkpoint):
    def make(architecture, unit, folder=None):
        folder = folder or small_checkpoint(
            architecture, HEADS[architecture], SHALLOW[architecture]
        )
        run = Run("emulated", str(folder), "CPU", "float32", "eager", "", unit=unit)
        return open_session(run, nets[architecture].case)

    return make


@pytest.fixture
def emulate(nets, references, session, tmp_path):
    """Emulate a unit; return the verdict as JSON."""

    def make(architecture, unit, *, folder=None, matmul=None):
        net, reference = nets[architecture], references[architecture]
        opened = session(architecture, unit, folder)
        taps = opened.forward(net.inputs)
        candidate = net.capture(tmp_path / "c", taps, identity=opened.identity)
        allowed = unit if matmul is None else matmul
        policy = choose_policy("float32", None, None, None, allowed or None)
        network = net.network
        results = tuple(
            compare_captures(
                reference, candidate, network.steps, network.setting, policy,
                required=net.case.taps, details=network.details,
            )
        )  # fmt: skip
        found = diagnose(
            results, candidate, network.steps, network.setting, "float32", network.tied,
            matmul=policy.matmul,
        )  # fmt: skip
        verdict = judge(
            Evidence(
                case=net.case,
                inputs={"batch": 3, "length": 16, "padded_positions": 0, "names": ["input_ids"]},
                reference=reference,
                candidate=candidate,
                left_behind=(),
                taps=results,
                diagnosis=found,
                gradients=None,
                policy=policy,
                prompt_task="",
                prompts=None,
                checkpoint={"reference": "a", "candidate": "b"},
                notices=(),
                emulation=Emulation(find_unit(unit), opened.notes()["beyond_range"]),
            )
        )
        content = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        jsonschema.validate(content, SCHEMA)
        return verdict.exit_code, content

    return make


def after_a_product(net):
    """Return the taps that rounded inputs can have reached."""
    reached = set()
    for step in net.network.steps:
        if isinstance(step.operation, (Project, Score, Mix)) or reached & set(step.inputs):
            reached.add(step.tap)
    return reached


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("architecture", HEADS)
def test_the_error_found_is_the_error_predicted(nets, emulate, architecture, unit):
    code, verdict = emulate(architecture, unit)
    assert (code, verdict["verdict"], verdict["first_faulty_tap"]) == (0, "emulated", None)
    reached = after_a_product(nets[architecture])
    taps = verdict["emulation"]["taps"]
    assert [tap["name"] for tap in taps] == list(nets[architecture].case.taps)
    assert len(reached) > 0.8 * len(taps)
    for tap in taps:
        share = tap["found"] / tap["predicted"]
        assert share <= FACTOR, tap
        assert share >= 1 / FACTOR or tap["name"] not in reached, tap
        assert tap["found"] <= tap["limit"]
    # The error is that of the unit, thousands of times that of float32.
    assert taps[-1]["found"] > 1e3 * 2.0**-24


def test_a_coarser_unit_has_a_larger_error(nets, session):
    exact, inputs = nets["gpt2"].exact()["logits"], nets["gpt2"].inputs
    found = {unit: rms(session("gpt2", unit).forward(inputs)["logits"] - exact) for unit in UNITS}
    assert 1.5 < found["tf32"] / found["hf32"] < 3
    assert 4 < found["bf16"] / found["tf32"] < 20
    assert found["tf32"] < found["ascend-fp16"] < 3 * found["tf32"]


def test_it_says_what_it_is(emulate):
    code, verdict = emulate("gpt2", "ascend-fp16")
    assert code == 0
    assert verdict["verdict"] != "pass"
    assert verdict["headline"].startswith("emulated ascend-fp16: logits off by at most ")
    assert verdict["headline"].endswith(NOT_RUN)
    assert "predicted tolerance" in verdict["headline"]
    identity = verdict["identity"]["candidate"]
    assert (identity["framework"], identity["device"]) == ("emulation", "Ascend (emulated)")
    assert identity["details"]["unit"] == "ascend-fp16"
    assert identity["details"]["source"]
    assert identity["details"]["assumed"]
    assert verdict["policy"]["matmul"] == "ascend-fp16"
    assert verdict["emulation"]["within"] is True


@pytest.fixture
def broken(small_checkpoint, tmp_path):
    """Return a checkpoint of the small GPT-2 with one tensor changed."""

    def make(name, change):
        folder = tmp_path / "broken"
        shutil.copytree(small_checkpoint("gpt2", "lm", SHALLOW["gpt2"]), folder)
        tensors = load_file(folder / "model.safetensors")
        tensors[name] = np.ascontiguousarray(change(tensors[name]))
        (folder / "model.safetensors").unlink()
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return folder

    return make


def swapped(matrix):
    query, key, value = np.split(matrix, 3, axis=-1)
    return np.concatenate([key, query, value], axis=-1)


@pytest.mark.parametrize("unit", UNITS)
def test_swapped_query_and_key_are_still_seen(emulate, broken, unit):
    folder = broken("transformer.h.1.attn.c_attn.weight", swapped)
    code, verdict = emulate("gpt2", unit, folder=folder)
    assert (code, verdict["verdict"]) == (1, "emulated")
    assert verdict["first_faulty_tap"] == "block.1.query"
    assert verdict["emulation"]["within"] is False
    assert "emulated " + unit + ": block.1.query is the first of" in verdict["headline"]
    assert verdict["headline"].endswith(NOT_RUN)
    assert verdict["diagnosis"][0]["cause"] in ("swapped-projections", "fused-order")


def test_what_float16_cannot_hold_is_named(emulate, broken):
    folder = broken("transformer.h.1.mlp.c_fc.bias", lambda bias: bias + np.float32(1e5))
    code, verdict = emulate("gpt2", "ascend-fp16", folder=folder)
    assert code == 1
    beyond = verdict["emulation"]["beyond_range"]
    assert beyond["block.1.mlp"] > 0
    assert "beyond float16" in verdict["headline"]


@pytest.mark.parametrize(
    ("unit", "matmul", "code"),
    [
        ("hf32", STRICT, 1),  # how a run is judged unless the user allows for a unit
        ("hf32", "tf32", 0),  # a device may be better than what is allowed
        ("bf16", "hf32", 1),
        ("tf32", "ascend-fp16", 0),
    ],
)
def test_a_run_is_held_to_the_unit_that_is_allowed(emulate, unit, matmul, code):
    found, verdict = emulate("gpt2", unit, matmul=matmul)
    assert found == code
    assert verdict["policy"]["matmul"] == (matmul or None)
    assert verdict["first_faulty_tap"] == ("block.0.query" if code else None)


class TestPolicy:
    def test_strict_products_are_the_default(self):
        assert choose_policy("float32", None, None, None).precision.operands is None

    @pytest.mark.parametrize("unit", UNITS)
    def test_a_unit_has_roundoffs_of_its_own(self, unit):
        policy = choose_policy("float32", None, None, None, unit)
        form = UNITS[unit].inputs
        assert policy.precision.operands == Short(form.unit, form.smallest)
        assert policy.precision.inner == 2.0**-24
        assert unit in policy.basis
        assert form.name in policy.basis

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_short_dtypes_are_refused(self, dtype):
        with pytest.raises(MindportError, match="float32 networks"):
            choose_policy(dtype, None, None, None, "hf32")

    def test_unknown_units_get_a_suggestion(self):
        with pytest.raises(MindportError, match="Did you mean 'hf32'"):
            choose_policy("float32", None, None, None, "hf3")


class TestVariance:
    @pytest.mark.parametrize("name", FORMATS)
    def test_rounding_a_value_has_the_variance_that_is_said(self, name):
        form = FORMATS[name]
        short = Short(form.unit, form.smallest)
        rng = np.random.default_rng(0)
        for low, high in ((-3, 3), (form.lowest - 4, form.lowest - 1)):
            values = np.exp2(rng.uniform(low, high, 100_000)) * rng.choice([-1, 1], 100_000)
            values = values.astype(np.float32).astype(np.float64)
            error = form.round(values).astype(np.float64) - values
            predicted = np.sqrt(short.variance(values).mean())
            assert rms(error) == pytest.approx(predicted, rel=0.1)

    def test_zeros_stay(self):
        assert not Short(2.0**-11, 2.0**-14).variance(np.zeros(3)).any()

    @pytest.mark.parametrize("architecture", HEADS)
    def test_only_products_have_rounded_inputs(self, nets, architecture):
        net = nets[architecture]
        exact, setting = net.exact(), net.network.setting
        form = FORMATS["tf32"]

        def product(x, y):
            return form.round(x).astype(np.float64) @ form.round(y).astype(np.float64)

        for step in net.network.steps:
            given = [exact[name] for name in step.inputs]
            variance = operand_variance(step, given, setting, Short(form.unit, form.smallest))
            error = evaluate(step, given, setting, product) - exact[step.tap]
            if not isinstance(step.operation, (Project, Score, Mix)):
                assert not np.any(variance)
                assert not error.any()
                continue
            assert np.shape(variance) == error.shape
            scaled = error[variance > 0] / np.sqrt(variance[variance > 0])
            assert 0.7 < rms(scaled) < 1.4, step.tap


class TestBackend:
    def test_it_needs_a_unit(self, session):
        with pytest.raises(MindportError, match="--emulate: ascend-fp16, hf32, tf32, bf16"):
            session("gpt2", "")

    @pytest.mark.parametrize(
        ("field", "value"), [("device", "Ascend"), ("dtype", "float16"), ("dtype", "bfloat16")]
    )
    def test_nothing_else_is_emulated(self, nets, small_checkpoint, field, value):
        folder = small_checkpoint("gpt2", "lm", SHALLOW["gpt2"])
        run = Run("emulated", str(folder), "CPU", "float32", "eager", "", unit="hf32")
        with pytest.raises(EnvironmentUnavailableError, match=value):
            open_session(replace(run, **{field: value}), nets["gpt2"].case)

    def test_it_is_not_taken_for_the_device(self, session):
        for unit in UNITS:
            identity = session("gpt2", unit).identity
            assert identity.framework not in ("torch", "mindspore")
            assert identity.device in EMULATED_DEVICES

    def test_units_say_where_they_are_from(self):
        for unit in UNITS.values():
            content = unit.to_dict()
            assert content["operations"] == ["project", "score", "mix"]
            assert all(content["source"])
            assert all(content["assumed"])

    def test_the_schema_knows_the_units(self):
        units = SCHEMA["$defs"]["emulation"]["properties"]["unit"]["properties"]
        assert units["name"]["enum"] == list(UNITS)
        assert SCHEMA["properties"]["policy"]["properties"]["matmul"]["enum"] == [*UNITS, None]
        assert set(units) == set(UNITS["hf32"].to_dict())
        assert units["device"]["enum"] == list(EMULATED_DEVICES)

    def test_prompts_get_the_logits_of_the_unit(self, nets, session):
        net = nets["gpt2"]
        opened = session("gpt2", "tf32")
        positions = np.array([[0], [5], [3]])
        rows, past = opened.prompt_model().answer(net.inputs, positions)
        assert past is None
        logits = opened.forward(net.inputs)["logits"]
        np.testing.assert_array_equal(rows[:, 0], logits[np.arange(3), positions[:, 0]])


class TestAsking:
    @pytest.mark.parametrize(
        ("option", "choice"),
        [
            ("--device", {"device": "Ascend"}),
            ("--candidate", {"candidate": "port.py:build"}),
            ("--backend", {"backend": "torch"}),
            ("--mode", {"mode": "graph"}),
            ("--python", {"python": "/usr/bin/python"}),
            ("--dtype", {"dtype": "float16"}),
            ("--matmul", {"matmul": "hf32"}),
            ("--gradients", {"gradients": True}),
        ],
    )
    def test_what_an_emulation_excludes(self, option, choice):
        with pytest.raises(MindportError, match=f"--emulate hf32 and {option} exclude each other"):
            check_unit(Request("gpt2", emulate="hf32", **choice))

    def test_the_way_to_the_device_is_shown(self):
        with pytest.raises(MindportError, match="--device Ascend --matmul hf32"):
            check_unit(Request("gpt2", emulate="hf32", device="Ascend"))

    def test_a_backend_without_a_unit(self):
        with pytest.raises(MindportError, match="none is named"):
            check_unit(Request("gpt2", backend="emulated"))

    def test_gradients_have_no_tolerance_for_a_unit(self):
        with pytest.raises(MindportError, match="gradients is not derived"):
            check_unit(Request("gpt2", matmul="hf32", gradients=True))

    def test_what_is_allowed(self):
        assert check_unit(Request("gpt2")) is None
        assert check_unit(Request("gpt2", emulate="tf32")) == "tf32"
        assert check_unit(Request("gpt2", device="Ascend", matmul="hf32")) == "hf32"
