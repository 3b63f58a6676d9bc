"""Workers that die in every way: a plain reason, and nothing left running."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.validate import worker as worker_module
from mindport.validate.backend import Identity, LoadReport
from mindport.validate.capture import SCHEMA, Capture, CaptureManifest, save_capture
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
    manifest.write_text(manifest.read_text().replace(f'"schema": {SCHEMA}', '"schema": 1'))
    with pytest.raises(ValueError, match="another version"):
        Capture(ready)


def test_finding_an_interpreter(tmp_path):
    assert os.access(find_python(None), os.X_OK)
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(EnvironmentUnavailableError, match="There is no Python"):
            find_python(str(path))


def test_a_hidden_grandchild_of_a_worker_that_ended_is_stopped(interpreter, tmp_path):
    pid_file = tmp_path / "child"
    run(interpreter(f"sleep 300 & echo $! > {pid_file}; exit 0"), tmp_path)
    assert gone(int(pid_file.read_text()))


def gone(pid):
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        try:
            if stat.read_text().split()[2] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


DAMAGES = {
    "truncated": ("truncate -s -4 {0}/taps.safetensors", "cannot be read"),
    "empty manifest": (": > {0}/manifest.json", "cannot be read"),
    "NaN in the manifest": ("sed -i 's/1.0/NaN/' {0}/manifest.json", "NaN, which is no number"),
    "no manifest": ("rm {0}/manifest.json", "cannot be read"),
    "no taps": ("rm {0}/taps.safetensors", "taps.safetensors is missing"),
    "another tap": ('sed -i \'s/"logits"/"pooler"/\' {0}/manifest.json', "lacks pooler"),
    "a field less": ("sed -i '/\"weights\"/d' {0}/manifest.json", "cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_capture_is_not_run_with_a_reason(interpreter, tmp_path, damage):
    command, said = DAMAGES[damage]
    folder = tmp_path / "candidate-0-capture"
    copy = f"cp -r {ready_capture(tmp_path)} {folder}; {command.format(folder)}; echo last words"
    result = run(interpreter(copy), tmp_path)
    assert isinstance(result, NotRun)
    assert said in result.reason
    assert result.last_lines == ("last words",)


def test_a_tap_in_another_dtype_is_not_run(interpreter, tmp_path):
    save_capture(tmp_path / "wide", MANIFEST, {"logits": np.ones((1, 2))})
    result = run(interpreter(f"cp -r {tmp_path}/wide {tmp_path}/candidate-0-capture"), tmp_path)
    assert "stored as F32" in result.reason


def test_an_oracle_that_was_asked_for_must_be_there(interpreter, tmp_path):
    ready = ready_capture(tmp_path)
    script = interpreter(f"cp -r {ready} {tmp_path}/reference-0-capture")
    job = Job("reference", (replace(RUN, oracle=True),), script, tmp_path)
    (result,) = run_jobs([job], 20.0)["reference"]
    assert "oracle.safetensors is missing" in result.reason


def test_garbage_on_stdout_is_shown_harmlessly(interpreter, tmp_path):
    script = (
        "head -c 200000 /dev/zero | tr '\\0' 'x'; printf '\\n\\033[2J\\377\\000bell\\a\\n'; exit 4"
    )
    result = run(interpreter(script), tmp_path)
    assert max(map(len, result.last_lines)) <= 400
    assert all(line.isprintable() for line in result.last_lines)
    assert "bell" in result.last_lines[-1]


def test_an_unreadable_failure_is_still_a_failure(interpreter, tmp_path):
    script = f"echo '{{' > {tmp_path}/candidate-0-capture.failure.json; echo why; exit 3"
    result = run(interpreter(script), tmp_path)
    assert "cannot be read" in result.reason
    assert result.last_lines == ("why",)


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Run the true worker in this process, with a session that raises."""

    def run_worker(error):
        def work(*_):
            part = tmp_path / "c.part"
            part.mkdir()
            (part / "half").write_text("x")
            raise error

        monkeypatch.setattr(worker_module, "_work", work)
        RUN.save(tmp_path / "run.json")
        code = worker_module.main(str(tmp_path / "run.json"), str(tmp_path / "c"))
        assert sorted(p.name for p in tmp_path.iterdir()) == ["c.failure.json", "run.json"]
        return code, json.loads((tmp_path / "c.failure.json").read_text())["message"]

    return run_worker


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (SafetensorError("IoError: No space left on device (os error 28)"), "disk is full"),
    ],
    ids=["memory", "disk", "disk-in-safetensors"],
)
def test_a_worker_says_what_it_ran_out_of(worker, error, said):
    code, message = worker(error)
    assert code == 3
    assert said in message


def test_a_worker_ends_when_its_starter_is_killed(tmp_path):
    """With its children; nobody is left to stop them."""
    code = (
        "import os, subprocess, sys, time; from mindport.validate.guard import watch_parent;"
        "child = subprocess.Popen(['sleep', '300']);"
        "open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid}\\n');"
        "watch_parent(); time.sleep(300)"
    )
    starter = (
        "import subprocess, sys, os; os.environ['MINDPORT_PARENT'] = str(os.getpid());"
        "subprocess.Popen([sys.executable, '-c', *sys.argv[1:]], start_new_session=True).wait()"
    )
    pids = tmp_path / "pids"
    process = subprocess.Popen([sys.executable, "-c", starter, code, str(pids)])
    for _ in range(300):
        if pids.is_file() and pids.read_text().endswith("\n"):
            break
        time.sleep(0.1)
    time.sleep(0.5)  # the watch is on
    process.kill()
    process.wait()
    assert all(gone(int(pid)) for pid in pids.read_text().split())
