from __future__ import annotations

import pytest

from mindport.migrate.errors import MindportError
from mindport.prompts import Calibration


def test_usual_inputs():
    assert Calibration() == Calibration("none", ())
    assert Calibration("contextual").inputs == ("N/A", "", "[MASK]")
    assert Calibration("pmi").inputs == ("N/A",)
    assert Calibration("domain", ["a", "b"]).inputs == ("a", "b")


@pytest.mark.parametrize(
    ("kind", "inputs", "said"),
    [
        ("context", (), "Unknown calibration 'context'. Did you mean 'contextual'"),
        ("contextual", "N/A", "must be a list of texts, not 'N/A'"),
        ("contextual", ("N/A", None), "must be a list of texts"),
        ("pmi", None, "must be a list of texts, not None"),
        ("pmi", ("a", "b"), "has one input, not 2"),
        ("domain", (), "needs texts of the domain"),
        ("none", ("a",), "no calibration"),
    ],
)
def test_inputs_that_do_not_go(kind, inputs, said):
    with pytest.raises(MindportError, match=said):
        Calibration(kind, inputs)
