"""What Python code is offered: names, checks, progress, and both sides one at a time."""

from __future__ import annotations

import gc
import importlib
import json
import pkgutil
import subprocess
import sys
import tempfile
import typing
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

import mindport.migrate
import mindport.prompts
import mindport.validate
from mindport.migrate import Options as PortOptions
from mindport.migrate import Progress, convert, port, prepare
from mindport.migrate.errors import EnvironmentUnavailableError, MindportError
from mindport.validate import (
    Case,
    Request,
    compare,
    load_run,
    read_verdict,
    run,
    save_case,
    validate,
)
from mindport.validate.cli import main
from mindport.validate.options import Options
from mindport.validate.request import request_for
from mindport.validate.stages import Stages
from mindport.validate.steps import Step, looker, tell_step
from tests.validate.report.verdicts import HOSTILE

PACKAGES = (mindport.migrate, mindport.prompts, mindport.validate)


class TestNames:
    @pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
    def test_every_name_is_there(self, package):
        for name in package.__all__:
            assert getattr(package, name).__doc__, name

    @pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
    def test_no_name_is_a_modules(self, package):
        """Importing the module would put it in the place of the function."""
        modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
        assert not modules & set(package.__all__) - {"validate"}

    @pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
    def test_importing_a_package_imports_no_library(self, package):
        code = (
            f"import sys, {package.__name__}\n"
            "heavy = {'numpy', 'click', 'rich', 'yaml', 'tokenizers', 'safetensors'}\n"
            "print(sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "[]", done.stderr

    def test_the_options_are_the_fields_of_a_request(self):
        named = typing.get_type_hints(Options)
        asked = typing.get_type_hints(Request)
        assert set(named) == set(asked) - {"architecture"}
        for name, kind in named.items():
            assert set(typing.get_args(asked[name]) or {asked[name]}) <= {
                *(typing.get_args(kind) or {kind}), *(typing.get_args(asked["accept"]))
            } or name == "accept", name  # fmt: skip


class TestAsking:
    def test_a_request_is_a_case_with_more(self):
        case = Case("bert", checkpoint="random", batch=2)
        request = request_for(case, mode="graph")
        assert isinstance(request, Case)
        assert (request.checkpoint, request.batch, request.mode) == ("random", 2, "graph")
        assert request_for(request) == Request("bert", checkpoint="random", batch=2)

    def test_texts_and_paths_are_taken_for_each_other(self):
        request = Request("gpt2", checkpoint=Path("w"), inputs="x.npz", candidate=Path("p.py"))
        assert (request.checkpoint, request.inputs, request.candidate) == (
            "w", Path("x.npz"), "p.py"
        )  # fmt: skip

    def test_only_a_named_checkpoint_is_named(self):
        assert Case("gpt2").named_checkpoint is None
        assert Case("gpt2", checkpoint="random").named_checkpoint == "random"

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"dtype": "float23"}, "There is no dtype 'float23'. Did you mean 'float32'?"),
            ({"mode": "graf"}, "There is no mode 'graf'. Did you mean 'graph'?"),
            ({"backend": "mindspoor"}, "There is no backend 'mindspoor'. Did you mean"),
            ({"policy": "habit"}, "There is no policy 'habit'."),
            ({"attention": "flash"}, "There is no attention 'flash'."),
            ({"head": "tail"}, "has no head 'tail'."),
            ({"checkpoint": "random", "size": "vast"}, "has no size 'vast'."),
            ({"emulate": "abacus"}, "There is no matrix unit 'abacus'."),
            ({"accept": ["gravity"]}, "There is no departure 'gravity'."),
            ({"batch": 0}, "--batch must be at least 1, not 0."),
            ({"timeout": float("nan")}, "--timeout must be at least 1, not nan."),
            ({"device": "toaster"}, "'toaster' is not a device."),
        ],
        ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
    )
    def test_bad_values_are_said_before_anything_runs(self, options, words):
        heard = []
        with pytest.raises(MindportError) as caught:
            validate("gpt2", on_progress=heard.append, **options)
        assert words in caught.value.message
        assert not any(progress.running for progress in heard)

    def test_an_unknown_option_is_a_type_error(self):
        with pytest.raises(TypeError, match="moed"):
            validate("gpt2", moed="graph")

    def test_the_command_says_the_same(self):
        with pytest.raises(MindportError) as caught:
            validate("gpt2", size="base")
        done = CliRunner().invoke(main, ["gpt2", "--size", "base"])
        assert done.exit_code == caught.value.exit_code == 2
        assert caught.value.message in done.output
        assert caught.value.hint in done.output

    def test_an_architecture_is_no_case(self):
        with pytest.raises(MindportError, match="run\\(\\) takes a case") as caught:
            run("gpt2")
        assert "validate('gpt2')" in caught.value.hint

    def test_a_reference_runs_torch(self):
        with pytest.raises(MindportError, match="The reference runs torch, not mindspore"):
            run(Case("gpt2"), backend="mindspore", side="reference")

    def test_the_weights_of_a_case_are_not_named_twice(self):
        with pytest.raises(MindportError, match="The weights are named by the case"):
            run(Case("gpt2"), checkpoint="random")

    def test_what_fails_leaves_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        for attempt in (lambda: run(tmp_path / "nowhere"), lambda: load_run(tmp_path / "nowhere"),
                        lambda: run(Case("gpt2"), device="toaster")):  # fmt: skip
            with pytest.raises(MindportError):
                attempt()
        assert list(tmp_path.iterdir()) == []


