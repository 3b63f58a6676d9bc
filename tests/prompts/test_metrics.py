from __future__ import annotations

import json

import numpy as np
import pytest

from mindport.prompts.metrics import (
    calibration_error,
    classification_metrics,
    confusion_matrix,
    matthews,
)

TRUTH = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
GIVEN = np.array([0, 0, 1, 1, 0, 2, 2, 2, 0, 1])


def certain(labels, count):
    """Log-probabilities of 0.8 for the given label, the rest shared."""
    result = np.full((len(labels), count), 0.2 / (count - 1))
    result[np.arange(len(labels)), labels] = 0.8
    return np.log(result)


def test_a_case_by_hand():
    found = classification_metrics(("a", "b", "c"), TRUTH, GIVEN, certain(GIVEN, 3))
    assert found.confusion == ((2, 1, 0), (1, 1, 0), (1, 1, 3))
    assert found.accuracy == found.micro_f1 == pytest.approx(6 / 10)
    a, b, c = found.per_label
    assert (a.precision, a.recall, a.f1) == pytest.approx((2 / 4, 2 / 3, 4 / 7))
    assert (b.precision, b.recall, b.f1) == pytest.approx((1 / 3, 1 / 2, 2 / 5))
    assert (c.precision, c.recall, c.f1) == pytest.approx((3 / 3, 3 / 5, 6 / 8))
    assert [(x.label, x.support, x.predicted) for x in (a, b, c)] == [
        ("a", 3, 4), ("b", 2, 3), ("c", 5, 3)
    ]  # fmt: skip
    assert found.macro_f1 == pytest.approx((4 / 7 + 2 / 5 + 6 / 8) / 3)
    assert found.weighted_f1 == pytest.approx((3 * 4 / 7 + 2 * 2 / 5 + 5 * 6 / 8) / 10)
    # (6*10 - (3*4 + 2*3 + 5*3)) / sqrt((100 - 38) (100 - 34))
    assert found.mcc == pytest.approx((60 - 33) / (62 * 66) ** 0.5)
    # Right: 0.2^2 + 2 * 0.1^2. Wrong: 0.8^2 + 0.9^2 + 0.1^2.
    assert found.brier == pytest.approx((6 * 0.06 + 4 * 1.46) / 10)
    assert found.ece == pytest.approx(0.8 - 0.6)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["per_label"][1]["label"] == "b"


def test_two_labels_by_hand():
    # Matthews' own formula: 5 true and 3 false positives, 7 true and 2 false negatives.
    matrix = np.array([[7, 3], [2, 5]])
    assert matthews(matrix) == pytest.approx((5 * 7 - 3 * 2) / (8 * 7 * 10 * 9) ** 0.5)


@pytest.mark.parametrize(("right", "mcc"), [(True, 1), (False, -1)])
def test_all_right_and_all_wrong(right, mcc):
    truth = np.array([0, 1, 0, 1])
    given = truth if right else 1 - truth
    found = classification_metrics(("a", "b"), truth, given, np.log(np.eye(2)[given] + 1e-300))
    assert found.accuracy == found.macro_f1 == right
    assert found.mcc == mcc
    assert found.brier == pytest.approx(0 if right else 2)
    assert found.ece == pytest.approx(0 if right else 1)


def test_what_is_not_defined_is_0():
    truth = np.array([0, 0, 1])
    found = classification_metrics(
        ("a", "b", "c"), truth, np.zeros(3, int), np.log(np.full((3, 3), 1 / 3))
    )
    assert found.mcc == 0
    assert [x.precision for x in found.per_label] == pytest.approx([2 / 3, 0, 0])
    assert [x.f1 for x in found.per_label] == pytest.approx([0.8, 0, 0])


def test_bins_of_the_calibration_error():
    # Confidences 0.55 (right), 0.58 (wrong) share the bin (8/15, 9/15]; 1.0 has the last.
    probabilities = np.array([[0.55, 0.45], [0.58, 0.42], [0.0, 1.0]])
    given = np.array([0, 0, 1])
    truth = np.array([0, 1, 0])
    expected = (2 * abs(0.5 - 0.565) + abs(0 - 1.0)) / 3
    assert calibration_error(probabilities, truth, given) == pytest.approx(expected)


def test_large_counts_do_not_overflow():
    matrix = np.array([[10**7, 1], [1, 10**7]])
    assert matthews(matrix) == pytest.approx(1, abs=1e-6)
    assert confusion_matrix(np.zeros(5, int), np.ones(5, int), 2).tolist() == [[0, 5], [0, 0]]
