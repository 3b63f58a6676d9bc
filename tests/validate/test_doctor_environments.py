"""What the doctor says of the environments that mindport builds, each broken in one way."""

from __future__ import annotations

import json
import shutil

import jsonschema
import pytest
from click.testing import CliRunner

from mindport.validate.cli import main
from mindport.validate.doctor.environment import find_environment
from mindport.validate.environments.finding import STAMP
from mindport.validate.environments.specification import load_specification
from tests.validate.test_doctor import MINDNLP, SCHEMA, add_metadata

SPEC = load_specification("mindnlp")
WHOLE = {
    "schema": 1,
    "complete": True,
    "lock": SPEC.sha256,
    "python": "3.11.9",
    "versions": {name: SPEC.pins[name] for name in SPEC.shown},
}
BUILD = "validate env create mindnlp"
PACKAGES = {name: SPEC.pins[name] for name in MINDNLP if name in SPEC.pins}


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """Run the command where environments are kept in a folder of the test's."""
    monkeypatch.setenv("MINDPORT_ENVS", str(tmp_path / "envs"))
    monkeypatch.chdir(tmp_path)

    def run(*argv):
        done = CliRunner().invoke(main, ["doctor", "--quick", "--json", *map(str, argv)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        content = json.loads(done.stdout)
        jsonschema.validate(content, SCHEMA)
        assert content["exit_code"] == done.exit_code
        return done.exit_code, content, {f["id"]: f for f in content["findings"]}

    return run


@pytest.fixture
def environment(tmp_path):
    """Lay an environment into its place: an interpreter without packages, and a stamp."""

    def make(stamp, packages=PACKAGES):
        folder = tmp_path / "envs" / "mindnlp"
        shutil.rmtree(folder, ignore_errors=True)
        site = folder / "lib" / "python3" / "site-packages"
        site.mkdir(parents=True)
        (folder / "bin").mkdir()
        # An interpreter of its own, whose packages are those of the folder alone.
        python = folder / "bin" / "python"
        python.write_text(
            f"#!/bin/sh\nexec {find_environment(None)} -S -c '\n"
            "import sys, runpy\n"
            f'sys.prefix, sys.executable = "{folder}", "{python}"\n'
            f'sys.path.append("{site}")\n'
            "sys.argv = sys.argv[1:]\n"
            'runpy.run_path(sys.argv[0], run_name="__main__")\n'
            '\' "$@"\n'
        )
        python.chmod(0o755)
        for name, version in packages.items():
            (site / name).mkdir()
            (site / name / "__init__.py").write_text("")
            add_metadata(site, name.replace("_", "-"), version, name)
        if stamp is not None:
            (folder / STAMP).write_text(json.dumps(stamp))
        return folder

    return make


def test_none_is_built(doctor):
    code, content, found = doctor("--backend", "mindnlp")
    assert (code, content["verdict"], content["install"]) == (3, "broken", [BUILD])
    finding = found["environment-mindnlp"]
    assert (finding["found"], finding["verdict"]) == ("absent", "broken")
    assert finding["advice"].endswith(f"Build it: {BUILD}.")
    # What this interpreter lacks is no matter: nothing would be installed into it.
    assert "package-mindnlp" not in found
    assert content["environments"][0]["state"] == "absent"
    code, content, found = doctor()
    assert (found["environment-mindnlp"]["verdict"], content["can_run"]["mindnlp"]) == (
        "absent", False)  # fmt: skip
    assert not any("env create" in line for line in content["install"])


UNFIT = {
    "half-built": ({**WHOLE, "complete": False}, "unfinished", "broken off"),
    "stale": ({**WHOLE, "lock": "0" * 64}, "outdated", "another version of mindport"),
    "foreign": (None, "foreign", "set MINDPORT_ENVS"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_one_that_is_not_fit(doctor, environment, name):
    stamp, state, said = UNFIT[name]
    folder = environment(stamp)
    code, content, found = doctor("--backend", "mindnlp")
    finding = found["environment-mindnlp"]
    assert (code, finding["verdict"], content["install"]) == (3, "broken", [BUILD])
    assert finding["found"].startswith(state)
    assert str(folder) in finding["found"]
    assert said in finding["advice"]
    code, content, found = doctor()
    assert (found["environment-mindnlp"]["verdict"], content["can_run"]["mindnlp"]) == (
        "warning", False)  # fmt: skip
    assert BUILD in content["install"]
    # It is no matter to another job, nor to one in an interpreter that the user names.
    assert "environment-mindnlp" not in doctor("--backend", "mindspore")[2]
    named = doctor("--backend", "mindnlp", "--python", find_environment(None))[2]
    assert named["environment-mindnlp"]["verdict"] == "warning"
    assert named["package-mindnlp"]["verdict"] == "broken"


def test_one_whose_interpreter_is_gone(doctor, environment):
    (environment(WHOLE) / "bin" / "python").unlink()
    code, content, found = doctor("--backend", "mindnlp")
    assert (code, content["install"]) == (3, [BUILD])
    assert "Its interpreter is gone." in found["environment-mindnlp"]["advice"]


def test_a_complete_one_is_what_is_examined(doctor, environment):
    folder = environment(WHOLE)
    code, content, found = doctor("--backend", "mindnlp")
    assert (code, content["install"]) == (0, []), content["findings"]
    assert content["interpreter"] == str(folder / "bin" / "python")
    assert found["environment-mindnlp"]["verdict"] == "ok"
    assert found["mindnlp-mindspore"]["found"] == "mindnlp 0.5.1, mindspore 2.7.0"
    assert found["package-mindport"]["found"] == "from a folder"
    assert content["environments"] == [
        {
            "name": "mindnlp",
            "backend": "mindnlp",
            "state": "complete",
            "folder": str(folder),
            "versions": {**WHOLE["versions"], "python": "3.11.9"},
        }
    ]
    assert doctor()[1]["can_run"]["mindnlp"] is True


def test_one_that_was_changed_since(doctor, environment):
    environment(WHOLE, {**PACKAGES, "transformers": "5.23.0"})
    code, content, found = doctor("--backend", "mindnlp")
    finding = found["environment-mindnlp"]
    assert finding["verdict"] == "warning"
    assert "transformers 5.23.0 instead of 4.57.1" in finding["advice"]
    # The table knows that this does not import; what mends it is a new environment, not pip.
    assert found["mindnlp-transformers"]["verdict"] == "broken"
    assert (code, content["install"]) == (3, [f"{BUILD} --force"])


def test_one_whose_versions_do_not_fit_by_the_table(doctor, environment):
    versions = {**WHOLE["versions"], "mindspore": "2.10.0"}
    environment({**WHOLE, "versions": versions})
    finding = doctor()[2]["environment-mindnlp"]
    assert finding["verdict"] == "broken"
    assert "MindNLP and MindSpore" in finding["advice"]
    assert finding["advice"].endswith(f"Build it: {BUILD} --force.")


def test_the_table_on_a_terminal(doctor, environment):
    environment(WHOLE)
    done = CliRunner().invoke(main, ["doctor", "--quick"], env={"COLUMNS": "300"})
    assert "environment mindnlp" in done.output
    assert "complete, mindnlp 0.5.1" in done.output
