"""The reference in one dtype, the candidate in another: each from its own weights, as rounded."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from mindport.migrate.errors import MindportError
from mindport.migrate.porting import port, prepare
from mindport.validate.checkpoints import embedded_checkpoint
from mindport.validate.cli import main
from mindport.validate.diagnose.diagnosis import diagnose
from mindport.validate.expectation import expect
from mindport.validate.formula.operations import evaluate
from mindport.validate.metrics import rms
from mindport.validate.recording.comparing import compare_recorded, validate_recorded
from mindport.validate.request import Request, check_dtypes
from mindport.validate.tap_results import compare_captures, first_fault
from mindport.validate.tolerance import choose_policy
from tests.validate.recorded import make_recorded

HEADS = {"gpt2": "lm", "bert": "pretraining"}
PAIRS = [
    ("float32", "float16"),
    ("float32", "bfloat16"),
    ("bfloat16", "float16"),
    ("float16", "float32"),
]


def scaled(amount):
    return lambda step, inputs, setting: amount * evaluate(step, inputs, setting)


@pytest.fixture
def pair(small, tmp_path):
    """Compare two runs of a small network, each with the rounding errors of its dtype."""

    def make(name, dtypes, wrong=None, *, seed=0, policy=None, lacking=(), **config):
        ours, theirs = (
            small(name, HEADS[name], dtype, config, seed=seed, batch=4, length=16)
            for dtype in dtypes
        )
        folder = tmp_path / f"{name}-{'-'.join(dtypes)}-{seed}-{bool(wrong)}-{policy}"
        taps = theirs.run(wrong, seed=2 + seed)
        taps = {tap: array for tap, array in taps.items() if not tap.endswith(lacking or ("?",))}
        reference = ours.capture(folder / "r", ours.run(seed=1 + seed), oracle=True)
        candidate = theirs.capture(folder / "c", taps)
        chosen = choose_policy(dtypes[1], policy, None, None, reference_dtype=dtypes[0])
        network = theirs.network
        views = expect(
            reference, candidate, network.steps, network.setting, chosen, ours.network.setting
        )
        results = tuple(
            compare_captures(
                reference, candidate, network.steps, network.setting, chosen,
                required=[n for n in theirs.case.taps if n not in network.details],
                details=network.details, views=views,
            )
        )  # fmt: skip
        causes = diagnose(results, candidate, network.steps, network.setting, dtypes[1])
        return results, causes, (reference, candidate)

    return make


@pytest.mark.parametrize("dtypes", PAIRS)
@pytest.mark.parametrize("name", HEADS)
def test_a_correct_pair_passes(pair, name, dtypes):
    for seed in range(3):
        results, _, (reference, candidate) = pair(name, dtypes, seed=seed)
        assert first_fault(results) is None
        for tap in results:
            assert tap.isolated is not None
            assert tap.facts.dtype == "float32"
            # What is predicted for a correct pair is about what there is between the two.
            apart = rms((reference.tap(tap.name) - candidate.tap(tap.name)).clip(-1e3, 1e3))
            if not tap.detail:
                assert tap.apart / 4 < apart < 2 * tap.apart, tap.name
            assert tap.apart >= tap.deviation


@pytest.mark.parametrize("dtypes", PAIRS)
@pytest.mark.parametrize(
    ("name", "place", "amount"),
    [("gpt2", "block.1.mlp", 1.1), ("gpt2", "block.2.query", 0.9), ("bert", "block.0.up", 1.1)],
)
def test_a_fault_is_caught_and_named(pair, name, place, amount, dtypes):
    results, causes, _ = pair(name, dtypes, {place: scaled(amount)})
    assert first_fault(results).name == place
    assert (causes[0].tap, causes[0].cause) == (place, "scaled")


def test_the_sharper_side_is_judged_sharply(pair):
    """A fault that float16 would hide is a fault of a float32 candidate, whatever the reference."""
    wrong = {"block.1.mlp": scaled(1 + 2.0**-14)}
    assert first_fault(pair("gpt2", ("float16", "float32"), wrong)[0]).name == "block.1.mlp"
    assert first_fault(pair("gpt2", ("float32", "float16"), wrong)[0]) is None


def test_taps_that_are_lacking_are_carried_with_the_sides_own_weights(pair):
    inside = (".scores", ".weights", ".query", ".up")
    results, _, _ = pair("gpt2", ("float32", "bfloat16"), lacking=inside)
    assert first_fault(results) is None
    assert "block.0.scores" not in [tap.name for tap in results]
    wrong = {"block.1.context": scaled(1.1)}
    results, _, _ = pair("gpt2", ("float32", "bfloat16"), wrong, lacking=inside)
    assert first_fault(results).name == "block.1.context"


def test_a_fixed_policy_holds_the_two_against_each_other(pair):
    results, _, _ = pair("gpt2", ("float32", "bfloat16"), policy="community-1e-4")
    assert first_fault(results) is not None
    assert "max abs" in first_fault(results).problem


def test_the_policy_says_both():
    policy = choose_policy("float16", None, None, None, reference_dtype="float32")
    assert (policy.dtype, policy.reference_dtype, policy.mixed) == ("float16", "float32", True)
    assert "rounding in float16" in policy.basis
    assert "the reference is float32" in policy.basis
    assert not choose_policy("float16", None, None, None).mixed


@pytest.mark.parametrize("inputs", [{}, {"reference_capture": "there"}])
def test_gradients_take_one_dtype(inputs):
    request = Request("gpt2", dtype="float16", reference_dtype="float32", gradients=True, **inputs)
    with pytest.raises(MindportError, match=r"float32\) is not the candidate's \(float16\)"):
        check_dtypes(request)
    check_dtypes(Request("gpt2", dtype="float16", reference_dtype="float16", gradients=True))


# Recorded


@pytest.fixture(scope="module")
def recorded(small, small_checkpoint, tmp_path_factory):
    folder, weights = tmp_path_factory.mktemp("mixed"), small_checkpoint("gpt2", "lm")
    runs = {dtype: small("gpt2", "lm", dtype) for dtype in ("float32", "float16")}
    wrong = {"block.1.mlp": scaled(1.1)}
    for name, side, dtype, taps, carried in (
        ("reference", "reference", "float32", {}, True),
        ("light", "reference", "float32", {}, False),
        ("candidate", "candidate", "float16", {}, False),
        ("faulty", "candidate", "float16", wrong, False),
    ):
        run = runs[dtype]
        made = run.run(taps, seed=1 if side == "reference" else 2)
        make_recorded(folder / name, run, weights, side, made, weights=carried, dtype=dtype)
    return folder


def test_recorded_sides_of_two_dtypes_are_compared(recorded):
    verdict = compare_recorded(recorded / "reference", recorded / "candidate")
    assert verdict.verdict == "pass", verdict.headline
    dtypes = {side: one["dtype"] for side, one in verdict.identity.items()}
    assert dtypes == {"reference": "float32", "candidate": "float16"}
    faulty = compare_recorded(recorded / "reference", recorded / "faulty")
    assert (faulty.verdict, faulty.first_faulty_tap) == ("fail", "block.1.mlp")
    assert faulty.diagnosis[0].cause == "scaled"


def test_without_the_weights_two_dtypes_cannot_be_compared(recorded):
    with pytest.raises(MindportError, match="only be told from the weights") as caught:
        compare_recorded(recorded / "light", recorded / "candidate")
    assert "--checkpoint" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "choices", "advice"),
    [
        ("reference", {"dtype": "float16"}, "--reference-dtype float32"),
        ("candidate", {"dtype": "float32"}, "--dtype float16"),
    ],
)
def test_a_recorded_side_is_taken_for_what_it_is(recorded, given, choices, advice):
    request = Request("gpt2", **choices, **{f"{given}_capture": recorded / given})
    with pytest.raises(MindportError, match="is asked for") as caught:
        validate_recorded(request)
    assert caught.value.hint == f"Add {advice}."


# The true frameworks

frameworks = [
    pytest.mark.torch,
    pytest.mark.mindspore,
    pytest.mark.xdist_group("frameworks"),
]
MIXED = ("--dtype", "float16", "--reference-dtype", "float32", "--prompts", "sentiment")


@pytest.mark.usefixtures("frameworks")
class TestFrameworks:
    pytestmark = frameworks

    @pytest.mark.parametrize("name", HEADS)
    def test_embedded_weights_pass(self, validate, name):
        code, verdict, output = validate(name, *MIXED, "--prompt-limit", 24)
        assert code == 0, output
        dtypes = [verdict["identity"][side]["dtype"] for side in ("reference", "candidate")]
        assert dtypes == ["float32", "float16"]
        assert (verdict["policy"]["dtype"], verdict["policy"]["reference_dtype"]) == (
            "float16", "float32")  # fmt: skip
        assert all(tap["apart"] >= tap["deviation"] for tap in verdict["taps"])
        assert "CPU, float32, eager" in output
        assert "CPU, float16, eager" in output

    @pytest.mark.parametrize(
        ("name", "parameter"),
        [
            ("gpt2", "transformer.h.2.mlp.c_fc.weight"),
            ("bert", "bert.encoder.layer.1.attention.self.query.weight"),
        ],
    )
    def test_a_fault_in_the_weights_is_found(self, validate, tmp_path, name, parameter):
        folder = port(prepare(embedded_checkpoint(name), name), tmp_path / "ported")
        tensors = load_file(folder / "model.safetensors")
        tensors[parameter] = np.float32(1.02) * tensors[parameter]
        (folder / "model.safetensors").unlink()
        save_file(tensors, folder / "model.safetensors")
        code, verdict, output = validate(name, *MIXED[:4], "--candidate-checkpoint", folder)
        assert code == 1, output
        place = {"gpt2": "block.2.up", "bert": "block.1.query"}[name]
        assert verdict["first_faulty_tap"] == place
        assert verdict["diagnosis"][0]["cause"] == "scaled"

    def test_recorded_apart(self, tmp_path):
        def run(*argv):
            done = CliRunner().invoke(main, [str(word) for word in argv])
            assert done.exit_code == 0, done.output
            return done.output

        case = ("--checkpoint", "random", "--batch", 2, "--length", 8)
        run("record", "gpt2", "--reference", *case, "-o", tmp_path / "r")
        run("record", "gpt2", "--case", tmp_path / "r", "--dtype", "float16", "-o", tmp_path / "c")
        run("compare", tmp_path / "r", tmp_path / "c", "--report", tmp_path / "v")
        verdict = json.loads((tmp_path / "v" / "verdict.json").read_text())
        assert verdict["policy"]["reference_dtype"] == "float32"
        said = run("gpt2", "--candidate-capture", tmp_path / "c", "--dtype", "float16",
                   "--reference-dtype", "bfloat16", "--quiet")  # fmt: skip
        assert said.startswith("pass: ")
