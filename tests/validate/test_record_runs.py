"""Recorded runs of the true frameworks: elsewhere, carried, and put in the place of a run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from click.testing import CliRunner

from mindport.validate.cli import main
from mindport.validate.launch import NotRun
from mindport.validate.recording.order import Order
from mindport.validate.recording.record import open_recorded
from mindport.validate.recording.running import record_together
from mindport.validate.request import Request

pytestmark = [
    pytest.mark.torch,
    pytest.mark.mindspore,
    pytest.mark.xdist_group("frameworks"),
    pytest.mark.usefixtures("frameworks"),
]
CASE = ("--checkpoint", "random", "--batch", "2", "--length", "8", "--gradients")


def run(*argv):
    done = CliRunner().invoke(main, [str(word) for word in argv])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "reference"
    done = run("record", "gpt2", "--reference", *CASE, "-o", folder)
    assert done.exit_code == 0, done.output
    return folder


def refusing(tmp_path, *names):
    """Return an environment in which some modules are not there, for workers too."""
    hook = tmp_path / "hook"
    hook.mkdir(parents=True)
    (hook / "sitecustomize.py").write_text(
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {names!r}:\n"
        "            raise ImportError(name + ' is not there')\n"
        "sys.meta_path.insert(0, Refuse())\n"
    )
    inherited = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{hook}{os.pathsep}{inherited}"}


def share_packages(environment: Path) -> None:
    """Show an environment the packages of this one, the editable ones (``.pth`` files) too."""
    folders = [p for p in sys.path if p and Path(p).is_dir()]
    (own,) = environment.glob("lib/python3*/site-packages")
    lines = [f"import site; site.addsitedir({folder!r})" for folder in folders]
    (own / "shared.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_candidate_is_recorded_where_there_is_no_torch(reference, tmp_path):
    out = tmp_path / "capture"
    done = subprocess.run(
        [sys.executable, "-m", "mindport.validate", "record", "gpt2", "--case", str(reference),
         "-o", str(out)],
        env=refusing(tmp_path, "torch", "transformers"), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = tmp_path / "report"
    done = run("compare", reference, out, "--report", report)
    assert done.exit_code == 0, done.output
    verdict = json.loads((report / "verdict.json").read_text())
    assert verdict["identity"]["candidate"]["framework"] == "mindspore"
    assert verdict["gradients"] is not None
    assert "random" in verdict["checkpoint"]["reference"]["origin"]
    # The candidate's place can be taken by what was recorded, and then torch alone runs.
    assert run("gpt2", "--reference-capture", reference, "--candidate-capture", out,
               "--quiet").output.startswith("pass: ")  # fmt: skip


def test_one_worker_records_several_orders(reference, tmp_path):
    dtypes = ("float32", "bfloat16", "float16")
    orders = [(Order(Request("gpt2", dtype=dtype), case=reference), tmp_path / dtype)
              for dtype in dtypes]  # fmt: skip
    float32, bfloat16, float16 = record_together(orders)
    assert isinstance(bfloat16, NotRun)  # and that concerns it alone
    assert "bfloat16" in bfloat16.reason
    assert not (tmp_path / "bfloat16").exists()
    for folder in (float32, float16):
        assert open_recorded(folder, tmp_path / "zip").record.dtype == folder.name
    sides = [Order(Request("gpt2"), side, reference) for side in ("candidate", "reference")]
    with pytest.raises(ValueError, match="share a worker"):
        record_together([(order, tmp_path / order.side) for order in sides])


def test_a_job_runs_with_little_more_than_mindspore(reference, tmp_path):
    job, capture = tmp_path / "job.zip", tmp_path / "capture.zip"
    done = run("bundle", "gpt2", "--case", reference, "--mode", "graph", "-o", job)
    assert done.exit_code == 0, done.output
    absent = ("torch", "transformers", "click", "rich", "yaml", "tokenizers")
    carried = subprocess.run(
        [sys.executable, str(job), "-o", str(capture)], env=refusing(tmp_path, *absent),
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert carried.returncode == 0, carried.stderr
    assert "ran mindspore" in carried.stdout
    done = run("compare", reference, capture, "--quiet")
    assert done.output.startswith("pass: "), done.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["capture.zip", "hook", "job.zip"]


def test_a_recorded_reference_takes_the_place_of_a_run(reference):
    done = run("gpt2", "--reference-capture", reference, "--quiet")
    assert (done.exit_code, done.output[:6]) == (0, "pass: "), done.output


def test_an_absent_device_is_not_run(reference, tmp_path):
    out = tmp_path / "out"
    done = run("record", "gpt2", "--case", reference, "--device", "Ascend", "-o", out)
    assert done.exit_code == 3
    assert "Ascend" in done.output
    assert not out.exists()
    done = run("gpt2", "--reference-capture", reference, "--device", "Ascend")
    assert done.exit_code == 3
    assert "NOT RUN" in done.output


def test_the_advice_for_a_device_that_is_elsewhere_can_be_followed(tmp_path):
    """Every command that is printed is run as it stands; the other machine has a CPU alone."""
    done = run("gpt2", "--device", "npu", "--report", tmp_path / "report")
    assert done.exit_code == 3
    advice = json.loads((tmp_path / "report" / "verdict.json").read_text())["not_run"][0]["hint"]
    assert " ".join(advice.split()) in " ".join(done.output.split())
    commands = re.findall(r"'((?:validate|python) [^']+)'", advice)
    assert [" ".join(c.split()[:2]) for c in commands] == [
        "validate case", "validate record", "validate gpt2", "validate bundle", "python job.zip",
        "validate gpt2", "validate gpt2", "validate doctor",
    ]  # fmt: skip

    here, there = tmp_path / "here", tmp_path / "there"
    venv.create(there / "venv", with_pip=False)
    (there / "work").mkdir()
    here.mkdir()
    share_packages(there / "venv")
    lacking = refusing(there, "torch", "transformers")

    def follow(command, folder, python, env=None, device=None):
        program, *words = command.split()
        line = [python, "-m", "mindport.validate"] if program == "validate" else [python]
        if device and "--device" in words:
            words[words.index("--device") + 1] = device
        elif device:
            words += ["--device", device]
        return subprocess.run(
            [*map(str, line), *words], cwd=folder, env=env, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    def carry(name, source, target):
        move = shutil.copytree if (source / name).is_dir() else shutil.copyfile
        move(source / name, target / name)

    def at_home(command, expected=0):
        done = follow(command, here, sys.executable)
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout

    def away(command):
        done = follow(command, there / "work", there / "venv/bin/python", lacking, "CPU")
        assert done.returncode == 0, done.stdout + done.stderr

    case, recording, judging, bundle, job, judging_again, emulation, doctor = commands
    at_home(case)
    carry("case", here, there / "work")
    away(recording)
    carry("capture", there / "work", here)
    assert "PASS" in at_home(judging)
    at_home(bundle)
    carry("job.zip", here, there / "work")
    away(job)
    carry("capture.zip", there / "work", here)
    assert "PASS" in at_home(judging_again)
    assert "EMULATED" in at_home(emulation)
    assert "cannot run here" in at_home(f"{doctor} --quick", expected=3)
