"""Recorded sides: what they hold, what is refused, what a comparison makes of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from mindport.migrate.errors import CheckpointError, DestinationError, MindportError
from mindport.validate.cli import main
from mindport.validate.formula.operations import evaluate
from mindport.validate.recording.archive import extract_zip, files_below, write_zip
from mindport.validate.recording.comparing import Yardstick, compare_recorded
from mindport.validate.recording.record import new_folder, open_recorded
from mindport.validate.recording.shared_case import open_case
from tests.validate.recorded import make_recorded, reseal

FRAMEWORKS = {"torch", "transformers", "mindspore", "mindnlp"}


@pytest.fixture(scope="module")
def network(small):
    return small("gpt2", "lm")


@pytest.fixture(scope="module")
def weights(small_checkpoint):
    return small_checkpoint("gpt2", "lm")


@pytest.fixture(scope="module")
def reference(network, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "reference"
    return make_recorded(folder, network, weights, "reference", network.run(seed=1))


@pytest.fixture(scope="module")
def candidate(network, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "candidate"
    return make_recorded(folder, network, weights, "candidate", network.run(seed=2), weights=False)


@pytest.fixture(scope="module")
def faulty(network, weights, tmp_path_factory):
    wrong = {"block.1.mlp": lambda step, given, setting: 1.1 * evaluate(step, given, setting)}
    folder = tmp_path_factory.mktemp("recorded") / "faulty"
    taps = network.run(wrong, seed=2)
    return make_recorded(folder, network, weights, "candidate", taps, weights=False)


@pytest.fixture(scope="module")
def light(network, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("light") / "reference"
    return make_recorded(folder, network, weights, "reference", network.run(seed=1), weights=False)


def test_two_recorded_sides_pass(reference, candidate, network):
    verdict = compare_recorded(reference, candidate)
    assert verdict.verdict == "pass", verdict.headline
    assert [tap.name for tap in verdict.taps] == list(network.case.taps)
    assert all(tap.isolated is not None for tap in verdict.taps if tap.name != "embeddings")
    assert not any("not at hand" in notice for notice in verdict.notices)


def test_a_fault_is_found_placed_and_named(reference, faulty):
    verdict = compare_recorded(reference, faulty)
    assert (verdict.verdict, verdict.first_faulty_tap) == ("fail", "block.1.mlp")
    assert verdict.diagnosis[0].cause == "scaled"


def test_comparing_needs_no_framework(reference, candidate, tmp_path):
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {FRAMEWORKS!r}:\n"
        "            raise ImportError(name + ' is not to be imported')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from mindport.validate.umbrella import main\n"
        f"main(['validate', 'compare', {str(reference)!r}, {str(candidate)!r}, '--report', "
        f"{str(tmp_path)!r}], standalone_mode=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "PASS" in done.stdout
    assert json.loads((tmp_path / "verdict.json").read_text())["verdict"] == "pass"


class TestWithoutWeights:
    def test_the_accumulated_view_is_the_same(self, reference, light, candidate):
        whole, alone = (compare_recorded(side, candidate) for side in (reference, light))
        assert alone.verdict == "pass"
        assert any("were not run" in notice for notice in alone.notices)
        for ours, theirs in zip(whole.taps, alone.taps, strict=True):
            assert theirs.isolated is None
            assert theirs.accumulated.candidate.rms == pytest.approx(
                ours.accumulated.candidate.rms, rel=1e-3
            )

    def test_a_fault_is_still_found(self, light, faulty):
        verdict = compare_recorded(light, faulty)
        assert (verdict.verdict, verdict.diagnosis) == ("fail", ())
        assert verdict.first_faulty_tap == "block.1.mlp"

    def test_the_weights_are_known_by_their_hash(self, light, faulty, weights, small_checkpoint):
        verdict = compare_recorded(light, faulty, Yardstick(str(weights)))
        assert verdict.diagnosis[0].cause == "scaled"
        others = small_checkpoint("gpt2", "lm", {"layer_norm_epsilon": 1e-4, "n_inner": 64})
        with pytest.raises(CheckpointError, match="other weights"):
            compare_recorded(light, faulty, Yardstick(str(others)))


def copied(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_damaged_file_is_named(reference, candidate, tmp_path):
    copy = copied(candidate, tmp_path)
    path = copy / "capture" / "taps.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"capture/taps\.safetensors is not what"):
        compare_recorded(reference, copy)


def test_a_missing_and_a_foreign_file_are_named(reference, candidate, tmp_path):
    copy = copied(candidate, tmp_path)
    (copy / "extra").write_text("x")
    with pytest.raises(CheckpointError, match="holds extra"):
        compare_recorded(reference, copy)
    (copy / "extra").unlink()
    (copy / "case" / "inputs.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"inputs\.safetensors is missing"):
        compare_recorded(reference, copy)


def test_another_version_is_named(reference, candidate, tmp_path):
    copy = copied(candidate, tmp_path)
    record = copy / "record.json"
    record.write_text(record.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(CheckpointError, match=r"mindport .* \(schema 99\)"):
        compare_recorded(reference, copy)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "mindport": 1}']
)
def test_a_record_that_is_none(reference, candidate, tmp_path, content):
    copy = copied(candidate, tmp_path)
    (copy / "record.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"record\.json cannot be read"):
        compare_recorded(reference, copy)


def test_what_is_no_recorded_run(reference, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is not a recorded run") as caught:
        compare_recorded(reference, tmp_path)
    assert "prompts compare" in caught.value.hint
    with pytest.raises(CheckpointError, match="is not there"):
        compare_recorded(reference, tmp_path / "nowhere")


def test_pairs_that_prove_nothing(reference, candidate, tmp_path):
    with pytest.raises(MindportError, match="are the same run"):
        compare_recorded(reference, reference)
    with pytest.raises(MindportError, match="are the same run"):
        compare_recorded(reference, copied(reference, tmp_path))
    with pytest.raises(MindportError, match="no float64 oracle") as caught:
        compare_recorded(candidate, reference)
    assert caught.value.hint == "Name the reference first."


def test_other_cases_are_told_apart(reference, candidate, small, weights, tmp_path):
    other = small("gpt2", "lm", seed=5)
    folder = make_recorded(tmp_path / "other", other, weights, "candidate", other.run())
    with pytest.raises(MindportError, match="different cases: the inputs differ"):
        compare_recorded(reference, folder)


def test_a_record_that_lies_about_its_dtype_fails(reference, candidate, tmp_path):
    copy = copied(candidate, tmp_path)
    reseal(copy, dtype="float16")
    verdict = compare_recorded(reference, copy)
    assert verdict.verdict == "fail"
    assert "the candidate ran in float32, not in float16" in verdict.headline


def test_a_case_that_was_changed_is_refused(candidate, tmp_path):
    copy = copied(candidate, tmp_path)
    case = copy / "case" / "case.json"
    case.write_text(case.read_text().replace('"seed": 0', '"seed": 1'))
    reseal(copy)
    with pytest.raises(CheckpointError, match="not the one that was run"):
        open_recorded(copy, tmp_path / "w")
    (copy / "case" / "inputs.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_case(copy / "case")


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fail_halfway():
        with new_folder(tmp_path / "out") as work:
            (work / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with pytest.raises(DestinationError, match="exists already"), new_folder(tmp_path / "there"):
        pass


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("record", "gpt2", "--reference", "--backend", "mindspore", "--candidate", "x.py:f"),
         "its own network"),
        (("record", "bert", "--case", "CASE"), "is a case of gpt2"),
        (("record", "gpt2", "--case", "CASE", "--batch", "9"), "--batch is settled"),
        (("record", "gpt2", "--case", "CASE", "--head", "none"), "--head is settled"),
        (("record", "gpt2", "--case", "NOWHERE"), "holds no case"),
        (("validate-none",), "No such command"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_orders_that_cannot_be_met(reference, tmp_path, argv, said):
    words = [{"CASE": str(reference), "NOWHERE": str(tmp_path / "no")}.get(w, w) for w in argv]
    done = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert said in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--candidate-capture", "REFERENCE"), "was recorded as a reference"),
        (("--reference-capture", "CANDIDATE"), "was recorded as a candidate"),
        (
            ("--reference-capture", "REFERENCE", "--dtype", "float16"),
            "Add --reference-dtype float32",
        ),
        (("--reference-capture", "REFERENCE", "--atol", "-1"), "at least 0"),
        (("--reference-capture", "REFERENCE", "--batch", "3"), "--batch is settled"),
        (("--reference-capture", "REFERENCE", "--emulate", "ascend-fp16"), "both sides in one run"),
    ],
)
def test_recorded_sides_that_cannot_take_a_place(reference, candidate, argv, said):
    places = {"REFERENCE": str(reference), "CANDIDATE": str(candidate)}
    done = CliRunner().invoke(main, ["gpt2", *(places.get(word, word) for word in argv)])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_two_recorded_sides_in_place_of_both_runs(reference, candidate):
    argv = ["--reference-capture", str(reference), "--candidate-capture", str(candidate)]
    done = CliRunner().invoke(main, ["gpt2", *argv, "--quiet"])
    assert done.output.startswith("pass: "), done.output


def test_nothing_is_overwritten(tmp_path):
    done = CliRunner().invoke(main, ["record", "gpt2", "-o", str(tmp_path)])
    assert done.exit_code == 2
    assert "exists already" in done.output


def test_a_case_is_made_without_a_framework(tmp_path, weights):
    out = tmp_path / "case"
    argv = ["case", "gpt2", "--checkpoint", str(weights), "--batch", "2", "--length", "8"]
    done = CliRunner().invoke(main, [*argv, "--gradients", "-o", str(out)])
    assert done.exit_code == 0, done.output
    case = open_case(out)
    assert case.inputs["input_ids"].shape == (2, 8)
    assert sorted(p.name for p in out.iterdir()) == [
        "case.json", "config.json", "inputs.safetensors", "targets.safetensors", "weights",
        "weights.json"]  # fmt: skip
    assert case.origin.checkpoint == weights.name
    assert str(weights.parent) not in (out / "weights.json").read_text()


class TestArchive:
    def test_equal_contents_give_equal_bytes(self, tmp_path):
        (tmp_path / "a").write_bytes(b"1" * 1000)
        for name in ("one.zip", "two.zip"):
            (tmp_path / "a").touch()
            write_zip(tmp_path / name, [("b/c", b"2"), ("a", tmp_path / "a")])
        assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
        extract_zip(tmp_path / "one.zip", tmp_path / "out")
        names = [p.relative_to(tmp_path / "out").as_posix() for p in files_below(tmp_path / "out")]
        assert names == ["a", "b/c"]

    @pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\..\\x", "C:/x"])
    def test_nothing_lands_outside(self, tmp_path, name):
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            archive.writestr(name, "x")
        with pytest.raises(CheckpointError, match="does not stay inside"):
            extract_zip(tmp_path / "bad.zip", tmp_path / "deep" / "out")
        assert [p.name for p in files_below(tmp_path)] == ["bad.zip"]

    def test_links_are_refused(self, tmp_path):
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            archive.writestr(info, "/etc/passwd")
        with pytest.raises(CheckpointError, match="does not stay inside"):
            extract_zip(tmp_path / "bad.zip", tmp_path / "out")

    def test_a_bomb_and_a_stump_are_refused(self, tmp_path):
        write_zip(tmp_path / "big.zip", [("zeros", bytes(1 << 20))])
        with pytest.raises(CheckpointError, match="at most"):
            extract_zip(tmp_path / "big.zip", tmp_path / "out", most_bytes=1000)
        whole = (tmp_path / "big.zip").read_bytes()
        (tmp_path / "big.zip").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CheckpointError, match="cannot be unpacked"):
            extract_zip(tmp_path / "big.zip", tmp_path / "out")

    def test_a_zipped_side_is_judged_like_a_folder(self, reference, candidate, tmp_path):
        path = tmp_path / "capture.zip"
        files = files_below(candidate)
        write_zip(path, [(f.relative_to(candidate).as_posix(), f) for f in files])
        assert compare_recorded(reference, path).verdict == "pass"
