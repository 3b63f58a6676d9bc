"""A job that is carried: what is in it, that it checks itself, and what it needs."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import mindport.validate.recording
from mindport.validate.cli import main

JOB_MAIN = Path(mindport.validate.recording.__file__).with_name("job_main.py")


@pytest.fixture(scope="module")
def argv(small_checkpoint):
    weights = small_checkpoint("gpt2", "lm")
    return ["bundle", "gpt2", "--checkpoint", str(weights), "--batch", "2", "--length", "8",
            "--device", "Ascend"]  # fmt: skip


@pytest.fixture(scope="module")
def job(argv, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "job.zip"
    done = CliRunner().invoke(main, [*argv, "-o", str(path)])
    assert done.exit_code == 0, done.output
    assert "numpy, safetensors, ml-dtypes, mindspore" in " ".join(done.output.split())
    return path


def unpacked(job, folder):
    with zipfile.ZipFile(job) as archive:
        archive.extractall(folder)
    return folder


def start(*words):
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_same_order_gives_the_same_bytes(argv, job, tmp_path):
    again = tmp_path / "again.zip"
    assert CliRunner().invoke(main, [*argv, "-o", str(again)]).exit_code == 0
    assert again.read_bytes() == job.read_bytes()


def test_what_is_in_it(job, tmp_path):
    folder = unpacked(job, tmp_path)
    content = json.loads((folder / "job.json").read_text())
    assert content["run"]["device"] == "Ascend"
    assert sorted(content["weights"]) == ["config.json", "model.safetensors"]
    assert (folder / "run.py").read_bytes() == (folder / "__main__.py").read_bytes()
    assert (folder / "mindport" / "validate" / "worker.py").is_file()
    assert not list(folder.rglob("__pycache__"))
    pins = (folder / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("numpy==") for line in pins)
    assert str(Path.home()) not in (folder / "job.json").read_text()


def test_it_looks_for_what_it_needs_first(job):
    done = start("-S", "-E", job)
    assert done.returncode == 3
    assert "has no ml-dtypes, numpy, safetensors" in done.stderr.replace("mindspore, ", "")
    assert "Traceback" not in done.stderr


def test_the_program_needs_the_standard_library_alone():
    tree = ast.parse(JOB_MAIN.read_text())
    names = [a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names]
    names += [n.module for n in tree.body if isinstance(n, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def without_needs(folder):
    """Let a job need nothing that may be absent where these tests run."""
    path = folder / "job.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "needs": {}}))
    return folder


def test_a_damaged_job_names_the_file(job, tmp_path):
    folder = without_needs(unpacked(job, tmp_path))
    assert start(folder / "run.py", "--check").returncode == 0
    (folder / "weights" / "config.json").write_text("{}")
    done = start(folder / "run.py")
    assert done.returncode == 3
    assert "config.json of the weights is not what was packed" in done.stderr
    (folder / "case" / "case.json").unlink()
    assert "the job lacks case/case.json" in start(folder / "run.py").stderr


def test_weights_that_travel_apart(argv, job, tmp_path):
    path = tmp_path / "light.zip"
    done = CliRunner().invoke(main, [*argv, "--without-weights", "-o", str(path)])
    assert done.exit_code == 0, done.output
    folder = without_needs(unpacked(path, tmp_path / "light"))
    assert not (folder / "weights").exists()
    assert "--weights FOLDER" in start(folder / "run.py", "--check").stderr
    weights = unpacked(job, tmp_path / "whole") / "weights"
    assert start(folder / "run.py", "--check", "--weights", weights).returncode == 0


def test_the_worker_needs_no_library_of_the_command_line(tmp_path):
    code = (
        "import sys\n"
        "import mindport.validate.worker, mindport.validate.recording.job\n"
        "import mindport.validate.backends.mindspore\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = start("-c", code)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert not loaded & {"click", "rich", "yaml", "tokenizers", "torch", "mindspore"}


def test_nothing_is_overwritten(job, argv, tmp_path):
    done = CliRunner().invoke(main, [*argv, "-o", str(job)])
    assert done.exit_code == 2
    assert "exists already" in done.output
    shutil.rmtree(tmp_path)
