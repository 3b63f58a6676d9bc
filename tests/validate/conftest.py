"""The ``validate`` command as a fixture."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

import mindport.validate
from mindport.validate.cli import main
from tests.validate.report.verdicts import make_verdicts
from tests.validate.small import SMALL, Small, make_small

SCHEMA = json.loads((Path(mindport.validate.__file__).parent / "verdict.schema.json").read_text())


@pytest.fixture(scope="session")
def frameworks():
    """Skip a test where a framework is missing."""
    for name in ("torch", "transformers", "mindspore"):
        pytest.importorskip(name)


@pytest.fixture(scope="session")
def small_checkpoint(checkpoint):
    """Return the folder of a small network's random weights."""

    def make(architecture, head, config=None):
        return checkpoint(architecture, head, **{**SMALL[architecture], **(config or {})})

    return make


@pytest.fixture(scope="session")
def small(small_checkpoint):
    """Return a small network in NumPy, which needs no framework."""

    def make(architecture, head, dtype="float32", config=None, **shape) -> Small:
        folder = small_checkpoint(architecture, head, config)
        return make_small(folder, architecture, head, dtype, **shape)

    return make


@pytest.fixture(scope="session")
def verdicts(small, small_checkpoint, tmp_path_factory):
    """Verdicts by name: pass, fail, not-run, everything."""
    folder = tmp_path_factory.mktemp("runs")
    return make_verdicts(small("gpt2", "lm"), small_checkpoint("gpt2", "lm"), folder)


@pytest.fixture
def validate(tmp_path, frameworks):
    """Run the command and return its exit code, its verdict and what it printed."""

    def run(*argv):
        report = tmp_path / "report"
        done = CliRunner().invoke(main, [*map(str, argv), "--report", str(report)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        path = report / "verdict.json"
        verdict = json.loads(path.read_text()) if path.is_file() else None
        if verdict is not None:
            jsonschema.validate(verdict, SCHEMA)
        return done.exit_code, verdict, done.output

    return run
