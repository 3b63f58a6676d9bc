"""Environments broken on purpose: what the doctor says of each, and what would mend it.

Most are real: packages that stand in for the frameworks lie on the path of an interpreter that has
nothing else, and the doctor asks that interpreter. The others are facts made up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

import mindport.validate.doctor
from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.cli import main
from mindport.validate.devices import Device
from mindport.validate.doctor.compatibility import load_table
from mindport.validate.doctor.environment import Trial, find_environment, gather_facts
from mindport.validate.doctor.examination import conclude
from mindport.validate.doctor.finding import BACKENDS, WORDS, Job
from mindport.validate.doctor.machine import look_at_machine

FOLDER = Path(mindport.validate.doctor.__file__).parent
SCHEMA = json.loads((FOLDER / "doctor.schema.json").read_text())

TORCH = """
class Tensor:
    def __matmul__(self, other): return self
    def sum(self): return self
    def item(self): return 512.0
def ones(shape, device): return Tensor()
__version__ = "2.13.0"
"""
MINDSPORE = """
from types import SimpleNamespace
class Tensor:
    def __init__(self, rows, dtype): self.rows = rows
    def asnumpy(self): return self
    def sum(self): return float(sum(map(sum, self.rows)) * len(self.rows))
float32 = "float32"
ops = SimpleNamespace(MatMul=lambda: lambda a, b: a)
hal = SimpleNamespace(is_available=lambda name: False)
def set_device(kind, index):
    if kind != "CPU": raise RuntimeError("Unsupported device target Ascend.")
