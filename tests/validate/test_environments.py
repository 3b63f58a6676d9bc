"""Environments: built whole or not at all, left alone when complete, and found by their backend."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from click.testing import CliRunner

import mindport.validate
from mindport.migrate.errors import DestinationError, EnvironmentUnavailableError, MindportError
from mindport.validate.case import Run
from mindport.validate.cli import main
from mindport.validate.environments import building
from mindport.validate.environments.building import build, remove
from mindport.validate.environments.check import check_versions
from mindport.validate.environments.code import isolated
from mindport.validate.environments.finding import (
    STAMP,
    backend_python,
    environments_folder,
    is_managed,
    look_up,
)
from mindport.validate.environments.interpreters import find_interpreter
from mindport.validate.environments.specification import (
    SPECIFICATIONS,
    Specification,
    load_specification,
    specification_names,
)
from mindport.validate.launch import Job, find_python, run_jobs

SPEC = load_specification("mindnlp")

# It stands in for the base Python, for that of the environment, and for uv.
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $@" >> {log}
case "$*" in
  -c*)      echo {version} ;;
  *" -r "*) for last; do :; done; cp "$last" {log}.lock
            if [ -e {log}.fail ]; then echo "no room left on the device"; exit 5; fi ;;
  *environments.check*) echo '{{"framework": "mindspore"}}' > "$4"
            env > {log}.variables
            if [ -e {log}.wrong ]; then echo "it computes nonsense"; exit 3; fi ;;
  *venv*)   for last; do :; done
            mkdir -p "$last/bin" "$last/lib"; cp {program} "$last/bin/python" ;;
esac
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Give a stand-in for Python, and a place for environments; returns it and what it was told."""
    log, program = tmp_path / "log", tmp_path / "bin" / "python3.11"
    program.parent.mkdir()
    log.touch()
    text = PROGRAM.format(log=log, program=program, version="3.11 3.11.9")
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setenv("MINDPORT_ENVS", str(tmp_path / "envs"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(building.shutil, "which", lambda name: None)
    return Fake(program, log)


class Fake:
    def __init__(self, program: Path, log: Path) -> None:
        self.program, self.log = program, log

    def told(self) -> list[str]:
        return self.log.read_text().splitlines()

    def now(self, what: str) -> Path:
        """Make a step go wrong from now on: ``fail`` installing, ``wrong`` the check."""
        flag = self.log.with_name(f"{self.log.name}.{what}")
        flag.touch()
        return flag

    def build(self, spec: Specification = SPEC, folder: Path | None = None, **kwargs):
        said: list[str] = []
        return build(spec, folder, self.program, said.append, **kwargs), said


def test_it_is_built_from_the_lock_file_alone(fake):
    found, said = fake.build()
    assert found.state == "complete"
    assert found.folder == environments_folder() / "mindnlp"
    assert found.stamp["python"] == "3.11.9"
    assert found.stamp["versions"]["mindnlp"] == SPEC.pins["mindnlp"]
    assert [line[:5] for line in said[:-1]] == [f"[{n}/6]" for n in range(1, 7)]
    assert fake.log.with_name("log.lock").read_text() == SPEC.lock
    (install,) = (line for line in fake.told() if " -r " in line)
    assert "--no-deps" in install


def test_what_is_complete_is_left_alone(fake):
    found, _ = fake.build()
    kept = found.folder / "kept"
    kept.touch()
    before = fake.told()
    again, said = fake.build()
    assert (again.state, said) == ("complete", [f"mindnlp is complete: {found.folder}"])
    assert fake.told() == before
    assert kept.exists()
    fake.build(anew=True)
    assert not kept.exists()


@pytest.mark.parametrize(
    ("step", "message"), [("fail", "no room left on the device"), ("wrong", "computes nonsense")]
)
def test_what_is_broken_off_never_counts_as_complete(fake, step, message):
    flag = fake.now(step)
    with pytest.raises(EnvironmentUnavailableError, match=message):
        fake.build()
    assert look_up(SPEC).state == "unfinished"
    with pytest.raises(EnvironmentUnavailableError, match="unfinished") as caught:
        backend_python("mindnlp", "mindnlp")
    assert "validate env create mindnlp" in caught.value.hint
    flag.unlink()
    (look_up(SPEC).folder / "left over").touch()
    found, _ = fake.build()
    assert found.state == "complete"
    assert not (found.folder / "left over").exists()


def test_a_killed_build_is_unfinished(fake, monkeypatch):
    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(building._Builder, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        fake.build()
    assert look_up(SPEC).state == "unfinished"


def test_another_lock_file_makes_it_outdated(fake):
    found, _ = fake.build()
    stamp = found.folder / STAMP
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "lock": "another"}))
    assert look_up(SPEC).state == "outdated"
    with pytest.raises(EnvironmentUnavailableError, match="another version of mindport"):
        backend_python("mindnlp", "mindnlp")
    assert fake.build()[0].state == "complete"


