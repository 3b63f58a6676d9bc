"""What a broken port looks like: ``pytest tests/see_it_fail.py`` fails, and says where and why."""

from __future__ import annotations

from pathlib import Path

BROKEN = Path(__file__).parents[1] / "broken_port.py"


def test_the_broken_port(assert_parity):
    assert_parity("gpt2", candidate=BROKEN)
