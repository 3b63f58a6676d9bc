"""Which reason becomes the headline, and that nothing but a clean run passes."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from mindport.validate.backend import LoadReport
from mindport.validate.diagnose.causes import CAUSES
from mindport.validate.diagnose.diagnosis import diagnose
from mindport.validate.formula.operations import evaluate
from mindport.validate.judge import Evidence, judge, not_run
from mindport.validate.launch import NotRun
from mindport.validate.tap_results import compare_captures
from mindport.validate.tolerance import choose_policy
from tests.validate.conftest import SCHEMA
from tests.validate.small import MINDSPORE, TORCH


@pytest.fixture(scope="module")
def net(small):
    return small("gpt2", "lm", config={"n_layer": 2}, batch=3, length=12)


@pytest.fixture
def reference(net, tmp_path):
    def make(taps=None, **manifest):
        return net.capture(tmp_path / "r", taps or net.run(seed=1), oracle=True, **manifest)

    return make


@pytest.fixture
def candidate(net, tmp_path):
    def make(taps=None, **manifest):
        return net.capture(tmp_path / "c", taps or net.run(seed=2), **manifest)

    return make


@pytest.fixture
def verdict_of(net):
    def make(reference, candidate, left_behind=(), policy=None, **figures):
        chosen = choose_policy("float32", policy, figures.get("atol"), figures.get("rtol"))
        network = net.network
        taps = tuple(
            compare_captures(
                reference, candidate, network.steps, network.setting, chosen,
                required=net.case.taps, details=network.details,
            )
        )  # fmt: skip
        verdict = judge(
            Evidence(
                case=net.case,
                inputs={"batch": 3, "length": 12, "padded_positions": 0, "names": ["input_ids"]},
                reference=reference,
                candidate=candidate,
                left_behind=left_behind,
                taps=taps,
                diagnosis=diagnose(taps, candidate, network.steps, network.setting, "float32"),
                gradients=None,
                policy=chosen,
                prompt_task="",
                prompts=None,
                checkpoint={"reference": "a", "candidate": "b"},
                notices=(),
            )
        )
        jsonschema.validate(as_json(verdict), SCHEMA)
        return verdict

    return make


def as_json(verdict):
    return json.loads(json.dumps(verdict.to_dict(), allow_nan=False))


def doubled(step, inputs, setting):
    return 2 * evaluate(step, inputs, setting)


def test_a_clean_run_passes(net, reference, candidate, verdict_of):
    verdict = verdict_of(reference(), candidate())
    assert (verdict.verdict, verdict.exit_code, verdict.first_faulty_tap) == ("pass", 0, None)
    assert f"all {len(net.case.taps)} taps agree" in verdict.headline
    assert [tap.name for tap in verdict.taps] == list(net.case.taps)
    assert (verdict.notices, verdict.diagnosis) == ((), ())


def test_a_framework_against_itself_never_passes(reference, candidate, verdict_of):
    verdict = verdict_of(reference(), candidate(identity=TORCH))
    assert verdict.exit_code == 1
    assert "compares a framework with itself" in verdict.headline


def test_one_framework_on_two_devices_may(reference, candidate, verdict_of):
    verdict = verdict_of(reference(), candidate(identity=replace(TORCH, device="GPU")))
    assert verdict.verdict == "pass"


def test_different_dtypes(reference, candidate, verdict_of):
    other = replace(MINDSPORE, dtype="float16")
    verdict = verdict_of(reference(), candidate(identity=other))
    assert verdict.exit_code == 1
    assert "the candidate ran in float16, not in float32" in verdict.headline


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (LoadReport(0, missing=tuple(f"h.{i}" for i in range(148))),
         "148 parameters missing from the checkpoint, so left at random (h.0, h.1, h.2 and 145 "
         "more)"),
        (LoadReport(51, mismatched=("w: stored [2], the network needs [3]",)),
         "1 parameter of another shape"),
        (LoadReport(52, unexpected=("stray",)), "without a place in the network (stray)"),
    ],
    ids=["missing", "mismatched", "unexpected"],
)  # fmt: skip
def test_unclean_loading_fails_even_if_the_outputs_agree(
    reference, candidate, verdict_of, report, said
):
    verdict = verdict_of(reference(), candidate(load_report=report))
    assert verdict.exit_code == 1
    assert said in verdict.headline


def test_the_reference_may_leave_behind_what_the_plan_names(reference, candidate, verdict_of):
    ours = reference(load_report=LoadReport(52, unexpected=("pooler",)))
    theirs = candidate()
    assert verdict_of(ours, theirs, left_behind=("pooler",)).verdict == "pass"
    assert "reference's weights were not all loaded" in verdict_of(ours, theirs).headline


def test_other_inputs_on_one_side(net, reference, candidate, verdict_of):
    verdict = verdict_of(reference(), candidate(inputs={**net.case.inputs, "input_ids": "abd"}))
    assert verdict.exit_code == 1
    assert "fed other inputs than the case holds: input_ids" in verdict.headline


def test_the_first_faulty_tap_is_the_headline_and_its_cause(net, reference, candidate, verdict_of):
    wrong = net.run({"block.0.up": doubled}, seed=2)
    verdict = verdict_of(reference(), candidate(wrong))
    assert (verdict.exit_code, verdict.first_faulty_tap) == (1, "block.0.up")
    faulty = [tap.name for tap in verdict.taps if not tap.ok]
    assert verdict.headline.startswith(f"block.0.up is the first of {len(faulty)} faulty taps")
    assert f"confirmed cause: {CAUSES['scaled']}" in verdict.headline
    assert [tap.name for tap in verdict.taps if tap.own_fault] == ["block.0.up"]
    after = net.case.taps[net.case.taps.index("block.0.up") :]
    assert set(faulty) <= set(after)
    assert {"block.0.activation", "block.0", "final_norm", "logits"} <= set(faulty)


def test_of_two_faults_the_earlier_one_counts_and_both_are_named(
    net, reference, candidate, verdict_of
):
    wrong = net.run({"block.1.mlp": doubled, "block.0.value": doubled}, seed=2)
    verdict = verdict_of(reference(), candidate(wrong))
    assert verdict.first_faulty_tap == "block.0.value"
    assert [tap.name for tap in verdict.taps if tap.own_fault] == ["block.0.value", "block.1.mlp"]
    assert [(d.tap, d.cause) for d in verdict.diagnosis] == [
        ("block.0.value", "scaled"), ("block.1.mlp", "scaled"),
    ]  # fmt: skip


def test_a_tap_that_was_not_captured_fails(net, reference, candidate, verdict_of):
    taps = net.run(seed=2)
    del taps["block.0"]
    verdict = verdict_of(reference(), candidate(taps))
    assert (verdict.exit_code, verdict.first_faulty_tap) == (1, "block.0")
    assert "not captured on the candidate side" in verdict.headline


def test_a_tap_of_another_shape_fails(net, reference, candidate, verdict_of):
    taps = net.run(seed=2)
    taps["block.0.key"] = np.ascontiguousarray(taps["block.0.key"].swapaxes(1, 2))
    verdict = verdict_of(reference(), candidate(taps))
    assert (verdict.exit_code, verdict.first_faulty_tap) == (1, "block.0.key")
    assert "shapes differ: [3, 12, 32] and [3, 32, 12]" in verdict.headline


@pytest.mark.parametrize("sides", [("r",), ("c",), ("r", "c")], ids="-".join)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_values_fail_on_either_side(net, reference, candidate, verdict_of, sides, value):
    taps = {"r": net.run(seed=1), "c": net.run(seed=2)}
    for side in sides:
        taps[side]["block.0.mlp"][0, 1, 2] = value
    verdict = verdict_of(reference(taps["r"]), candidate(taps["c"]), atol=1e9)
    assert (verdict.exit_code, verdict.first_faulty_tap) == (1, "block.0.mlp")
    assert "NaN or infinite" in verdict.headline
    content = as_json(verdict)
    (tap,) = [tap for tap in content["taps"] if tap["name"] == "block.0.mlp"]
    assert (tap["used"], tap["accumulated"], tap["isolated"]) == (None, None, None)
    kind = "nan" if np.isnan(value) else "infinite"
    for side, name in (("r", "reference"), ("c", "candidate")):
        place = ["block.0.mlp", [0, 1, 2]] if side in sides else None
        assert content["first_nonfinite"][name][kind] == place


def test_a_loose_policy_says_what_it_lets_pass(net, reference, candidate, verdict_of):
    wrong = net.run({"block.1.up": lambda *given: evaluate(*given) * (1 + 1e-5)}, seed=2)
    ours, theirs = reference(), candidate(wrong)
    verdict = verdict_of(ours, theirs, policy="community-1e-3")
    assert verdict.verdict == "pass"
    (notice,) = verdict.notices
    assert "policy community-1e-3 lets pass what rounding does not explain: block.1.up" in notice
    assert "--policy derived fails there" in notice
    verdict = verdict_of(ours, theirs)
    assert (verdict.verdict, verdict.first_faulty_tap) == ("fail", "block.1.up")


def test_what_is_not_deterministic_is_said(net, reference, candidate, verdict_of):
    verdict = verdict_of(reference(), candidate(unstable=("block.1.up", "block.1.activation")))
    assert verdict.verdict == "pass"
    (notice,) = verdict.notices
    assert "the candidate is not deterministic" in notice
    assert "block.1.up" in notice


def test_what_could_not_run_is_not_run(net):
    reasons = [NotRun("candidate", "no such device", "get one", ("last",))]
    verdict = not_run(net.case, reasons, ())
    assert (verdict.verdict, verdict.exit_code) == ("not-run", 3)
    assert "the candidate could not run: no such device" in verdict.headline
    content = as_json(verdict)
    assert content["not_run"][0]["last_lines"] == ["last"]
    jsonschema.validate(content, SCHEMA)
