"""Verdicts as fixtures."""

from __future__ import annotations

import json

import pytest

from mindport.validate.report.publish import VERDICT_FILE
from tests.validate.report.verdicts import make_verdicts


@pytest.fixture(scope="session")
def verdicts(small, small_checkpoint, tmp_path_factory):
    """Verdicts by name: pass, fail, not-run, everything."""
    folder = tmp_path_factory.mktemp("runs")
    return make_verdicts(small("gpt2", "lm"), small_checkpoint("gpt2", "lm"), folder)


@pytest.fixture
def store(tmp_path):
    """Write a verdict, perhaps changed, as a folder of ``--report``."""

    def write(verdict, name="report", change=lambda content: None):
        content = verdict.to_dict()
        change(content)
        folder = tmp_path / name
        folder.mkdir()
        (folder / VERDICT_FILE).write_text(json.dumps(content), encoding="utf-8")
        return folder

    return write


@pytest.fixture(scope="session")
def extra():
    """Skip a test where the extra ``report`` is missing."""
    for name in ("jinja2", "vl_convert"):
        pytest.importorskip(name)
