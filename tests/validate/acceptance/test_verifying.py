"""Folders that somebody changed: each is refused, with what and where; what hashes cannot do."""

from __future__ import annotations

import json
import shutil

import pytest

from mindport.migrate.errors import MindportError
from mindport.validate.acceptance.folder import hashes_below, seal
from mindport.validate.acceptance.publishing import write_last
from mindport.validate.acceptance.reading import read_task
from mindport.validate.acceptance.summary import Made, describe_code, summarise
from mindport.validate.acceptance.verifying import verify
from mindport.validate.report.forms import load_form
from mindport.validate.report.stored import read_verdict
from tests.validate.acceptance.made import NAMES, Workshop, set_up

LM, NONE = NAMES


@pytest.fixture(scope="module")
def originals(small_checkpoint, tmp_path_factory):
    """Make a folder of each kind once."""
    there = {}
    with pytest.MonkeyPatch.context() as patch:

        def make(keep, broken):
            if (keep, broken) not in there:
                folder = tmp_path_factory.mktemp("accepted")
                workshop = Workshop(small_checkpoint("gpt2", "lm"), folder, broken=set(broken))
                set_up(patch, workshop)
                workshop.accept(workshop.write(keep=keep))
                there[keep, broken] = folder / "out"
            return there[keep, broken]

        yield make


@pytest.fixture
def made(originals, tmp_path):
    """Return a folder of its own: of a right or a wrong candidate, with captures or without."""

    def make(name="out", keep="verdicts", broken=()):
        shutil.copytree(originals(keep, tuple(broken)), tmp_path / name)
        return tmp_path / name

    return make


def edit(path, *changes):
    text = path.read_text()
    for there, instead in changes:
        assert there in text, f"{path} has no {there}"
        text = text.replace(there, instead)
    path.write_text(text)


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def note_again(cell):
    """Write the hashes of a cell's files into its note, as they are now."""
    files = hashes_below(cell)
    files.pop("cell.json")
    edit_json(cell / "cell.json", lambda content: content.update(files=files))


def edit_summary(out):
    edit(out / "summary.json", ('"not accepted"', '"accepted"'), ('"status": "fail"',
                                                                  '"status": "pass"'))  # fmt: skip


def edit_verdict(out):
    edit(out / "cells" / LM / "verdict.json", ('"verdict": "fail"', '"verdict": "pass"'))


def soften_verdict(out):
    """Make a failed verdict one that contradicts nothing but its own figures."""

    def change(content):
        content.update(verdict="pass", first_faulty_tap=None, diagnosis=[], headline="all agree")
        for tap in content["taps"]:
            tap.update(ok=True, own_fault=False, problem="", within=1.0)
            tap["used"] = min(tap["used"], 0.5)

    edit_json(out / "cells" / LM / "verdict.json", change)
    note_again(out / "cells" / LM)


def remove_cell(out):
    shutil.rmtree(out / "cells" / LM)


def swap_cells(out):
    one, other = out / "cells" / LM, out / "cells" / NONE
    for name in ("verdict.json", "junit.xml", "verdict.md"):
        first, second = (one / name).read_bytes(), (other / name).read_bytes()
        (one / name).write_bytes(second)
        (other / name).write_bytes(first)
    note_again(one)
    note_again(other)


def add_cell(out):
    shutil.copytree(out / "cells" / LM, out / "cells" / "lm-mindspore-Ascend-eager-float32")


def loosen_task(out):
    edit(out / "task.toml", ("max_ratio = 3.0", "max_ratio = 9.0"))


def shorten_task(out):
    edit(out / "task.toml", ('"lm", "none"', '"none"'))
    remove_cell(out)


def other_timing(out):
    edit_json(out / "cells" / LM / "timing.json", lambda t: t["seconds"].update(reference=[]))


def other_weights(out):
    weights = {"model.safetensors": "2" * 64}
    path = out / "cells" / LM / "cell.json"
    edit_json(path, lambda content: content["fingerprint"].update(weights=weights))


def damage_note(out):
    edit_json(out / "cells" / LM / "cell.json", lambda content: content.pop("fingerprint"))


def edit_markdown(out):
    edit(out / "summary.md", ("NOT ACCEPTED", "ACCEPTED"))


def edit_report(out):
    edit(out / "cells" / LM / "verdict.md", ("## FAIL", "## PASS"))
    note_again(out / "cells" / LM)


def break_schema(out):
    edit_json(out / "summary.json", lambda content: content.update(note="trust me"))


