"""The pytest plugin, as a stranger's tests use it: in a process of its own, found by its entry."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mindport.validate import ParityError
from mindport.validate.parity import explain
from mindport.validate.pytest_plugin import each_run

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_port"
ENTRY = "mindport.validate.pytest_plugin"


@pytest.fixture
def stranger(tmp_path):
    """Run pytest on a folder of tests, and return the exit code and what was printed."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    # An installation knows the entry point; a bare checkout is given one.
    if not any(entry.name == "mindport" for entry in entry_points(group="pytest11")):
        place = tmp_path / "site" / "mindport_plugin-0.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: mindport-plugin\nVersion: 0\n"
        )
        (place / "entry_points.txt").write_text(f"[pytest11]\nmindport = {ENTRY}\n")
        paths = [str(place.parent), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    port = tmp_path / "port"
    shutil.copytree(EXAMPLE, port, ignore=shutil.ignore_patterns("__pycache__"))

    def run(*arguments, test=None):
        if test is not None:
            (port / "tests" / "test_it.py").write_text(test)
            arguments = ("tests/test_it.py", *arguments)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)],
            cwd=port, env=environment, capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    run.folder = port
    return run


def test_the_package_declares_the_entry():
    said = f'[project.entry-points.pytest11]\nmindport = "{ENTRY}"\n'
    assert said in (ROOT / "pyproject.toml").read_text()


def test_it_costs_nothing_when_it_is_not_used():
    code = (
        "import sys, pytest, mindport.validate.pytest_plugin\n"
        "heavy = {'numpy', 'click', 'rich', 'yaml', 'safetensors', 'torch', 'mindspore'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_each_combination_is_a_run():
    mark = each_run(mode=["eager", "graph"], dtype=["float32", "float16"]).mark
    assert mark.args[0] == "run_options"
    assert mark.args[1][1] == {"mode": "eager", "dtype": "float16"}
    assert mark.kwargs["ids"] == ["eager-float32", "eager-float16", "graph-float32",
                                  "graph-float16"]  # fmt: skip


class TestMessage:
    def test_it_says_where_why_and_by_how_much(self, verdicts):
        verdict = verdicts["fail"]
        tap = verdict.first_faulty
        found = tap.isolated.candidate
        first, *rest = explain(verdict, Path("r/index.html")).splitlines()
        assert first == f"gpt2 lm: fail: block.1.mlp, scaled, {tap.used:.3g} times what is allowed"
        facts = dict(re.findall(r"^  (\S.{16}) (.*)$", "\n".join(rest), flags=re.MULTILINE))
        facts = {key.strip(): said for key, said in facts.items()}
        wrong = sum(not t.ok for t in verdict.taps)
        assert facts["first faulty tap"].startswith(f"block.1.mlp ({wrong} of ")
        assert facts["cause"].startswith("scaled (confirmed): ")
        assert facts["excess"] == f"{tap.used:.3g} times what is allowed"
        assert facts["rms"] == f"{found.rms:.3g}, allowed {found.limit_rms:.3g}"
        place = list(found.worst_index)
        assert facts["max"] == f"{found.peak:.3g}, allowed {found.limit_peak:.3g}, at {place}"
        assert facts["report"] == "r/index.html"
        assert facts["reference"].startswith("torch")

    def test_what_is_not_known_is_left_out(self, verdicts):
        verdict = verdicts["fail"]
        bare = replace(verdict.first_faulty, used=None, isolated=None, accumulated=None, facts=None)
        taps = tuple(bare if t.name == bare.name else t for t in verdict.taps)
        said = explain(replace(verdict, taps=taps, diagnosis=()))
        assert said.startswith("gpt2 lm: fail: block.1.mlp\n")
        assert "none of the tested ones explains it" in said
        assert "excess" not in said

    def test_a_fault_of_another_level_is_its_headline(self, verdicts):
        verdict = replace(verdicts["pass"], verdict="fail", headline="a framework with itself")
        assert explain(verdict).startswith("gpt2 lm: fail: a framework with itself\n")
        error = ParityError(verdict)
        assert error.verdict is verdict
        assert isinstance(error, AssertionError)


# Both interpreters die at once, so nothing needs a framework.
NOT_RUN = """
def test_port(assert_parity, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\\necho last words; exit 7\\n")
    python.chmod(0o755)
    assert_parity("gpt2", python=str(python), reference_python=str(python))
"""


def test_what_did_not_run_fails(stranger):
    code, said = stranger("--mindport-report", "out", test=NOT_RUN)
    assert code == 1, said
    assert "1 failed" in said
    assert "EnvironmentUnavailableError: not run: the reference could not run" in said
    assert "last words" in said
    assert "pipeline.py" not in said  # our own code is none of the reader's business
    (report,) = (stranger.folder / "out").iterdir()
    assert '"not-run"' in (report / "verdict.json").read_text()


def test_what_did_not_run_is_skipped_with_its_reason_if_asked_for(stranger):
    code, said = stranger("--mindport-not-run", "skip", "-rs", test=NOT_RUN)
    assert code == 0, said
    assert "1 skipped" in said
    assert "not run: the reference could not run: The torch worker ended with exit code 7" in said


def test_a_bad_request_is_an_error_even_then(stranger):
    test = "def test_port(assert_parity):\n    assert_parity('gpt2', dtype='float23')\n"
    code, said = stranger("--mindport-not-run", "skip", test=test)
    assert code == 1, said
    assert "There is no dtype 'float23'. Did you mean 'float32'?" in said
    assert "request.py" not in said


@pytest.mark.torch
@pytest.mark.mindspore
@pytest.mark.slow
@pytest.mark.xdist_group("more-frameworks")
class TestExample:
    def test_its_tests_pass_side_by_side(self, stranger, frameworks):
        pytest.importorskip("xdist")
        code, said = stranger("tests", "-n", "2", "--mindport-report", "out")
        assert code == 0, said
        assert "3 passed" in said
        reports = list((stranger.folder / "out").iterdir())
        assert len(reports) == 3
        assert all((report / "verdict.json").is_file() for report in reports)

    def test_a_broken_port_is_shown(self, stranger, frameworks):
        code, said = stranger("tests/see_it_fail.py", "--mindport-report", "out")
        assert code == 1, said
        assert "1 failed" in said
        assert re.search(r"ParityError: gpt2 lm: fail: block\.1\.activation, other-activation, "
                         r"[\d.]+ times what is allowed", said)  # fmt: skip
        assert "gelu instead of gelu_new" in said
        for what in ("excess +[0-9.]+ times", "rms +[0-9.e+]+, allowed [0-9.]+",
                     r"max +[0-9.e+]+, allowed [0-9.]+, at \[\d+, \d+, \d+\]"):  # fmt: skip
            assert re.search(f"E +{what}", said), what
        (path,) = re.findall(r"E +report +(\S+)", said)
        assert Path(path).is_file()
        assert Path(path).is_relative_to(stranger.folder / "out")