def get_context(name): return "CPU"
__version__ = "2.10.0"
"""
BASE = {"numpy": "1.26.4", "safetensors": "0.8.0", "tokenizers": "0.23.3", "mindport": "0.1.0"}
CODE = {"torch": TORCH, "mindspore": MINDSPORE}
HEALTHY = {**BASE, "torch": "2.13.0", "transformers": "5.23.0", "mindspore": "2.10.0"}
MINDNLP = {**BASE, "mindspore": "2.7.0", "transformers": "4.57.1", "mindnlp": "0.5.1"}
GENERATOR = (
    "raise TypeError(\"Generator.__init__() missing 2 required positional arguments: 'seed' and "
    "'offset'\")"
)


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory):
    """Return an interpreter that has no packages at all."""
    folder = tmp_path_factory.mktemp("doctor") / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def site(tmp_path):
    """Return a folder of packages with the given versions."""

    def make(versions, code=(), name="site"):
        folder = tmp_path / name
        for package, version in versions.items():
            (folder / package).mkdir(parents=True)
            source = dict(code).get(package, CODE.get(package, f"__version__ = {version!r}"))
            (folder / package / "__init__.py").write_text(source)
            add_metadata(folder, package.replace("_", "-"), version, package)
        return folder

    return make


def add_metadata(folder, name, version, *packages):
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{p}/__init__.py,,\n" for p in packages))


@pytest.fixture
def examine(bare_python, monkeypatch, tmp_path):
    """Run the command on folders of packages; return exit code, content and findings by name."""

    def run(*argv, path=(), python=bare_python):
        monkeypatch.setenv("PYTHONPATH", ":".join(map(str, path)))
        monkeypatch.chdir(tmp_path)
        argv = ["doctor", "--python", str(python), "--json", *argv]
        done = CliRunner().invoke(main, argv)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        if not done.stdout.startswith("{"):
            return done.exit_code, None, done.output
        content = json.loads(done.stdout)
        jsonschema.validate(content, SCHEMA)
        assert content["exit_code"] == done.exit_code
        return done.exit_code, content, {f["id"]: f for f in content["findings"]}

    return run


def install_of(content):
    return "\n".join(content["install"])


def test_a_healthy_environment(examine, site):
    code, content, found = examine(path=[site(HEALTHY)])
    assert (code, content["verdict"], content["install"]) == (0, "ok", [])
    assert content["can_run"] == {"mindspore": True, "torch": True, "mindnlp": False}
    assert found["run-torch-CPU"]["verdict"] == found["run-mindspore-CPU"]["verdict"] == "ok"
    assert found["package-mindnlp"]["verdict"] == found["ascend"]["verdict"] == "absent"


def test_mindspore_is_missing(examine, site):
    versions = {name: v for name, v in HEALTHY.items() if name != "mindspore"}
    folder = site(versions)
    code, content, found = examine("--backend", "mindspore", path=[folder])
    assert (code, content["verdict"]) == (3, "broken")
    assert found["package-mindspore"]["found"] == "not installed"
    assert install_of(content).endswith("-m pip install mindspore==2.10.0 numpy==1.26.4")
    code, content, _ = examine("--quick", path=[folder])
    assert (code, content["can_run"]["torch"], content["can_run"]["mindspore"]) == (0, True, False)


def test_nothing_works(examine):
    code, content, found = examine()
    assert (code, content["verdict"]) == (3, "broken")
    assert found["package-torch"]["verdict"] == found["package-mindport"]["verdict"] == "broken"
    assert "torch==2.13.0" in install_of(content)
    assert "pytorch.org" in content["notes"][0]


@pytest.mark.parametrize(
    ("mindspore", "verdict", "exit_code"), [("2.10.0", "warning", 0), ("2.7.0", "broken", 3)]
)
def test_numpy_2_beside_mindspore(examine, site, mindspore, verdict, exit_code):
    folder = site({**BASE, "numpy": "2.4.6", "mindspore": mindspore})
    code, content, found = examine("--backend", "mindspore", "--quick", path=[folder])
    assert (code, content["verdict"]) == (exit_code, verdict)
    assert found["mindspore-numpy"]["verdict"] == verdict
    assert install_of(content).endswith("-m pip install numpy==1.26.4")
    assert "2026-11-23" in found["mindspore-numpy"]["source"]


def test_an_old_image_with_an_unmatched_mindnlp(examine, site):
    """The users' own story: the errors do not speak of versions."""
    error = "raise AttributeError(\"module 'mindspore' has no attribute 'mint'\")"
    folder = site({**MINDNLP, "mindspore": "1.7.0", "mindnlp": "0.4.1"}, {"mindnlp": error})
    code, content, found = examine("--backend", "mindnlp", path=[folder])
    assert (code, content["verdict"]) == (3, "broken")
    pair = found["mindnlp-mindspore"]
    assert (pair["verdict"], pair["needed"]) == ("broken", "2.2 to 2.5")
    assert pair["found"] == "mindnlp 0.4.1, mindspore 1.7.0"
    assert "do not speak of versions" in pair["advice"]
    assert "no attribute 'mint'" in found["run-mindnlp"]["advice"]
    assert content["install"][0] == "python3.11 -m venv mindnlp-env"
    assert "mindspore==2.7.1" in content["install"][1]
    assert "mindnlp==0.5.1" in content["install"][1]


def test_mindnlp_with_a_mindspore_that_is_too_new(examine, site):
    folder = site({**MINDNLP, "mindspore": "2.10.0"}, {"mindnlp": GENERATOR})
    code, content, found = examine("--backend", "mindnlp", path=[folder])
    assert (code, content["verdict"]) == (3, "broken")
    assert found["mindnlp-mindspore"]["needed"] == "2.7.0 to 2.7.2"
    assert "'seed' and 'offset'" in found["mindnlp-mindspore"]["advice"]
    # The text of the failed import is recognised as well.
    assert "Known of mindnlp ==0.5.1, mindspore <2.11,>=2.8" in found["run-mindnlp"]["advice"]
    # Another MindSpore must not be put under what else uses this environment.
    assert content["install"][0].startswith("python3.11 -m venv ")
    # MindSpore itself is well.
    code, content, _ = examine("--backend", "mindspore", "--quick", path=[folder])
    assert (code, content["verdict"], content["install"]) == (0, "ok", [])


