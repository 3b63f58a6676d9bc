"""Which reason becomes the headline, and that nothing but a clean run passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mindport.validate.backend import Identity, LoadReport
from mindport.validate.capture import Capture, CaptureManifest, save_capture
from mindport.validate.case import Case
from mindport.validate.compare import compare_captures
from mindport.validate.judge import Evidence, judge, not_run
from mindport.validate.launch import NotRun
from mindport.validate.tolerance import choose_policy

TAPS = ("embeddings", "block.0", "logits")
TORCH = Identity("torch", "torch", "2", "CPU", "float32", "eager", "eager")
MINDSPORE = replace(TORCH, backend="mindspore", framework="mindspore")
CASE = Case("gpt2", "lm", 0, TAPS, {"input_ids": "abc"}, prompts=False)
MASK = np.ones((2, 3), np.int64)


@pytest.fixture
def capture(tmp_path):
    def make(side, identity, taps=None, load=None, inputs=None):
        arrays = {n: np.full((2, 3, 4), 1 + i, np.float32) for i, n in enumerate(TAPS)}
        arrays |= taps or {}
        arrays = {n: a for n, a in arrays.items() if a is not None}
        manifest = CaptureManifest(
            identity, load or LoadReport(52), {"model.safetensors": "00"},
            inputs or dict(CASE.inputs), TAPS, {"load": 1.0, "forward": 1.0}, 1,
        )  # fmt: skip
        save_capture(tmp_path / side, manifest, arrays, None)
        return Capture(tmp_path / side)

    return make


def verdict_of(reference, candidate, left_behind=()):
    policy = choose_policy("float32", None, None)
    return judge(
        Evidence(
            case=CASE,
            inputs={"batch": 2, "length": 3, "padded_positions": 0, "names": ["input_ids"]},
            reference=reference,
            candidate=candidate,
            left_behind=left_behind,
            taps=compare_captures(reference, candidate, TAPS, MASK, policy),
            policy=policy,
            prompt_task="",
            prompts=None,
            checkpoint={"reference": "a", "candidate": "b"},
            notices=(),
        )
    )


def test_a_clean_run_passes(capture):
    verdict = verdict_of(capture("r", TORCH), capture("c", MINDSPORE))
    assert (verdict.verdict, verdict.exit_code, verdict.first_faulty_tap) == ("pass", 0, None)
    assert "all 3 taps agree" in verdict.headline


def test_a_framework_against_itself_never_passes(capture):
    verdict = verdict_of(capture("r", TORCH), capture("c", TORCH))
    assert verdict.exit_code == 1
    assert "compares a framework with itself" in verdict.headline


def test_one_framework_on_two_devices_may(capture):
    verdict = verdict_of(capture("r", TORCH), capture("c", replace(TORCH, device="GPU")))
    assert verdict.verdict == "pass"


def test_different_dtypes(capture):
    verdict = verdict_of(capture("r", TORCH), capture("c", replace(MINDSPORE, dtype="float16")))
    assert "the candidate in float16" in verdict.headline


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
)  # fmt: skip
def test_unclean_loading_fails_even_if_the_outputs_agree(capture, report, said):
    verdict = verdict_of(capture("r", TORCH), capture("c", MINDSPORE, load=report))
    assert verdict.exit_code == 1
    assert said in verdict.headline


def test_the_reference_may_leave_behind_what_the_plan_names(capture):
    reference = capture("r", TORCH, load=LoadReport(52, unexpected=("pooler",)))
    candidate = capture("c", MINDSPORE)
    assert verdict_of(reference, candidate, left_behind=("pooler",)).verdict == "pass"
    assert "reference's weights were not all loaded" in verdict_of(reference, candidate).headline


def test_other_inputs_on_one_side(capture):
    verdict = verdict_of(capture("r", TORCH), capture("c", MINDSPORE, inputs={"input_ids": "abd"}))
    assert "fed other inputs than the case holds: input_ids" in verdict.headline


def test_the_first_faulty_tap_is_the_headline(capture):
    wrong = {name: np.zeros((2, 3, 4), np.float32) for name in ("logits", "block.0")}
    verdict = verdict_of(capture("r", TORCH), capture("c", MINDSPORE, taps=wrong))
    assert verdict.first_faulty_tap == "block.0"
    assert verdict.headline.startswith("block.0 is the first of 2 faulty taps")


def test_a_tap_that_was_not_captured_fails(capture):
    verdict = verdict_of(capture("r", TORCH), capture("c", MINDSPORE, taps={"block.0": None}))
    assert verdict.first_faulty_tap == "block.0"
    assert "not captured on the candidate side" in verdict.headline


def test_nan_on_both_sides_fails(capture):
    bad = {"block.0": np.full((2, 3, 4), np.nan, np.float32)}
    verdict = verdict_of(capture("r", TORCH, taps=bad), capture("c", MINDSPORE, taps=bad))
    assert (verdict.exit_code, verdict.first_faulty_tap) == (1, "block.0")
    assert verdict.to_dict()["taps"][1]["max_abs"] is None


def test_what_could_not_run_is_not_run():
    verdict = not_run(CASE, [NotRun("candidate", "no such device", "get one", ("last",))], ())
    assert (verdict.verdict, verdict.exit_code) == ("not-run", 3)
    assert "the candidate could not run: no such device" in verdict.headline
    assert verdict.to_dict()["not_run"][0]["last_lines"] == ["last"]