TAMPERING = {
    "summary": (edit_summary, "summary.json"),
    "verdict": (edit_verdict, f"cells/{LM}/verdict.json"),
    "softened verdict": (soften_verdict, f"cells/{LM}"),
    "cell removed": (remove_cell, LM),
    "cells swapped": (swap_cells, f"cells/{LM}"),
    "cell added": (add_cell, "lm-mindspore-Ascend-eager-float32"),
    "task loosened": (loosen_task, "task"),
    "task shortened": (shorten_task, "summary.json"),
    "timing": (other_timing, f"The cell {LM} is damaged"),
    "weights": (other_weights, f"cells/{LM}: its reference loaded other weights"),
    "note": (damage_note, f"The cell {LM} is damaged"),
    "markdown": (edit_markdown, "summary.md"),
    "report of a cell": (edit_report, f"cells/{LM}: verdict.md"),
    "schema": (break_schema, "summary.json"),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_what_is_changed_is_found_by_its_hash(made, name):
    out = made(broken={"lm"})
    verify(out)
    TAMPERING[name][0](out)
    with pytest.raises(MindportError) as caught:
        verify(out)
    assert any(said in str(caught.value) for said in ("sha256", "is missing", "was not written"))


@pytest.mark.parametrize("name", TAMPERING)
def test_what_is_changed_and_sealed_again_is_found_by_what_it_says(made, name):
    tamper, where = TAMPERING[name]
    out = made(broken={"lm"})
    tamper(out)
    seal(out)
    with pytest.raises(MindportError) as caught:
        verify(out)
    assert where in str(caught.value), caught.value


def test_a_softened_verdict_contradicts_its_own_figures(made):
    out = made(broken={"lm"})
    soften_verdict(out)
    seal(out)
    with pytest.raises(
        MindportError, match=r"block\.1\.mlp uses .* of its tolerance by its figures, not 0\.5"
    ):
        verify(out)


def test_swapped_verdicts_are_known_by_what_they_are_of(made):
    out = made()
    swap_cells(out)
    rewrite(out)
    with pytest.raises(MindportError) as caught:
        verify(out)
    said = f"cells/{LM}: verdict.json is none of this cell: the verdict is of the head none, the"
    assert said in str(caught.value)


@pytest.mark.parametrize("what", ["extra", "missing", "link", "nested"])
def test_no_file_may_be_missing_or_more(made, what):
    out = made()
    if what == "extra":
        (out / "notes.txt").write_text("x")
    elif what == "missing":
        (out / "cells" / NONE / "junit.xml").unlink()
    elif what == "nested":
        (out / "cells" / NONE / "more").mkdir()
        (out / "cells" / NONE / "more" / "x").write_text("")
    else:
        path = out / "cells" / NONE / "junit.xml"
        path.rename(out.parent / "elsewhere.xml")
        path.symlink_to(out.parent / "elsewhere.xml")
    with pytest.raises(MindportError) as caught:
        verify(out)
    assert any(s in str(caught.value) for s in ("notes.txt", "junit.xml", "more/x"))


def rewrite(out):
    """Do as a forger does who has this program: write everything that follows anew."""
    task = read_task(out / "task.toml")
    for cell in (out / "cells").iterdir():
        verdict = read_verdict(cell)
        (cell / "verdict.md").write_text(load_form("markdown").render(verdict, "").text)
        (cell / "junit.xml").write_text(load_form("junit").render(verdict, "").text)
        note_again(cell)
    write_last(out, summarise(task, out, Made(describe_code())))
    seal(out)


def forge(out, right):
    """Put the verdicts of another candidate, that was right, in the place of the wrong one's."""
    for name in ("verdict.json", "junit.xml", "verdict.md"):
        shutil.copy(right / "cells" / LM / name, out / "cells" / LM / name)
    rewrite(out)


def test_kept_captures_find_a_verdict_of_another_candidate(made):
    right, wrong = made("right", "captures"), made("wrong", "captures", {"lm"})
    assert verify(right).recomputed == NAMES
    assert verify(wrong).recomputed == NAMES
    forge(wrong, right)
    with pytest.raises(MindportError) as caught:
        verify(wrong)
    assert f"cells/{LM}/verdict.json does not follow from its captures: " in str(caught.value)


def test_without_captures_only_the_digest_finds_it(made):
    right, wrong = made("right"), made("wrong", broken={"lm"})
    digest = verify(wrong).digest
    forge(wrong, right)
    assert verify(wrong).summary.exit_code == 0  # what hashes alone cannot find; the docs say so
    with pytest.raises(MindportError, match="its digest is"):
        verify(wrong, digest)
    assert verify(right, f"sha256:{verify(right).digest}").summary.exit_code == 0


def test_a_capture_of_the_other_side_is_refused(made):
    out = made(keep="captures")
    shutil.rmtree(out / "cells" / LM / "capture")
    shutil.copytree(out / "references" / "lm-float32", out / "cells" / LM / "capture")
    rewrite(out)
    with pytest.raises(MindportError):
        verify(out)


def test_figures_of_another_processor_may_differ_a_little(made):
    out = made(keep="captures")
    path = out / "cells" / LM / "verdict.json"

    def change(content):
        for tap in content["taps"]:
            tap["facts"]["max_abs"] *= 1 + 1e-9

    edit_json(path, change)
    rewrite(out)
    assert verify(out).recomputed == NAMES
    edit_json(path, lambda content: content["taps"][0]["facts"].update(max_abs=1e-9))
    rewrite(out)
    with pytest.raises(MindportError, match=r"taps\[0\]\.facts\.max_abs is"):
        verify(out)


def test_an_unfinished_folder_is_no_evidence(made):
    out = made()
    (out / "integrity.json").unlink()
    with pytest.raises(MindportError, match="is unfinished"):
        verify(out)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema": 1, "files": {}}', '{"schema": 9}'])
def test_a_damaged_seal_is_refused(made, text):
    out = made()
    (out / "integrity.json").write_text(text)
    with pytest.raises(MindportError):
        verify(out)