def test_transformers_5_with_mindnlp(examine, site):
    folder = site({**MINDNLP, "transformers": "5.23.0"}, {"mindnlp": "raise KeyError(None)"})
    code, content, found = examine("--backend", "mindnlp", path=[folder])
    assert (code, content["verdict"]) == (3, "broken")
    assert found["mindnlp-transformers"]["verdict"] == "broken"
    assert "KeyError: None" in found["run-mindnlp"]["advice"]
    assert "transformers==4.57.1" in install_of(content)
    assert "pip install" in content["install"][0]  # the MindSpore that is there fits


def test_torch_hidden_by_a_local_folder(examine, site):
    local = site({}, name="work") / "torch"
    local.mkdir(parents=True)
    (local / "__init__.py").write_text("")
    code, content, found = examine("--backend", "torch", path=[local.parent, site(HEALTHY)])
    assert (code, content["verdict"]) == (3, "broken")
    hidden = found["shadow-torch"]
    assert (hidden["verdict"], hidden["found"]) == ("broken", f"hidden by {local}")
    assert "Rename it" in hidden["advice"]
    assert "has no attribute 'ones'" in found["run-torch-CPU"]["advice"]
    assert content["install"] == []  # nothing that pip could mend


def test_a_local_folder_where_the_user_stands(examine, site, tmp_path):
    (tmp_path / "mindspore.py").write_text("")
    code, _, found = examine("--backend", "mindspore", "--quick", path=[site(HEALTHY)])
    assert code == 0
    assert found["local-mindspore"]["verdict"] == "warning"


def test_two_projects_with_one_package(examine, site):
    folder = site(MINDNLP)
    add_metadata(folder, "mindtorch", "0.4.0", "mindtorch")
    (folder / "mindnlp-0.5.1.dist-info" / "RECORD").write_text(
        "mindnlp/__init__.py,,\nmindtorch/__init__.py,,\n"
    )
    code, content, found = examine("--backend", "mindnlp", "--quick", path=[folder])
    assert (code, content["verdict"]) == (3, "broken")
    assert found["clash-mindtorch"]["verdict"] == "broken"
    assert "mindtorch 0.4.0" in found["clash-mindtorch"]["found"]
    assert content["install"][0].endswith("-m pip uninstall -y mindtorch")
    assert content["install"][1].endswith("--force-reinstall --no-deps mindnlp==0.5.1")


def test_an_import_that_hangs(examine, site):
    folder = site(HEALTHY, {"torch": "print('loading'); import time; time.sleep(600)"})
    code, content, found = examine("--backend", "torch", "--timeout", "1", path=[folder])
    assert (code, content["verdict"]) == (3, "broken")
    assert found["run-torch-CPU"]["found"] == "the import hangs"
    assert "did not end within 1 s" in found["run-torch-CPU"]["advice"]
    assert "loading" in found["run-torch-CPU"]["advice"]
    assert found["run-transformers"]["verdict"] == "ok"


def test_an_import_that_crashes(examine, site):
    crash = "import os, signal; print('libgomp: no TLS'); os.kill(os.getpid(), signal.SIGSEGV)"
    folder = site(HEALTHY, {"mindspore": crash})
    code, content, found = examine("--backend", "mindspore", path=[folder])
    assert (code, content["verdict"]) == (3, "broken")
    assert found["run-mindspore-CPU"]["found"] == "the import crashes"
    assert "killed by SIGSEGV" in found["run-mindspore-CPU"]["advice"]
    assert "libgomp: no TLS" in found["run-mindspore-CPU"]["advice"]
    code, content, _ = examine(path=[folder])
    assert (code, content["can_run"]["mindspore"], content["can_run"]["torch"]) == (0, False, True)