class TestProgress:
    def test_stages_add_up(self):
        heard = []
        stages = Stages(heard.append, 1.0, 3.0)
        stages("first")
        stages("second")
        stages.watch({"reference": Step("load", 0, 3), "candidate": Step("forward", 1, 2)})
        stages.watch({"reference": Step("oracle", 2, 3), "candidate": Step("forward", 1, 2)})
        stages.end()
        fractions = [progress.fraction for progress in heard]
        assert fractions == pytest.approx([0, 0.25, 0.4375, 0.6875, 1])
        assert str(heard[2]) == " 44% second (reference: load, candidate: forward)"

    def test_a_stage_too_many_is_no_harm(self):
        heard = []
        stages = Stages(heard.append, 1.0)
        for words in ("one", "two", "three"):
            stages(words)
        assert [progress.fraction for progress in heard] == [0, 1, 1]

    def test_steps_are_heard_once_each(self, tmp_path):
        heard, folders = [], [tmp_path / "a", tmp_path / "b"]
        look = looker({"candidate": folders}, heard.append)
        look()
        tell_step(folders[0], ("load", "forward"), "forward")
        look()
        look()
        tell_step(folders[1], ("load", "forward"), "load")
        look()
        assert heard == [{"candidate": Step("start", 0, 1)}, {"candidate": Step("forward", 1, 4)},
                         {"candidate": Step("load", 2, 4)}]  # fmt: skip

    def test_a_half_written_or_unwritable_step_is_left_out(self, tmp_path):
        heard = []
        (tmp_path / "a.step").write_text("1")
        looker({"candidate": [tmp_path / "a"]}, heard.append)()
        assert heard == [{"candidate": Step("start", 0, 1)}]
        tell_step(tmp_path / "nowhere" / "a", ("load",), "load")

    @pytest.mark.parametrize("verify", [True, False])
    def test_a_port_tells_how_far_it_is(self, checkpoint, tmp_path, verify):
        heard: list[Progress] = []
        source = checkpoint("gpt2", "lm")
        written = convert(source, str(tmp_path / "ms"), "gpt2", on_progress=heard.append,
                          options=PortOptions(verify=verify))  # fmt: skip
        fractions = [progress.fraction for progress in heard]
        assert fractions == sorted(set(fractions))
        assert fractions[-1] == 1
        assert {p.stage for p in heard} == ({"write", "verify"} if verify else {"write"})
        assert written.verified is verify
        again = port(prepare(source, "gpt2"), tmp_path / "again")
        assert (again / "model.safetensors").read_bytes() == (
            tmp_path / "ms" / "model.safetensors"
        ).read_bytes()


