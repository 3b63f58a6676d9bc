"""Verdicts as fixtures."""

from __future__ import annotations

import json

import pytest

from mindport.validate.report.publish import VERDICT_FILE


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
