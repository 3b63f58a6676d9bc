"""What the port's own tests ask of it: ``pytest tests``, with mindport installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindport.validate import ParityError
from mindport.validate.pytest_plugin import each_run

HERE = Path(__file__).parents[1]
PORT, BROKEN = HERE / "my_port.py", HERE / "broken_port.py"


@each_run(dtype=["float32", "float16"])
def test_every_operation_agrees_with_the_original(assert_parity, run_options):
    verdict = assert_parity("gpt2", candidate=PORT, **run_options)
    assert len(verdict.taps) == 59  # all of them: nothing was left to the formula


def test_a_mistake_would_be_found(assert_parity):
    with pytest.raises(ParityError) as caught:
        assert_parity("gpt2", candidate=BROKEN)
    verdict = caught.value.verdict
    assert (verdict.first_faulty_tap, verdict.cause) == ("block.1.activation", "other-activation")