class TestVerdict:
    def test_a_pass(self, verdicts):
        verdict = verdicts["pass"]
        assert verdict.passed
        assert (verdict.first_faulty, verdict.first_diagnosis, verdict.cause) == (None, None, None)
        assert repr(verdict) == f"<Verdict pass: {verdict.headline}>"

    def test_a_fail(self, verdicts):
        verdict = verdicts["fail"]
        assert not verdict.passed
        assert verdict.first_faulty.tap == verdict.first_faulty.name == "block.1.mlp"
        assert verdict.first_faulty.used > 1
        assert verdict.cause == verdict.first_diagnosis.cause == "scaled"

    def test_only_a_pass_is_one(self, verdicts):
        assert not verdicts["not-run"].passed

    def test_it_is_printed_as_the_command_prints_it(self, verdicts):
        text = str(verdicts["fail"])
        assert "block.1.mlp" in text
        assert "FAIL" in text

    def test_it_is_saved_and_read(self, verdicts, tmp_path):
        written = verdicts["fail"].save(str(tmp_path / "report"))
        assert written[0] == tmp_path / "report" / "verdict.json"
        assert all(path.is_file() for path in written)
        assert read_verdict(tmp_path / "report").to_dict() == verdicts["fail"].to_dict()

    @pytest.mark.parametrize("name", ["pass", "fail", "not-run", "everything"])
    def test_a_notebook_shows_it_in_a_few_lines(self, verdicts, name):
        seen = []

        class Parser(HTMLParser):
            def handle_starttag(self, tag, attrs):
                seen.append(tag)
                assert not attrs

        shown = verdicts[name]._repr_html_()
        Parser().feed(shown)
        assert set(seen) <= {"div", "p", "b", "table", "tr", "th", "td"}
        assert HOSTILE not in shown
        assert verdicts[name].verdict.upper() in shown
        assert len(shown) < 3000


@pytest.fixture(scope="module")
def case():
    """Return a case that runs in little time."""
    return Case("gpt2", checkpoint="random", blocks_only=True, batch=2, length=16)


@pytest.fixture(scope="module")
def sides(case, frameworks):
    """Return both sides of it, and what was heard of the runs."""
    heard = []
    reference = run(case, backend="torch", on_progress=heard.append)
    return reference, run(case, mode="graph", on_progress=heard.append), heard


@pytest.mark.torch
@pytest.mark.mindspore
@pytest.mark.xdist_group("more-frameworks")
class TestRuns:
    def test_two_runs_are_compared(self, sides):
        reference, candidate, _ = sides
        assert (reference.side, candidate.side) == ("reference", "candidate")
        assert (candidate.identity.framework, candidate.identity.mode) == ("mindspore", "graph")
        assert candidate.tap("logits").shape[:2] == (2, 16)
        heard = []
        verdict = compare(reference, candidate, on_progress=heard.append)
        assert verdict.passed, verdict
        assert heard[-1] == Progress("done", 1.0)
        assert not compare(reference, candidate, atol=0.0).passed
        with pytest.raises(MindportError, match="There is no tap"):
            candidate.tap("logit")

    def test_both_tell_what_their_workers_do(self, sides):
        heard = sides[2]
        ends = [i for i, progress in enumerate(heard) if progress.stage == "done"]
        assert len(ends) == 2
        for part in (heard[: ends[0] + 1], heard[ends[0] + 1 :]):
            fractions = [progress.fraction for progress in part]
            assert fractions == sorted(fractions)
        said = {tuple(progress.running.items()) for progress in heard}
        assert {(("reference", "oracle"),), (("candidate", "forward"),)} <= said

    def test_a_run_is_kept_where_it_is_asked_for(self, case, sides, tmp_path):
        saved = save_case(case, tmp_path / "case")
        done = run(str(saved), output=tmp_path / "kept")
        assert done.path == tmp_path / "kept"
        kept = load_run(tmp_path / "kept")
        assert kept.record == done.record
        assert compare(sides[0].path, kept).passed
        place = done.path
        del done, kept
        gc.collect()
        assert place.is_dir()

    def test_what_was_not_to_be_kept_vanishes(self, case, frameworks):
        done = run(case)
        place = done.path
        assert place.is_dir()
        del done
        gc.collect()
        assert not place.parent.exists()

    def test_one_call_does_all(self, case, frameworks):
        heard = []
        verdict = validate(case, mode="graph", on_progress=heard.append)
        assert verdict.passed, verdict
        fractions = [progress.fraction for progress in heard]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1
        both = [p for p in heard if p.running.keys() == {"reference", "candidate"}]
        assert both
        assert json.dumps(verdict.to_dict())

    def test_a_side_that_cannot_run(self, case, tmp_path):
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\necho last words; exit 7\n")
        python.chmod(0o755)
        with pytest.raises(EnvironmentUnavailableError, match="ended with exit code 7") as caught:
            run(case, python=str(python))
        assert "last words" in caught.value.message


def test_modules_are_imported_without_the_plugin():
    """The plugin needs pytest, which is no dependency: nothing of ours may import it."""
    root = Path(mindport.validate.__file__).parent
    users = [p for p in root.rglob("*.py") if "pytest_plugin" in p.read_text()]
    assert [p.name for p in users] in ([], ["pytest_plugin.py"])
    assert importlib.import_module("mindport.validate.parity").__doc__
    assert {f.name for f in fields(Case)} < {f.name for f in fields(Request)}
