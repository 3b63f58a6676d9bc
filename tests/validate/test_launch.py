"""Workers that die in every way: a plain reason, and nothing left running."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.validate.backend import Identity, LoadReport
from mindport.validate.capture import Capture, CaptureManifest, save_capture
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


RUN = Run("mindspore", "w", "CPU", "float32", "eager", "c")
MANIFEST = CaptureManifest(
    Identity("mindspore", "mindspore", "2", "CPU", "float32", "eager", "eager"),
    LoadReport(1), {}, {}, ("logits",), (), {}, {"load": 1.0, "forward": 1.0}, 1,
)  # fmt: skip


def run_all(python, tmp_path, runs, timeout=20.0):
    job = Job("candidate", (RUN,) * runs, python, tmp_path)
    return run_jobs([job], timeout)["candidate"]


def run(python, tmp_path, timeout=20.0):
    (result,) = run_all(python, tmp_path, 1, timeout)
    return result


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
    folder = tmp_path / "candidate-0-capture"
    failure = '{"exit_code": %d, "message": "no such thing", "hint": "get one"}'
    script = f"printf '{failure % 3}' > {folder}.failure.json; exit 3"
    result = run(interpreter(script), tmp_path)
    assert (result.reason, result.hint) == ("no such thing", "get one")
    script = f"printf '{failure % 2}' > {folder}.failure.json; exit 2"
    with pytest.raises(MindportError, match="no such thing"):
        run(interpreter(script), tmp_path)


def ready_capture(tmp_path):
    """Return a capture that a stand-in can move into place."""
    ready = tmp_path / "ready"
    save_capture(ready, MANIFEST, {"logits": np.ones((1, 2), np.float32)})
    return ready


def test_every_run_of_a_worker_has_its_own_outcome(interpreter, tmp_path):
    """One start serves several runs; one that fails leaves the others what they are."""
    ready = ready_capture(tmp_path)
    failure = '{"exit_code": 3, "message": "no such dtype", "hint": ""}'
    script = (
        f'test "$#" = 8 && cp -r {ready} {tmp_path}/candidate-0-capture && '
        f"printf '{failure}' > {tmp_path}/candidate-1-capture.failure.json && "
        f"cp -r {ready} {tmp_path}/candidate-2-capture; exit 3"
    )
    first, second, third = run_all(interpreter(script), tmp_path, 3)
    assert isinstance(first, Capture)
    assert isinstance(third, Capture)
    assert first.folder != third.folder
    assert (second.side, second.reason) == ("candidate", "no such dtype")


def test_what_was_done_before_a_crash_is_kept(interpreter, tmp_path):
    ready = ready_capture(tmp_path)
    script = f"cp -r {ready} {tmp_path}/candidate-0-capture; echo bang; exit 9"
    first, *others = run_all(interpreter(script), tmp_path, 3)
    assert first.tap("logits").shape == (1, 2)
    assert [(o.reason, o.last_lines) for o in others] == [
        ("The mindspore worker ended with exit code 9.", ("bang",))
    ] * 2


def test_what_was_done_before_the_time_ran_out_is_kept(interpreter, tmp_path):
    ready = ready_capture(tmp_path)
    script = f"cp -r {ready} {tmp_path}/candidate-0-capture; sleep 300"
    first, second = run_all(interpreter(script), tmp_path, 2, timeout=2.0)
    assert isinstance(first, Capture)
    assert "did not finish within 2 s" in second.reason


def test_each_run_reaches_the_worker(interpreter, tmp_path):
    script = interpreter(f'shift 2; for word in "$@"; do echo "$word"; done > {tmp_path}/given')
    run_all(script, tmp_path, 2)
    files = [tmp_path / f"candidate-{n}" for n in (0, 1)]
    given = [(f"{file}.json", f"{file}-capture") for file in files]
    assert (tmp_path / "given").read_text().split() == [word for pair in given for word in pair]
    assert all(Run.load(Path(run_file)) == RUN for run_file, _ in given)


def test_an_interpreter_that_cannot_be_started(tmp_path):
    path = tmp_path / "python"
    path.write_text("not a program")
    path.chmod(0o755)
    first, second = run_all(path, tmp_path, 2)
    assert "cannot be started" in first.reason
    assert first == second


def test_a_capture_of_another_version_is_not_read(tmp_path):
    ready = ready_capture(tmp_path)
    manifest = ready / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": 3', '"schema": 1'))
    with pytest.raises(ValueError, match="another version"):
        Capture(ready)


def test_finding_an_interpreter(tmp_path):
    assert os.access(find_python(None), os.X_OK)
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(EnvironmentUnavailableError, match="There is no Python"):
            find_python(str(path))
