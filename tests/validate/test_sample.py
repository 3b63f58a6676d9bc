"""The sample of the output: elements that count, the worst among them, and no padding."""

from __future__ import annotations

import numpy as np
import pytest

from mindport.validate.sample import sample_output
from mindport.validate.tap_results import compare_captures
from mindport.validate.tolerance import choose_policy


@pytest.fixture(scope="module")
def net(small):
    return small("gpt2", "lm", config={"n_layer": 1}, batch=3, length=12)


@pytest.fixture
def sample_of(net, tmp_path):
    def make(change=lambda logits: None):
        reference = net.capture(tmp_path / "r", net.run(seed=1), oracle=True)
        taps = net.run(seed=2)
        change(taps["logits"])
        candidate = net.capture(tmp_path / "c", taps)
        network = net.network
        results = tuple(
            compare_captures(
                reference, candidate, network.steps, network.setting,
                choose_policy("float32", None, None, None),
                required=net.case.taps, details=network.details,
            )
        )  # fmt: skip
        return sample_output(reference, candidate, results, net.inputs)

    return make


def test_the_worst_element_is_among_them(net, sample_of):
    row, column = np.argwhere(net.network.setting.real)[7]

    def change(logits):
        logits[row, column, 5] += 3

    sample = sample_of(change)
    errors = np.subtract(sample["candidate"], sample["oracle"])
    assert errors.max() == pytest.approx(3, rel=1e-3)
    assert len(sample["oracle"]) <= 360
    assert sample["elements"] == net.network.setting.real.sum() * 96


def test_padding_is_left_out(net, sample_of):
    padding = np.argwhere(~net.network.setting.real)
    assert padding.size, "the inputs have padding"

    def change(logits):
        for row, column in padding:
            logits[row, column] = 1e6

    assert max(sample_of(change)["candidate"]) < 1e3


def test_only_finite_elements(net, sample_of):
    def change(logits):
        logits[:, ::2] = np.nan

    sample = sample_of(change)
    assert np.isfinite(sample["candidate"]).all()
    assert sample["oracle"]


def test_nothing_finite_in_the_last_tap(net, sample_of):
    def change(logits):
        logits[:] = np.inf

    assert sample_of(change)["tap"] == "final_norm"
