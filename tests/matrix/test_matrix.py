"""The matrix: what is gathered, what is not believed, and what is made of it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from configparser import ConfigParser
from dataclasses import asdict
from pathlib import Path

import pytest

from mindport.migrate.architectures import architecture_names, load_architecture
from mindport.migrate.errors import CheckpointError, MindportError
from mindport.validate.launch import NotRun
from mindport.validate.verdict import Verdict
from tests.matrix import report
from tests.matrix.cells import ASKED, Cell, Column, list_cells, list_columns
from tests.matrix.cost import install_seconds
from tests.matrix.expected import Exemption, find_surprises, read_exemptions
from tests.matrix.gather import gather
from tests.matrix.rows import NOT_ROWS, TOX, missing_interpreter, read_rows
from tests.matrix.running import run_row
from tests.matrix.sides import find_reference, reference_place
from tests.matrix.store import (
    MATRIX,
    REFERENCE,
    ROW,
    ROWS,
    VERDICT,
    code_digest,
    identify,
    recorded_place,
    write_cell,
    write_json,
)
from tests.matrix.table import render
from tests.validate.recorded import make_recorded
from tests.validate.small import SMALL, make_small

COST = {"install_seconds": 90.0, "run_seconds": 120.0, "cores": 2, "load": [3.0, 1.0]}
COLUMN = Column("gpt2", "lm", "trained")
CELLS = list_cells([COLUMN])
IDENTITY = {"framework": "mindspore", "version": "2.7.2", "details": {"python": "3.10.13"}}


@pytest.fixture
def folder(tmp_path):
    """Return a shared folder with the references of one column."""
    known = {"code": code_digest(), "columns": [asdict(COLUMN)], "cost": COST}
    write_json(tmp_path / REFERENCE / MATRIX, known)
    for dtype in COLUMN.dtypes:
        write_json(reference_place(tmp_path / REFERENCE, COLUMN, dtype) / "record.json",
                   {"dtype": dtype})  # fmt: skip
    return tmp_path


def put_row(folder, name="parity-py310-ms27", **others):
    """Write a row whose cells pass, except for those that are given by name."""
    row = folder / ROWS / name
    write_json(row / ROW, {"code": code_digest(), "cost": COST})
    for cell in CELLS:
        put_cell(folder, row, cell, **others.get(f"{cell.mode}_{cell.dtype}", {}))
    return row


def put_cell(folder, row, cell, verdict="pass", headline="all taps agree", tap=None):
    sides = {}
    if verdict != "not-run":
        write_json(recorded_place(row, cell) / "record.json", {"cell": cell.name})
        both = (reference_place(folder / REFERENCE, cell.column, cell.dtype),
                recorded_place(row, cell))  # fmt: skip

        sides = {side.relative_to(folder).as_posix(): identify(side) for side in both}
    ran = {**IDENTITY, "mode": cell.mode, "dtype": cell.dtype}
    torch = {**ran, "framework": "torch", "version": "2.13.0+cpu", "mode": "eager"}
    identity = {} if verdict == "not-run" else {"candidate": ran, "reference": torch}
    made = Verdict(verdict, headline, "gpt2", "lm", first_faulty_tap=tap, identity=identity)
    write_cell(row / cell.name, made, sides)


def gather_one(folder, name="parity-py310-ms27", lacks=lambda _: ""):
    matrix = gather(folder, [name], lacks)
    return matrix, matrix.rows[0]


def cell_named(mode, dtype):
    return Cell(COLUMN, mode, dtype).name


FIRST = cell_named("eager", "float32")


def test_every_architecture_and_head_is_a_column():
    listed = [(c.architecture, c.head) for c in list_columns() if c.asks not in ASKED]
    known = [
        (name, head) for name in architecture_names() for head in load_architecture(name).heads
    ]
    assert sorted(listed) == sorted(known)
    assert {c.asks for c in list_columns("gpt2-lm-*")} == {"trained", "prompts", "gradients"}
    assert list_columns("nothing-*") == []


def test_rows_are_those_of_tox():
    listed = read_rows()
    assert {"parity-py310-ms27", "parity-py311-mindnlp051"} <= set(listed)
    assert not set(listed) & set(NOT_ROWS)
    assert len(listed) == len(set(listed))


def test_every_version_is_pinned():
    parser = ConfigParser(interpolation=None)
    parser.read(TOX)
    sections = [name for name in parser.sections() if name.startswith("testenv:parity-")]
    assert len(sections) >= 5
    named = [line for name in sections for line in parser[name].get("deps", "").splitlines()]
    common = (Path(__file__).parent / "constraints.txt").read_text().splitlines()
    pinned = [line.strip() for line in (*named, *common) if line and not line.startswith("#")]
    assert {line for line in pinned if "==" not in line} == {
        "-r validate/environments/mindnlp.txt"  # a lock file, whole
    }


def test_no_rows_is_an_error(tmp_path):
    path = tmp_path / "tox.ini"
    path.write_text("[tox]\nlabels =\n    other = a\n")
    with pytest.raises(MindportError, match="no label"):
        read_rows(path)


def test_a_missing_interpreter_is_named(monkeypatch):
    series = f"py{sys.version_info[0]}{sys.version_info[1]}"
    assert missing_interpreter(f"parity-{series}-ms27") == ""
    assert missing_interpreter("parity-anything") == ""
    assert missing_interpreter("parity-py399-ms27") == "there is no Python 3.99 here"


def test_a_whole_row_passes(folder):
    put_row(folder)
    matrix, row = gather_one(folder)
    assert row.state == "recorded"
    assert {found.status for found in row.cells.values()} == {"pass"}
    assert find_surprises(matrix, []) == []


def test_what_does_not_pass_is_a_surprise_unless_listed(folder):
    put_row(
        folder,
        eager_float16={"verdict": "fail", "headline": "block.0.mlp is off", "tap": "block.0.mlp"},
        graph_float16={"verdict": "uninformative", "headline": "a model that guesses"},
        eager_bfloat16={"verdict": "not-run", "headline": "no kernels"},
    )
    matrix, row = gather_one(folder)
    fail = row.cells[cell_named("eager", "float16")]
    assert (fail.status, fail.tap) == ("fail", "block.0.mlp")
    assert row.cells[cell_named("graph", "float16")].status == "fail"
    assert row.cells[cell_named("eager", "bfloat16")].status == "not run"
    assert len(find_surprises(matrix, [])) == 3
    listed = [
        Exemption("*", "*-eager-float16", "fail", "is off", "why", "block.0.mlp"),
        Exemption("*", "*-graph-float16", "fail", "guesses", "why"),
        Exemption("*", "*-eager-bfloat16", "not run", "no kernels", "why"),
    ]
    assert find_surprises(matrix, listed) == []


@pytest.mark.parametrize(
    "listed",
    [
        Exemption("*", "*-eager-float16", "fail", "is off", "why", "block.1.mlp"),
        Exemption("*", "*-eager-float16", "fail", "is on", "why", "block.0.mlp"),
        Exemption("*", "*-eager-float16", "not run", "is off", "why", "block.0.mlp"),
    ],
    ids=["tap", "says", "status"],
)
def test_another_failure_than_the_listed_one_is_a_surprise(folder, listed):
    put_row(folder, eager_float16={"verdict": "fail", "headline": "it is off",
                                   "tap": "block.0.mlp"})  # fmt: skip
    matrix, _ = gather_one(folder)
    assert len(find_surprises(matrix, [listed])) == 1


def test_a_listed_failure_that_passes_is_a_surprise(folder):
    put_row(folder)
    matrix, _ = gather_one(folder)
    listed = Exemption("*", "*-eager-float16", "fail", "off", "why", "block.0.mlp")
    (said,) = find_surprises(matrix, [listed])
    assert "expected fail at 'block.0.mlp'" in said
    assert "pass" in said


def test_a_line_that_fits_no_cell_is_a_surprise(folder):
    put_row(folder)
    matrix, _ = gather_one(folder)
    (said,) = find_surprises(matrix, [Exemption("*-ms27", "gpt3-*", "fail", "x", "why")])
    assert "nothing fits" in said
    assert find_surprises(matrix, [Exemption("*-ms99", "gpt3-*", "fail", "x", "why")]) == []


def test_a_row_without_interpreter_is_skipped_and_shown(folder):
    put_row(folder)
    names = ["parity-py310-ms27", "parity-py312-ms29"]
    matrix = gather(folder, names, lambda row: "there is no Python 3.12 here" * ("312" in row))
    assert [row.state for row in matrix.rows] == ["recorded", "skipped"]
    assert find_surprises(matrix, []) == []
    table = render(matrix, lambda _row, _cell: "")
    assert "skipped: there is no Python 3.12 here" in table
    assert table.count("not run [1]") == 1


def test_a_row_with_nothing_recorded_is_a_surprise(folder):
    matrix, row = gather_one(folder)
    assert row.state == "missing"
    assert find_surprises(matrix, [])[0].endswith("tox -e parity-py310-ms27")


def test_nothing_but_skipped_rows_is_a_surprise(folder):
    matrix, _ = gather_one(folder, lacks=lambda _: "there is no Python")
    assert find_surprises(matrix, []) == ["no row was recorded at all"]


def damage_json(row):
    (row / FIRST / VERDICT).write_text("{")


def change_verdict(row):
    path = row / FIRST / VERDICT
    path.write_text(path.read_text().replace("all taps agree", "all is well"))


def remove_cell(row):
    shutil.rmtree(row / FIRST)


def change_reference(row):
    path = row.parents[1] / REFERENCE / COLUMN.name / "float32" / "record.json"
    path.write_text('{"made": "anew"}')


def remove_recorded(row):
    shutil.rmtree(row / FIRST / "recorded")


def swap_cell(row):
    other = row / cell_named("graph", "float32")
    shutil.rmtree(row / FIRST)
    shutil.copytree(other, row / FIRST)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (damage_json, "damaged"),
        (change_verdict, "damaged: verdict.json is not what was written"),
        (remove_cell, "nothing was recorded"),
        (change_reference, "stale: the reference"),
        (remove_recorded, "stale: the recorded side"),
        (swap_cell, "damaged: it is not about this cell"),
    ],
)
def test_a_verdict_that_cannot_be_relied_on_is_not_run(folder, harm, says):
    row = put_row(folder)
    harm(row)
    matrix, found = gather_one(folder)
    first = found.cells[FIRST]
    assert first.status == "not run"
    assert first.says.startswith(says)
    assert any(FIRST in said for said in find_surprises(matrix, []))


def test_a_row_of_other_code_is_missing(folder):
    row = put_row(folder)
    write_json(row / ROW, {"code": "0" * 64, "cost": COST})
    assert gather_one(folder)[1].says.startswith("another mindport recorded it")
    (row / ROW).write_text("[]")
    assert gather_one(folder)[1].says.startswith("damaged, row.json")


def test_a_reference_of_other_code_is_refused(folder):
    known = json.loads((folder / REFERENCE / MATRIX).read_text())
    write_json(folder / REFERENCE / MATRIX, {**known, "code": "0" * 64})
    with pytest.raises(CheckpointError, match="another mindport"):
        gather_one(folder)
    (folder / REFERENCE / MATRIX).unlink()
    with pytest.raises(CheckpointError, match="no reference"):
        gather_one(folder)


def test_the_table_shows_every_cell_with_its_reason(folder):
    put_row(
        folder,
        eager_float32={"verdict": "fail", "headline": "a | b is off", "tap": "block.0.mlp"},
        eager_bfloat16={"verdict": "not-run", "headline": "no kernels"},
        graph_bfloat16={"verdict": "not-run", "headline": "no kernels"},
    )
    matrix, _ = gather_one(folder)
    table = render(matrix, lambda _row, cell: "A known one." if "float32" in cell else "")
    lines = table.splitlines()
    assert "| parity-py310-ms27 | eager | float32 | **fail** `block.0.mlp` [1] |" in lines
    assert "| parity-py310-ms27 | eager | bfloat16 | not run [2] |" in lines
    assert "| parity-py310-ms27 | graph | bfloat16 | not run [2] |" in lines
    assert "| parity-py310-ms27 | graph | float16 | pass |" in lines
    assert r"1. a \| b is off. A known one." in lines
    versions = "| parity-py310-ms27 | MindSpore 2.7.2, Python 3.10.13 | torch 2.13.0+cpu"
    assert any(line.startswith(versions) for line in lines)
    assert any("| 3 | 1 | 2 | 1.5 | 2.0 | 1.0 to 3.0 |" in line for line in lines)


def test_the_report_writes_the_page_and_ends_with_1(folder, tmp_path, monkeypatch, capsys):
    put_row(folder)  # bfloat16 passes here, which the list of exemptions does not expect
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    argv = ["report", "--folder", str(folder), "--rows", "parity-py310-ms27", "--page", str(page)]
    monkeypatch.setattr(sys, "argv", argv)
    assert report.main() == 1
    assert "expected not run" in capsys.readouterr().err
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| pass |" in text


def test_the_report_ends_with_0_if_all_is_as_listed(folder, monkeypatch, capsys):
    reason = "MindSpore 2.7.2 cannot compute Gather in bfloat16 on the CPU."
    lacks = {"verdict": "not-run", "headline": reason}
    put_row(folder, eager_bfloat16=lacks, graph_bfloat16=lacks)
    argv = ["report", "--folder", str(folder), "--rows", "parity-py310-ms27"]
    monkeypatch.setattr(sys, "argv", argv)
    assert report.main() == 0
    assert "every cell is as expected" in capsys.readouterr().err


def test_the_report_without_a_reference_ends_with_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["report", "--folder", str(tmp_path)])
    assert report.main() == 2
    assert "tox -m matrix" in capsys.readouterr().err


def test_exemptions_say_why(tmp_path):
    assert all(e.why for e in read_exemptions())
    path = tmp_path / "list.yaml"
    path.write_text('- {row: "*", cell: "*", status: pass, says: x, why: y}\n')
    with pytest.raises(MindportError, match=r"list\.yaml"):
        read_exemptions(path)
    path.write_text('- {row: "*", column: "*"}\n')
    with pytest.raises(MindportError, match=r"list\.yaml"):
        read_exemptions(path)


def test_a_row_needs_a_reference_of_this_code(tmp_path, folder, capsys):
    assert run_row("r", tmp_path / "nowhere", lambda *_: []) == 2
    known = json.loads((folder / REFERENCE / MATRIX).read_text())
    write_json(folder / REFERENCE / MATRIX, {**known, "code": "0" * 64})
    assert run_row("r", folder, lambda *_: []) == 2
    assert capsys.readouterr().err.count("tox -e parity-reference") == 2


def test_a_row_appears_whole_or_not_at_all(folder):
    old = put_row(folder, "r")
    before = (old / FIRST / VERDICT).read_text()

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_row("r", folder, interrupt)
    assert (old / FIRST / VERDICT).read_text() == before
    assert os.listdir(folder / ROWS) == ["r"]


def test_a_row_runs_judges_and_outlives_a_broken_cell(folder, checkpoint):
    """One cell passes, one recorded side is garbage, and the rest have no candidate."""
    weights = checkpoint("gpt2", "lm", **SMALL["gpt2"])
    network = make_small(weights, "gpt2", "lm", "float32")
    reference = reference_place(folder / REFERENCE, COLUMN, "float32")
    shutil.rmtree(reference)
    make_recorded(reference, network, weights, "reference", network.run(seed=1))

    def prepare(cells, part):
        sides = []
        for cell in cells:
            found = find_reference(folder / REFERENCE, cell.column, cell.dtype)
            place = recorded_place(part, cell)
            if (cell.mode, cell.dtype) == ("eager", "float32"):
                make_recorded(place, network, weights, "candidate", network.run(seed=2))
                sides.append((found, place))
            elif cell.dtype == "float32":
                write_json(place / "record.json", {})
                sides.append((found, place))
            else:
                sides.append((found, NotRun("candidate", "no kernels")))
        return sides

    assert run_row("parity-py310-ms27", folder, prepare) == 0
    row = gather_one(folder)[1]
    assert row.cells[FIRST].status == "pass"
    assert row.cells[cell_named("graph", "float32")].status == "not run"
    assert "record.json cannot be read" in row.cells[cell_named("graph", "float32")].says
    assert row.cells[cell_named("eager", "float16")].says == "no kernels"
    assert row.cost["run_seconds"] >= 0


def test_a_row_in_which_nothing_ran_says_so(folder):
    lack = NotRun("candidate", "mindspore is not installed")
    assert run_row("r", folder, lambda cells, _: [(lack, lack)] * len(cells)) == 3


def test_the_cost_of_installing_is_read_from_the_environment(tmp_path):
    assert install_seconds(tmp_path) is None
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    times = {"pyvenv.cfg": 1000, "a-1.dist-info": 1030, "b-1.dist-info": 1090}
    for name, time in {**times, "mindport-0.1.0.dist-info": 2000}.items():
        path = tmp_path / name if name == "pyvenv.cfg" else packages / name / "RECORD"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (time, time))
    assert install_seconds(tmp_path) == 90.0
    os.utime(packages / "b-1.dist-info" / "RECORD", (9000, 9000))
    assert install_seconds(tmp_path) is None
