"""A departure of a platform is accepted, and nothing else with it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from mindport.migrate import port, prepare
from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import MindportError
from mindport.validate import embedded_checkpoint
from mindport.validate.departures.known import DEPARTURES, find_departures, fraction_tanh
from mindport.validate.departures.recognition import recognise, with_departures
from mindport.validate.diagnose.diagnosis import diagnose
from mindport.validate.expectation import expect
from mindport.validate.faults import FAULTS, apply_network_fault, apply_weight_fault
from mindport.validate.formula.activations import ACTIVATIONS
from mindport.validate.formula.jumps import jump_variance
from mindport.validate.formula.operations import evaluate
from mindport.validate.formula.recompute import recompute
from mindport.validate.formula.rounding import PRECISIONS, rounding_variance
from mindport.validate.inputs import describe_inputs
from mindport.validate.judge import Evidence, judge
from mindport.validate.tap_results import compare_captures
from mindport.validate.tolerance import choose_policy
from tests.validate.conftest import SCHEMA
from tests.validate.small import MINDSPORE, make_small

NAME = "mindspore-cpu-tanh"
TANH = DEPARTURES[NAME]
POLICY = choose_policy("float32", None, None, None)


class TestTheRegister:
    X = np.linspace(-6, 6, 241)

    def test_the_fraction_is_tanh_but_near_five(self):
        apart = np.abs(fraction_tanh(self.X) - np.tanh(self.X))
        assert apart[np.abs(self.X) <= 1].max() < 1e-9
        assert abs(self.X[apart.argmax()]) == pytest.approx(5)
        assert apart.max() == pytest.approx(1.0e-4, rel=0.01)

    @pytest.mark.mindspore
    @pytest.mark.xdist_group("frameworks")
    def test_the_fraction_is_what_mindspore_computes_on_the_cpu(self):
        mindspore = pytest.importorskip("mindspore")
        edges = [5, np.nextafter(np.float32(5), np.float32(9)), -5, 4.99, 1e-20, 0, 40]
        x = np.float32([*np.linspace(-9, 9, 4992), *edges])
        found = mindspore.ops.tanh(mindspore.Tensor(x)).asnumpy()
        np.testing.assert_allclose(found, fraction_tanh(x.astype(np.float64)), atol=3e-7)

    def test_what_it_says_in_words_is_what_it_computes(self):
        words = (
            TANH.formula.partition(", and the sign")[0].replace("^", "**").replace("x (", "x * (")
        )
        x = 4.2
        value = eval(re.sub(r"(\d) x", r"\1 * x", words), {"x": x})
        assert value == pytest.approx(float(fraction_tanh(np.float64(x))), rel=1e-12)

    @pytest.mark.parametrize("departure", DEPARTURES.values(), ids=lambda one: one.name)
    def test_an_entry_is_whole(self, departure):
        assert set(departure.functions) <= set(ACTIVATIONS)
        assert departure.functions
        assert SCHEMA["$defs"]["accepted"]["properties"]["name"]["enum"] == list(DEPARTURES)
        for text in (departure.summary, departure.formula, departure.source, *departure.versions):
            assert text
        x = np.linspace(-12, 12, 9600)
        for name, function in departure.functions.items():
            assert 0 < np.abs(function(x) - ACTIVATIONS[name](x)).max() < 1e-2

    def test_names_and_platforms(self):
        asked = {"framework": "mindspore", "device": "CPU", "dtype": "float32"}
        assert find_departures([NAME, NAME], **asked) == (TANH,)
        assert find_departures([], **{**asked, "dtype": "float16"}) == ()
        with pytest.raises(MindportError, match="Did you mean 'mindspore-cpu-tanh'"):
            find_departures(["mindspore-tanh"], **asked)
        for other in ({"framework": "torch"}, {"device": "Ascend"}, {"dtype": "float16"}):
            with pytest.raises(MindportError, match="is known of mindspore on CPU in float32"):
                find_departures([NAME], **{**asked, **other})


@pytest.fixture(scope="module")
def net():
    """The embedded GPT-2, some of whose activations are near 5, in NumPy."""
    return make_small(embedded_checkpoint("gpt2"), "gpt2", "lm", batch=2, length=32, seed=4)


@pytest.fixture(scope="module")
def reference(net, tmp_path_factory):
    return net.capture(tmp_path_factory.mktemp("r"), net.run(seed=1), oracle=True)


def departed(step, inputs, setting):
    return evaluate(step, inputs, replace(setting, functions={**ACTIVATIONS, **TANH.functions}))


def activations(net, function, *, but=()):
    names = [step.tap for step in net.network.steps if step.tap.endswith(".activation")]
    return {name: function for name in names if name not in but}


@pytest.fixture
def judged(net, reference, tmp_path):
    """Judge a run of the embedded GPT-2; by default with the departure accepted."""

    def make(taps, accept=(TANH,), **manifest):
        network = net.network
        candidate = net.capture(tmp_path / "c", taps, **manifest)
        findings = recognise(accept, candidate, network.steps, network.setting, POLICY.precision)
        platform = with_departures(network.setting, findings)
        results = tuple(
            compare_captures(
                reference, candidate, network.steps, network.setting, POLICY,
                required=[name for name in net.case.taps if name not in network.details],
                details=network.details,
                views=expect(
                    reference, candidate, network.steps, platform or network.setting, POLICY,
                    network.setting if platform else None,
                ),
            )
        )  # fmt: skip
        causes = diagnose(results, candidate, network.steps, platform or network.setting, "float32")
        verdict = judge(
            Evidence(
                case=net.case, inputs=describe_inputs(net.inputs),
                reference=reference, candidate=candidate, left_behind=(),
                taps=results, diagnosis=causes, gradients=None, policy=POLICY, prompt_task="",
                prompts=None, checkpoint={"reference": "a", "candidate": "b"}, notices=(),
                accepted=findings,
            )
        )  # fmt: skip
        content = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        jsonschema.validate(content, SCHEMA)
        return content

    return make


def most_used(verdict):
    return max(tap["used"] for tap in verdict["taps"])


class TestAcceptance:
    def test_without_it_the_departure_fails_and_the_way_is_shown(self, net, judged):
        verdict = judged(net.run(activations(net, departed)), accept=())
        assert verdict["verdict"] == "fail"
        assert verdict["accepted"] == []
        assert all(tap["departure"] is None for tap in verdict["taps"])
        assert f"--accept {NAME} judges everything else" in verdict["headline"]

    def test_the_way_is_not_shown_where_it_leads_nowhere(self, net, judged):
        elsewhere = replace(MINDSPORE, device="GPU")
        verdict = judged(net.run(activations(net, departed)), accept=(), identity=elsewhere)
        assert "MindSpore's CPU kernel" in verdict["headline"]
        assert "--accept" not in verdict["headline"]

    def test_with_it_the_rest_is_judged_as_sharply_as_ever(self, net, judged):
        verdict = judged(net.run(activations(net, departed)))
        assert verdict["verdict"] == "pass", verdict["headline"]
        plain = judged(net.run(), accept=())
        assert most_used(verdict) == pytest.approx(most_used(plain), rel=0.2)
        (accepted,) = verdict["accepted"]
        assert (accepted["name"], accepted["status"]) == (NAME, "applied")
        assert (accepted["operation"], accepted["function"]) == ("tanh", "gelu_new")
        assert accepted["share"] == pytest.approx(1, abs=0.02)
        assert 1e-5 < accepted["largest"] < 3e-4
        assert accepted["taps"]
        assert all(name.endswith(".activation") for name in accepted["taps"])
        assert accepted["last_tap"] == "logits"
        by_name = {tap["name"]: tap for tap in verdict["taps"]}
        assert accepted["at_last_tap"] == by_name["logits"]["departure"]
        assert 1e-7 < accepted["at_last_tap"] < 1e-4
        assert by_name["block.0.up"]["departure"] == 0 < by_name["block.0.mlp"]["departure"]
        assert verdict["headline"].startswith(f"accepting {NAME} (up to ")
        assert any(notice.startswith(f"accepted: {NAME}") for notice in verdict["notices"])

    def test_a_version_that_was_not_measured_is_said(self, net, judged):
        taps = net.run(activations(net, departed))
        other = judged(taps, identity=replace(MINDSPORE, version="9.9.0"))
        assert any("the candidate runs 9.9.0" in notice for notice in other["notices"])
        known = judged(taps, identity=replace(MINDSPORE, version=TANH.versions[0]))
        assert not any("the candidate runs" in notice for notice in known["notices"])

    def test_what_is_accepted_but_not_there_is_reported_and_not_applied(self, net, judged):
        verdict = judged(net.run())
        assert verdict["verdict"] == "pass", verdict["headline"]
        (accepted,) = verdict["accepted"]
        assert accepted["status"] == "not-found"
        assert accepted["share"] == pytest.approx(0, abs=0.02)
        assert accepted["at_last_tap"] is None
        assert any(n.startswith("accepted departure not found") for n in verdict["notices"])
        assert not verdict["headline"].startswith("accepting")
        assert all(tap["departure"] is None for tap in verdict["taps"])

    def test_it_is_decided_once_for_all_blocks(self, net, judged):
        odd = "block.0.activation"
        verdict = judged(net.run(activations(net, departed, but=(odd,))))
        assert (verdict["verdict"], verdict["first_faulty_tap"]) == ("fail", odd)
        (cause,) = verdict["diagnosis"]
        assert (cause["tap"], cause["cause"], cause["confirmed"]) == (odd, "other-activation", True)
        assert "as it is defined" in cause["detail"]

    @pytest.mark.parametrize("share", [0.5, 2.0, -1.0])
    def test_half_a_departure_or_twice_is_none(self, net, judged, share):
        def some(step, inputs, setting):
            right = evaluate(step, inputs, setting)
            return right + share * (departed(step, inputs, setting) - right)

        verdict = judged(net.run(activations(net, some)))
        assert verdict["verdict"] == "fail"
        assert verdict["accepted"][0]["share"] == pytest.approx(share, abs=0.05)

    def test_it_is_recognised_where_no_activation_was_captured(self, tmp_path):
        large = make_small(embedded_checkpoint("gpt2"), "gpt2", "lm", batch=4, length=64)
        network = large.network
        for function, share in ((departed, 1), (evaluate, 0)):
            taps = large.run(activations(large, function))
            coarse = {name: tap for name, tap in taps.items() if name not in network.details}
            candidate = large.capture(tmp_path / str(share), coarse)
            (found,) = recognise(
                (TANH,), candidate, network.steps, network.setting, POLICY.precision
            )
            assert found.status == ("applied" if share else "not-found")
            assert found.share == pytest.approx(share, abs=0.05)
            assert "block.0.mlp" in found.taps
            assert 1e-5 < found.largest < 3e-4

    def test_a_small_network_does_not_show_it(self, small, tmp_path):
        tiny = small("gpt2", "lm", batch=2, length=8)
        network, candidate = tiny.network, tiny.capture(tmp_path / "c", tiny.run())
        (found,) = recognise((TANH,), candidate, network.steps, network.setting, POLICY.precision)
        assert (found.status, found.share) == ("no-effect", None)
        assert with_departures(network.setting, [found]) is None

    def test_a_network_without_tanh(self, small, tmp_path):
        bert = small("bert", "mlm", batch=2, length=8)
        network, candidate = bert.network, bert.capture(tmp_path / "c", bert.run())
        (found,) = recognise((TANH,), candidate, network.steps, network.setting, POLICY.precision)
        assert (found.status, found.function) == ("no-effect", "")


class TestTheJump:
    """At 5 the kernel goes from 1.00001 to 1, and rounding decides on which side an argument is."""

    @pytest.fixture
    def step(self, net):
        return net.step("block.0.activation")

    @pytest.fixture
    def platform(self, net):
        return replace(net.network.setting, functions={**ACTIVATIONS, **TANH.functions})

    def test_either_side_is_right(self, net, step, platform):
        from mindport.validate.formula.activations import gelu_argument

        near = np.linspace(3.8, 4.0, 200001)
        at = near[np.abs(gelu_argument(near) - 5).argmin()]
        x = np.float64([at, -at, at * (1 + 1e-3), 1.0])
        precision = PRECISIONS["float32"]
        value = evaluate(step, [x], platform)
        with_jump = np.sqrt(rounding_variance(step, [x], value, platform, precision))
        without = np.sqrt(rounding_variance(step, [x], value, net.network.setting, precision))
        height = 9.75e-6 * at / 2
        assert np.all(with_jump[:2] > 0.45 * height)
        assert np.all(without[:2] < 0.1 * height)
        np.testing.assert_allclose(with_jump[2:], without[2:], rtol=1e-4)

    def test_there_is_none_in_what_is_defined(self, net, step):
        assert jump_variance(step, [np.ones(3)], np.ones(3), net.network.setting) == 0

    def test_a_carried_argument_may_lie_beyond_it(self, small):
        def stepped(x):
            return ACTIVATIONS["gelu_new"](x) + 5e-3 * (x > 0.02)

        half = small("gpt2", "lm", "float16", batch=4, length=16)
        network = half.network
        setting = replace(network.setting, functions={**ACTIVATIONS, "gelu_new": stepped})
        taps = replace(half, network=replace(network, setting=setting)).run(seed=3, noise=1.0)
        found = {
            item.step.tap: item
            for item in recompute(
                network.steps, setting, {"c": taps.get}, PRECISIONS["float16"], copies=16
            )
        }
        item = found["block.2.activation"]
        error = np.abs(taps["block.2.activation"] - item.accumulated.expected)[item.valid]
        deviation = item.accumulated.deviation[item.valid]
        beyond = error > 4e-3
        assert 0 < np.count_nonzero(beyond) < 0.1 * beyond.size
        assert (error / deviation)[beyond].max() < 4
        assert np.median(deviation) < 5e-4


SHOWN = [f for f in FAULTS if f.fits(load_architecture("gpt2"), "lm") and f.kind != "backward"]
BLOCK = 1


@pytest.fixture(scope="module")
def ported(tmp_path_factory):
    pytest.importorskip("mindspore")
    return port(prepare(embedded_checkpoint("gpt2"), "gpt2"), tmp_path_factory.mktemp("ms") / "g")


@pytest.mark.mindspore
@pytest.mark.slow
@pytest.mark.xdist_group("more-frameworks")
class TestFaultsBesideIt:
    """MindSpore itself, with its plain tanh: the departure is accepted, and no fault with it."""

    def run(self, net, folder, fault=None):
        import mindspore

        from mindport.migrate.cells import GPT2LMHeadModel
        from tests.validate.ports.plain_tanh import write_gelu

        mindspore.set_seed(0)
        network = GPT2LMHeadModel.from_checkpoint(folder)
        write_gelu(network)
        if fault is not None:
            apply_network_fault(mindspore, network, "gpt2", "lm", fault)
        inputs = {name: array.astype(np.int32) for name, array in net.inputs.items()}
        output = network(**inputs, output_taps=True)
        return {name: tap.asnumpy() for name, tap in network.named_taps(output).items()}

    def test_a_right_port_passes(self, net, ported, judged):
        taps = self.run(net, ported)
        assert judged(taps, accept=())["verdict"] == "fail"
        verdict = judged(taps)
        assert verdict["verdict"] == "pass", verdict["headline"]
        assert verdict["accepted"][0]["share"] == pytest.approx(1, abs=0.02)

    @pytest.mark.parametrize("fault", SHOWN, ids=lambda fault: fault.name)
    def test_a_fault_is_caught_where_it_is(self, net, ported, judged, tmp_path, fault):
        choice = {"name": fault.name, "block": BLOCK}
        if fault.kind == "weights":
            folder = tmp_path / "faulty"
            apply_weight_fault(ported, folder, "gpt2", "lm", choice)
            taps = self.run(net, folder)
        else:
            taps = self.run(net, ported, choice)
        verdict = judged(taps)
        # Of a network at random no activation comes near 5.
        status = "no-effect" if fault.name == "body-random" else "applied"
        assert verdict["accepted"][0]["status"] == status
        assert verdict["verdict"] == "fail"
        assert verdict["first_faulty_tap"] == fault.tap_at("gpt2", BLOCK), verdict["headline"]
