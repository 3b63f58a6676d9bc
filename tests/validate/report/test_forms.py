"""Every form shows every verdict, from the file alone."""

from __future__ import annotations

import builtins
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from mindport.migrate.errors import EnvironmentUnavailableError
from mindport.validate.cli import main
from mindport.validate.report.forms import form_names, load_form
from mindport.validate.report.publish import publish
from mindport.validate.report.show import show_verdict
from tests.validate.report.verdicts import HOSTILE

NAMES = ("pass", "fail", "not-run", "everything")
PLAIN = [name for name in form_names() if name != "html"]


@pytest.fixture
def no_extra(monkeypatch):
    """Hide what the extra ``report`` installs."""
    load = builtins.__import__

    def refuse(name, *rest, **more):
        if name.partition(".")[0] in ("jinja2", "vl_convert"):
            raise ImportError(name)
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)


def run(*words):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_they_are_the_files_of_the_folder():
    assert form_names() == ("html", "json", "junit", "markdown", "terminal")
    assert all(load_form(name).summary in run("report", "--help").output for name in form_names())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", PLAIN)
def test_each_shows_each(verdicts, store, form, name):
    verdict = verdicts[name]
    done = run("report", store(verdict), "--format", form)
    assert done.exit_code == 0
    assert verdict.verdict.upper().replace("-", " ") in done.output.upper().replace("-", " ")
    for tap in (verdict.first_faulty_tap, verdict.taps and verdict.taps[-1].name):
        assert not tap or tap in done.output


def test_the_json_is_the_stored_one(verdicts, store):
    folder = store(verdicts["everything"])
    shown = json.loads(run("report", folder, "--format", "json").output)
    assert shown == json.loads((folder / "verdict.json").read_text())


def test_the_terminal_shows_what_the_command_showed(verdicts, store, capsys):
    show_verdict(verdicts["fail"], None, quiet=False)
    assert run("report", store(verdicts["fail"])).output == capsys.readouterr().out


def test_no_form_needs_a_framework(verdicts, store, tmp_path):
    folder = store(verdicts["everything"])
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'torch', 'transformers', 'mindspore', 'mindnlp'}:\n"
        "            raise ImportError(name + ' is not to be imported')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from mindport.validate.umbrella import main\n"
        f"main(['validate', 'report', {str(folder)!r}, '--format', sys.argv[1]])\n"
    )
    for form in PLAIN:
        done = subprocess.run(
            [sys.executable, "-c", code, form], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


class TestJunit:
    def cases(self, verdict):
        text = load_form("junit").render(verdict, "").text
        suite = ElementTree.fromstring(text).find("testsuite")
        cases = suite.findall("testcase")
        counts = [len(suite.findall(f"testcase/{what}")) for what in ("failure", "skipped")]
        assert [int(suite.get(name)) for name in ("tests", "failures", "skipped", "errors")] == [
            len(cases), *counts, 0,
        ]  # fmt: skip
        return {(case.get("classname"), case.get("name")): case for case in cases}

    def test_a_pass_has_a_case_for_each_tap(self, verdicts):
        cases = self.cases(verdicts["pass"])
        taps = [tap.name for tap in verdicts["pass"].taps]
        assert list(cases) == [
            ("validate.gpt2.lm", "verdict"), *(("validate.gpt2.lm.taps", name) for name in taps),
        ]  # fmt: skip
        assert all(len(case) == 0 for case in cases.values())

    def test_a_failure_has_its_numbers(self, verdicts):
        cases = self.cases(verdicts["fail"])
        failure = cases["validate.gpt2.lm.taps", "block.1.mlp"].find("failure")
        tap = next(tap for tap in verdicts["fail"].taps if tap.name == "block.1.mlp")
        assert failure.get("type") == "faulty"
        assert failure.get("message") == tap.problem
        assert f"{tap.isolated.candidate.rms:.3g} times what rounding predicts" in failure.text
        assert f"allowed {tap.isolated.candidate.limit_rms:.3g}" in failure.text
        assert "cause: the result, or the matrix, is multiplied by a constant" in failure.text
        follows = cases["validate.gpt2.lm.taps", "logits"].find("failure")
        assert follows.get("type") == "follows"
        assert cases["validate.gpt2.lm.taps", "block.0"].find("failure") is None

    def test_what_was_not_run_is_skipped_with_the_reason(self, verdicts):
        cases = self.cases(verdicts["not-run"])
        assert len(cases) == 1 + len(verdicts["not-run"].not_compared) > 10
        for case in cases.values():
            assert "there is no device" in case.find("skipped").get("message")

    def test_gradients_and_prompts_are_cases_too(self, verdicts):
        cases = self.cases(verdicts["everything"])
        wrong = cases["validate.gpt2.lm.gradients", "layer.4.weight"].find("failure")
        assert "used: 40" in wrong.text
        assert cases["validate.gpt2.lm.gradients", "loss"].find("failure") is not None
        assert cases["validate.gpt2.lm.prompts", "rows"].find("failure") is not None
        assert cases["validate.gpt2.lm.prompts", "metrics"].find("skipped") is not None
        assert cases["validate.gpt2.lm.taps", "pooler"].find("skipped") is not None
        assert ("validate.gpt2.lm.taps", HOSTILE) in cases

    def test_what_xml_cannot_hold_is_replaced(self, verdicts):
        from dataclasses import replace

        verdict = replace(verdicts["fail"], headline="a\x00b\x1b[31m\ud800")
        failure = self.cases(verdict)["validate.gpt2.lm", "verdict"].find("failure")
        assert failure.get("message") == "a\ufffdb\ufffd[31m\ufffd"


class TestMarkdown:
    def test_it_says_what_failed_first(self, verdicts):
        text = load_form("markdown").render(verdicts["fail"], "").text
        assert text.startswith("## FAIL: gpt2 lm\n")
        assert "| first faulty tap | `block.1.mlp` |" in text
        assert "(confirmed)" in text
        assert "more are off as a consequence" in text
        assert "![" not in text  # there is nothing beside standard output

    def test_nothing_in_it_is_markup_that_was_not_meant(self, verdicts):
        text = load_form("markdown").render(verdicts["everything"], "").text
        outside_code = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
        assert "<script" not in outside_code
        assert "<img" not in outside_code
        tables = [line for line in text.splitlines() if line.startswith("|")]
        for line in tables:
            assert line.endswith("|")
        rows = [line for line in tables if "script" in line]
        assert rows
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in rows}
        assert widths <= {3, 9}  # results; flips and taps: the hostile pipes are no cells
        assert "| **unexplained** |" in text

    def test_it_stays_small_enough_for_a_comment(self, verdicts):
        assert len(load_form("markdown").render(verdicts["everything"], "").text) < 20_000

    def test_the_chart_lies_beside_it(self, verdicts, store, tmp_path, extra):
        out = tmp_path / "summary.md"
        assert (
            run("report", store(verdicts["fail"]), "--format", "markdown", "-o", out).exit_code == 0
        )
        (name,) = re.findall(r"!\[.*\]\((.*)\)", out.read_text())
        picture = ElementTree.parse(tmp_path / name).getroot()
        assert picture.tag == "{http://www.w3.org/2000/svg}svg"
        text = (tmp_path / name).read_text()
        assert "prefers-color-scheme: dark" in text
        assert ">block.1.mlp</text>" in text

    def test_without_the_extra_it_says_so(self, verdicts, no_extra):
        document = load_form("markdown").render(verdicts["fail"], "summary")
        assert not document.pictures
        assert "No chart: vl-convert-python is not installed" in document.text