def test_ascend_without_a_driver(examine, site, monkeypatch):
    monkeypatch.setenv("ASCEND_HOME_PATH", "/no/such/cann")
    folder = site(HEALTHY)
    plugins = folder / "mindspore" / "lib" / "plugin"
    code, content, found = examine("--device", "npu", "--quick", path=[folder])
    assert found["plugin-ascend"]["verdict"] == "broken"
    plugins.mkdir(parents=True)
    (plugins / "libmindspore_ascend.so.2").touch()
    code, content, found = examine("--device", "npu:1", path=[folder])
    assert (code, content["verdict"]) == (3, "broken")
    assert content["job"] == {"backend": "mindspore", "device": "Ascend:1"}
    assert found["ascend"]["verdict"] == "broken"
    for looked in ("/dev/davinci*", "driver", "npu-smi", "/no/such/cann is set but not there"):
        assert looked in found["ascend"]["found"]
    assert "validate record" in found["ascend"]["advice"]
    assert "--emulate ascend-fp16" in found["ascend"]["advice"]
    assert "Unsupported device target" in found["run-mindspore-Ascend"]["advice"]
    assert content["install"] == []


def test_cann_that_does_not_match(examine, site, monkeypatch, tmp_path):
    version = tmp_path / "cann" / "compiler" / "version.info"
    version.parent.mkdir(parents=True)
    version.write_text("Version=8.1.0.0.101\nversion_dir=8.1.RC1\n")
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path / "cann"))
    folder = site(HEALTHY)
    code, _, found = examine("--device", "Ascend", "--quick", path=[folder])
    pair = found["mindspore-cann"]
    assert (pair["verdict"], pair["needed"]) == ("warning", "8.2, 8.3, 8.5, 9.0 or 9.1")
    assert pair["found"] == "mindspore 2.10.0, cann 8.1.0.0.101"
    assert code == 3  # there is no driver
    version.write_text("Version=8.5.0\n")
    assert (
        examine("--device", "Ascend", "--quick", path=[folder])[2]["mindspore-cann"]["verdict"]
        == "ok"
    )
    assert "mindspore-cann" not in examine("--quick", "--device", "CPU", path=[folder])[2]


def made_up(bare_python, python="3.11.7", trials=(), job=None, **installed):
    facts = gather_facts(bare_python)
    facts = replace(facts, python={**facts.python, "version": python})
    if installed:
        distributions = tuple(
            replace(make_distribution(name.replace("_", "-"), v)) for name, v in installed.items()
        )
        facts = replace(facts, distributions=distributions)
    return conclude(facts, look_at_machine({}), trials, job, tried=bool(trials), folder=FOLDER)


def make_distribution(name, version):
    from mindport.validate.doctor.environment import Distribution

    return Distribution(name, version, "/site", (name.replace("-", "_"),))


def test_python_3_13(bare_python):
    job = Job("mindspore", Device("CPU"))
    result = made_up(bare_python, "3.13.0", job=job, **HEALTHY)
    found = {f.id: f for f in result.findings}
    assert (result.exit_code, found["python"].verdict) == (3, "broken")
    assert "No matching distribution found for mindspore" in found["python"].advice
    assert found["mindspore-python"].verdict == "broken"
    assert result.install[0] == "python3.11 -m venv mindspore-env"
    assert "mindspore==2.10.0 numpy==1.26.4 mindport" in result.install[1]


def test_what_nobody_noted_is_not_fine(bare_python):
    installed = {**HEALTHY, "mindspore": "3.0.0", "transformers": "6.0", "mindnlp": "git"}
    result = made_up(bare_python, **installed)
    found = {f.id: f for f in result.findings}
    for topic in (
        "mindspore-python",
        "mindspore-version",
        "transformers-version",
        "mindnlp-version",
    ):
        assert (found[topic].verdict, found[topic].needed) == ("unknown", "not known"), topic
    assert (result.verdict, result.exit_code) != ("ok", 0)