def test_an_environment_whose_python_is_gone_is_broken(fake):
    found, _ = fake.build()
    found.python.unlink()
    found.python.symlink_to("/nowhere/python3.11")
    assert look_up(SPEC).state == "broken"
    with pytest.raises(EnvironmentUnavailableError, match="lost its interpreter"):
        backend_python("mindnlp", "mindnlp")


def test_what_was_not_made_here_is_not_touched(fake, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis").write_text("years of work")
    with pytest.raises(DestinationError, match="was not made by mindport"):
        fake.build(folder=mine)
    place = environments_folder() / "mindnlp"
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(mine)
    with pytest.raises(DestinationError, match="was not made by mindport"):
        remove(SPEC)
    assert (mine / "thesis").read_text() == "years of work"


def test_another_place_is_linked_to(fake, tmp_path):
    elsewhere = tmp_path / "disk" / "big"
    found, _ = fake.build(folder=elsewhere)
    assert found.folder == elsewhere
    assert backend_python("mindnlp", "mindnlp") == elsewhere / "bin" / "python"
    with pytest.raises(DestinationError, match="already"):
        fake.build(folder=tmp_path / "third")
    assert remove(SPEC) == elsewhere
    assert not elsewhere.exists()
    assert not (environments_folder() / "mindnlp").is_symlink()
    assert remove(SPEC) is None


def test_a_full_disk_is_told_before_anything_is_taken_away(fake, monkeypatch):
    found, _ = fake.build()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    with pytest.raises(EnvironmentUnavailableError, match="needs about 4 GB"):
        fake.build(anew=True)
    assert look_up(SPEC).state == found.state == "complete"


def test_two_builds_at_once(fake):
    environments_folder().mkdir()
    with (environments_folder() / ".mindnlp.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EnvironmentUnavailableError, match="Another process"):
            fake.build()
        (environments_folder() / "mindnlp").mkdir()
        with pytest.raises(EnvironmentUnavailableError, match="Another process"):
            remove(SPEC)


def test_uv_is_used_where_there_is_one(fake, monkeypatch):
    uv = fake.program.with_name("uv")
    shutil.copy(fake.program, uv)
    monkeypatch.setattr(building.shutil, "which", lambda name: str(uv) if name == "uv" else None)
    assert fake.build()[0].state == "complete"
    make, install = (line for line in fake.told() if line.startswith("uv "))
    assert make.startswith("uv venv")
    assert str(fake.program) in make
    assert install.startswith("uv pip install --python")
    assert "--no-deps" in install


def test_what_a_user_has_set_for_pip_does_not_reach_it(fake, monkeypatch):
    for name in ("PIP_CONSTRAINT", "UV_OVERRIDE", "PYTHONHOME"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/with/torch")
    fake.build()
    seen = fake.log.with_name("log.variables").read_text()
    assert "elsewhere" not in seen
    assert "/with/torch" not in seen
    assert "PYTHONNOUSERSITE=1" in seen


def test_interpreters(fake, tmp_path):
    assert find_interpreter(("3.11",), fake.program).version == "3.11.9"
    with pytest.raises(EnvironmentUnavailableError, match=r"is Python 3\.11\.9; .* needs 3\.12"):
        find_interpreter(("3.12",), fake.program)
    with pytest.raises(EnvironmentUnavailableError, match="does not start"):
        find_interpreter(("3.11",), tmp_path / "nowhere")
    with pytest.raises(EnvironmentUnavailableError, match=r"no Python 4\.7 here"):
        find_interpreter(("4.7",))
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert find_interpreter(("4.7", here)).series == here


def test_where_they_are_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("MINDPORT_ENVS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert environments_folder() == tmp_path / "mindport" / "envs"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert environments_folder().is_relative_to(Path.home())
    monkeypatch.setenv("MINDPORT_ENVS", str(tmp_path / "mine"))
    assert environments_folder() == tmp_path / "mine"


def test_a_worker_there_runs_the_code_of_this_process(fake, tmp_path, monkeypatch):
    found, _ = fake.build()
    assert is_managed(found.python)
    assert not is_managed(Path(sys.executable))
    found.python.write_text("#!/bin/sh\nenv\n")
    monkeypatch.setenv("PYTHONPATH", "/with/torch")
    run = Run("mindnlp", "w", "CPU", "float32", "eager", "c")
    fake.program.write_text("#!/bin/sh\nenv\n")

    def seen(python):
        run_jobs([Job("candidate", (run,), python, tmp_path)], 20.0)
        lines = (tmp_path / "candidate.log").read_text().splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    code = Path(seen(found.python)["PYTHONPATH"])
    worker = code / "mindport" / "validate" / "worker.py"
    assert worker.samefile(Path(mindport.validate.__file__).parent / "worker.py")
    assert {p.name for p in (code / "mindport").iterdir()} == {"migrate", "prompts", "validate"}
    assert isolated({}, tmp_path)["PYTHONPATH"] == str(code)  # the links may be there already
    assert seen(fake.program)["PYTHONPATH"] == "/with/torch"


def test_finding_the_interpreter_of_a_backend(fake):
    with pytest.raises(EnvironmentUnavailableError, match="has not been built"):
        find_python(None, "mindnlp")
    assert find_python(str(fake.program), "mindnlp") == fake.program
    for backend in ("mindspore", "torch", "cell"):
        assert find_python(None, backend) == Path(sys.executable)
    found, _ = fake.build()
    assert find_python(None, "mindnlp") == found.python


def test_where_the_framework_is_installed_here_it_will_do(fake):
    assert backend_python("mindnlp", "json") is None


def test_commands(fake, monkeypatch):
    def run(*argv):
        done = CliRunner().invoke(main, argv)
        return done.exit_code, done.output

    assert run("env", "list")[1].split()[-2:] == ["mindnlp", "absent"]
    code, said = run("gpt2", "--backend", "mindnlp", "--quiet")
    assert (code, "validate env create mindnlp" in said) == (3, True)
    code, said = run("env", "create", "mindnlp", "--base-python", str(fake.program))
    assert (code, said.count("\n")) == (0, 7)  # a line per step, and one at the end
    code, said = run("env", "list")
    assert re.search(r"mindnlp +complete +3\.11\.9 +mindnlp 0", said)
    code, said = run("env", "remove", "mindnlp")
    assert (code, "removed" in said) == (0, True)
    code, said = run("env", "remove", "mindnlp")
    assert (code, said) == (0, "there is no mindnlp environment\n")
    assert run("env", "create", "nonsense")[0] == 2


@pytest.mark.parametrize("spec", SPECIFICATIONS, ids=lambda spec: spec.name)
def test_lock_files(spec):
    pins = {name.lower().replace("_", "-"): version for name, version in spec.pins.items()}
    assert len(pins) == len(spec.pins)
    assert "torch" not in pins  # nothing that could run in MindSpore's place
    assert set(spec.shown) <= set(spec.pins)
    assert int(pins["numpy"].partition(".")[0]) < 2
    # What the worker imports.
    assert {"click", "rich", "pyyaml", "safetensors", "tokenizers", "ml-dtypes"} <= set(pins)
    assert list(pins) == sorted(pins)
    assert not re.search(r"://|@|--", spec.lock)
    assert all(re.fullmatch(r"3\.1[0-2]", series) for series in spec.pythons)


def test_every_lock_file_has_an_entry():
    folder = Path(building.__file__).parent
    assert sorted(path.stem for path in folder.glob("*.txt")) == list(specification_names())
    with pytest.raises(MindportError, match="Did you mean 'mindnlp'"):
        load_specification("mindnpl")


def test_a_lock_file_that_is_not_pinned(monkeypatch):
    monkeypatch.setattr(Specification, "lock", "numpy>=1  # any\n")
    with pytest.raises(ValueError, match="not name==version"):
        _ = SPEC.pins


def test_versions_are_compared_with_the_lock_file(monkeypatch):
    monkeypatch.setattr(Specification, "lock", "click==0.1\nno-such-package==1\n")
    with pytest.raises(EnvironmentUnavailableError) as caught:
        check_versions(SPEC)
    assert re.search(r"click is [\d.]+, not 0\.1; no-such-package is absent", str(caught.value))