class TestFiles:
    def test_nothing_is_overwritten_unasked(self, verdicts, store, tmp_path):
        folder, out = store(verdicts["pass"]), tmp_path / "out.xml"
        out.write_text("mine")
        words = ("report", folder, "--format", "junit", "-o", out)
        done = run(*words)
        assert (done.exit_code, out.read_text()) == (2, "mine")
        assert "is there already" in done.output
        assert run(*words, "--force").exit_code == 0
        assert "<testsuites" in out.read_text()

    def test_a_place_that_cannot_be_written(self, verdicts, store, tmp_path):
        done = run("report", store(verdicts["pass"]), "-o", tmp_path / "no" / "where.txt")
        assert done.exit_code == 2
        assert "cannot be written" in done.output

    def test_a_report_without_the_extra_is_the_data_alone(
        self, verdicts, tmp_path, no_extra, capsys
    ):
        folder = tmp_path / "report"
        folder.mkdir()
        (folder / "index.html").write_text("of an earlier verdict")
        assert show_verdict(verdicts["pass"], folder, quiet=False) == 0
        assert [path.name for path in folder.iterdir()] == ["verdict.json"]
        assert 'pip install "mindport[report]"' in capsys.readouterr().out

    def test_a_report_has_both(self, verdicts, tmp_path, extra):
        written, lacking = publish(tmp_path / "a" / "b", verdicts["pass"])
        assert [path.name for path in written] == ["verdict.json", "index.html"]
        assert not lacking

    def test_a_chart_that_cannot_be_drawn_does_not_lose_the_verdict(
        self, verdicts, tmp_path, extra, monkeypatch, capsys
    ):
        import vl_convert

        def fail(*_, **__):
            raise ValueError("no")

        monkeypatch.setattr(vl_convert, "vegalite_to_svg", fail)
        assert show_verdict(verdicts["fail"], tmp_path / "report", quiet=False) == 1
        assert [path.name for path in (tmp_path / "report").iterdir()] == ["verdict.json"]
        assert "could not draw a chart: no" in capsys.readouterr().out

    def test_asking_for_the_page_without_the_extra(self, verdicts, store, no_extra):
        with pytest.raises(EnvironmentUnavailableError, match="not installed") as caught:
            load_form("html").render(verdicts["pass"], "")
        assert caught.value.exit_code == 3


def test_each_form_is_one_file_below_the_limit():
    folder = Path(sys.modules[load_form.__module__].__file__).parent
    assert {path.stem for path in folder.glob("*.py")} == {"__init__", *form_names()}