def test_a_wrong_product_is_no_answer(bare_python):
    job = Job("torch", Device("GPU"))
    trial = Trial("torch", "GPU", "raised", "2.13.0", message="a product of ones summed to 0.0")
    result = made_up(bare_python, trials=[trial], job=job, **HEALTHY)
    assert {f.id: f.verdict for f in result.findings}["run-torch-GPU"] == "broken"
    assert result.exit_code == 3


def test_an_interpreter_that_does_not_answer(examine, tmp_path):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho Fatal Python error >&2; exit 1\n")
    script.chmod(0o755)
    code, content, output = examine(python=script)
    assert (code, content) == (3, None)
    assert "does not answer: Fatal Python error" in output
    script.write_text("no program")
    with pytest.raises(EnvironmentUnavailableError, match="cannot be started"):
        gather_facts(script)


@pytest.mark.parametrize(
    "argv", [("--device", "tpu"), ("--backend", "jax"), ("--timeout", "0"), ("extra",)]
)
def test_bad_input(examine, argv):
    assert examine(*argv)[0] == 2


def test_an_environment_by_folder_and_by_name(bare_python, examine, monkeypatch, tmp_path):
    assert find_environment(str(bare_python.parents[1])) == bare_python
    assert find_environment(None) == Path(sys.executable)
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda" / "environments.txt").write_text(f"{bare_python.parents[1]}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_environment(bare_python.parents[1].name) == bare_python
    assert examine(python="nowhere")[0] == 2


def test_paths_that_lead_nowhere_or_elsewhere(examine, site, tmp_path, monkeypatch):
    other = tmp_path / "lib" / "python3.9" / "site-packages"
    other.mkdir(parents=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/no/such/lib64")
    _, content, found = examine("--quick", path=[site(HEALTHY), other])
    assert "Python 3.9" in found["path-python"]["advice"]
    assert found["path-ld_library_path"]["found"] == "/no/such/lib64: not there"
    assert content["verdict"] == "warning"


def test_a_broken_off_install(examine, site):
    folder = site(HEALTHY)
    add_metadata(folder, "torch", "2.4.0", "torch")
    _, content, found = examine("--quick", "--backend", "torch", path=[folder])
    assert found["twice-torch"]["verdict"] == "warning"
    assert "--force-reinstall" in install_of(content)


def test_the_table_on_a_terminal(bare_python, site, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(site({**HEALTHY, "numpy": "2.4.6"})))
    done = CliRunner().invoke(main, ["doctor", "--python", str(bare_python), "--quick"])
    assert done.exit_code == 0
    header = next(line for line in done.output.splitlines() if line.startswith("what"))
    assert header.split("  ")[0] == "what"
    for word in ("found", "needed", "verdict", "what to do"):
        assert word in header
    assert "on the CPU can run: mindspore, torch, as far as can be told" in done.output
    assert "to mend it:" in done.output
    assert "pip install numpy==1.26.4" in done.output


def test_every_row_is_whole_and_has_a_dated_source():
    table = load_table()
    for topic in table.topics:
        assert set(topic.concerns) <= set(BACKENDS)
        assert topic.device in ("", "GPU", "Ascend")
        for row in topic.rows:
            assert set(row.when) <= set(topic.parts), topic.id
            assert row.verdict in WORDS[:3], topic.id
            assert row.needs, topic.id
            assert row.source[-10:].startswith("2026-"), row.source
            assert row.says or row.verdict == "ok", topic.id
            table.pins(row.mend)
    assert len({topic.id for topic in table.topics}) == len(table.topics)


@pytest.mark.parametrize("name", BACKENDS)
def test_what_it_advises_fits_by_its_own_table(name):
    table = load_table()
    stack = table.stacks[name]
    pins = dict(pin.split("==") for pin in stack.pins if "==" in pin)
    found = list(table.judge({"python": f"{stack.python}.7", **pins}))
    assert found
    assert {f.id: f.verdict for f in found if name in f.concerns and f.verdict != "ok"} in (
        {}, {"mindspore-version": "unknown"}
    )  # fmt: skip
