"""The template of GPT-2 with frameworks, on a small case: killed, resumed, checked, forged."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mindport.validate.acceptance import templates
from tests.test_imports import run_without_frameworks

pytestmark = [
    pytest.mark.torch,
    pytest.mark.mindspore,
    pytest.mark.slow,
    pytest.mark.xdist_group("frameworks"),
]
EAGER, GRAPH = (f"lm-mindspore-CPU-{mode}-float32" for mode in ("eager", "graph"))
# The template on random tiny weights, which have no tokenizer for prompts.
CHANGES = {
    'checkpoint = "embedded" ': 'checkpoint = "random"\nsize = "tiny" ',
    'keep = "verdicts"': 'keep = "captures"',
    "batch = 4": "batch = 2",
    "length = 64": "length = 12",
    "max_ratio = 3.0": "max_ratio = 1000.0",  # no timing is judged in a test
    "rounds = 7": "rounds = 3",
    'tasks = ["sentiment"]\nlimit = 100\n': "",
    "[prompts] ": "# no prompts ",
}


@pytest.fixture
def task(tmp_path, frameworks):
    text = Path(templates.__file__).with_name("gpt2.toml").read_text()
    for there, instead in CHANGES.items():
        assert there in text, there
        text = text.replace(there, instead)
    path = tmp_path / "task.toml"
    path.write_text(text)
    return path


def command(*argv):
    return [sys.executable, "-m", "mindport.validate", "accept", *map(str, argv)]


def run(*argv):
    return subprocess.run(command(*argv), capture_output=True, text=True, check=False, timeout=600)


def wait_for(process, path):
    deadline = time.monotonic() + 600
    while not path.exists():
        assert process.poll() is None, "it ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers_of(pid):
    """Return the processes that a process has started and that are still there."""
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]


def test_killed_resumed_checked_and_tampered_with(task, tmp_path):
    out = tmp_path / "accepted"
    first = subprocess.Popen(command(task, "-o", out), stderr=subprocess.PIPE, text=True)
    wait_for(first, out / "cells" / f".part-{GRAPH}")
    children = workers_of(first.pid)
    first.kill()
    first.communicate()
    assert (out / "cells" / EAGER / "verdict.json").is_file()
    assert not (out / "integrity.json").exists()
    written = (out / "cells" / EAGER / "verdict.json").stat().st_mtime_ns

    second = subprocess.Popen(command(task, "-o", out), stderr=subprocess.PIPE, text=True)
    # The first has left a half-written cell, so its folder tells nothing of the second.
    assert any(line.startswith(f"{GRAPH}: new") for line in second.stderr)
    second.send_signal(signal.SIGINT)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 128 + signal.SIGINT
    assert "interrupted" in said
    assert not (out / "cells" / f".part-{GRAPH}").exists()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)

    done = run(task, "-o", out, "--signed-off-by", "Ada <ada@example.org>")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{EAGER}: kept" in done.stderr
    assert "2 not run, 2 of these may be absent" in done.stdout
    assert (out / "cells" / EAGER / "verdict.json").stat().st_mtime_ns == written
    digest = done.stdout.split("digest ")[1].strip()

    checked = run_without_frameworks("validate", "accept", "--verify", str(out), "--digest", digest)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "2 computed again from their captures" in checked.stdout

    shutil.rmtree(out / "cells" / GRAPH)
    checked = run("--verify", out)
    assert checked.returncode == 2
    assert f"cells/{GRAPH}/verdict.json is missing" in checked.stderr
