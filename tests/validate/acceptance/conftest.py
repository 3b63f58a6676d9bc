"""Acceptances as fixtures."""

from __future__ import annotations

import pytest

from tests.validate.acceptance.made import Workshop, set_up


@pytest.fixture
def workshop(small_checkpoint, tmp_path, monkeypatch):
    """Runs tasks with sides that NumPy makes."""
    made = Workshop(small_checkpoint("gpt2", "lm"), tmp_path)
    set_up(monkeypatch, made)
    return made
