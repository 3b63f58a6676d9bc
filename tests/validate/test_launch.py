"""Workers that die in every way: a plain reason, and nothing left running."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.validate.case import Run
from mindport.validate.launch import Job, NotRun, find_python, run_jobs


@pytest.fixture
def interpreter(tmp_path):
    """Return an executable that stands in for Python and runs a shell script instead."""

    def make(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def run(python, tmp_path, timeout=20.0):
    job = Job("candidate", Run("mindspore", "w", "CPU", "float32", "eager", "c"), python, tmp_path)
    return run_jobs([job], timeout)["candidate"]


def test_a_crash_is_told_with_its_last_words(interpreter, tmp_path):
    result = run(interpreter("echo one; echo two >&2; exit 7"), tmp_path)
    assert isinstance(result, NotRun)
    assert "ended with exit code 7" in result.reason
    assert result.last_lines == ("one", "two")


def test_a_killed_worker_is_named_by_its_signal(interpreter, tmp_path):
    assert "killed by SIGKILL (out of memory" in run(interpreter("kill -9 $$"), tmp_path).reason
    assert "killed by SIGSEGV" in run(interpreter("kill -11 $$"), tmp_path).reason


def test_a_worker_that_says_it_is_done_but_left_nothing(interpreter, tmp_path):
    assert "ended with exit code 0" in run(interpreter("exit 0"), tmp_path).reason


def test_a_hanging_worker_is_stopped_with_its_children(interpreter, tmp_path):
    pid_file = tmp_path / "child"
    script = interpreter(f"sleep 300 & echo $! > {pid_file}; wait")
    started = time.monotonic()
    result = run(script, tmp_path, timeout=1.0)
    assert "did not finish within 1 s" in result.reason
    assert time.monotonic() - started < 10
    child = int(pid_file.read_text())
    for _ in range(50):
        stat = Path(f"/proc/{child}/stat")
        if not stat.exists() or stat.read_text().split()[2] == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail("the worker's child is still running")


def test_an_interpreter_without_mindport(interpreter, tmp_path):
    script = interpreter("echo \"/usr/bin/python: No module named 'mindport'\"; exit 1")
    assert "has no mindport" in run(script, tmp_path).reason


def test_what_the_worker_says_is_passed_on(interpreter, tmp_path):
    folder = tmp_path / "candidate-capture"
    failure = '{"exit_code": %d, "message": "no such thing", "hint": "get one"}'
    script = f"printf '{failure % 3}' > {folder}.failure.json; exit 3"
    result = run(interpreter(script), tmp_path)
    assert (result.reason, result.hint) == ("no such thing", "get one")
    script = f"printf '{failure % 2}' > {folder}.failure.json; exit 2"
    with pytest.raises(MindportError, match="no such thing"):
        run(interpreter(script), tmp_path)


def test_finding_an_interpreter(tmp_path):
    assert os.access(find_python(None), os.X_OK)
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(EnvironmentUnavailableError, match="There is no Python"):
            find_python(str(path))
