"""The notebooks run, and give what is stored in them."""

from __future__ import annotations

import copy
import json
import re

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook, new_output

from examples.notebooks import NOTEBOOKS, VARIES, clean, differences, execute

SECONDS = 600  # of one cell, on a machine that does other things too
EVERY = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.mindspore
@pytest.mark.xdist_group("more-frameworks")
@EVERY
def test_it_gives_what_it_shows(path):
    for name in ("torch", "transformers", "mindspore"):
        pytest.importorskip(name)
    assert not list(differences(read(path), execute(path, SECONDS)))


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 4


@EVERY
def test_it_is_stored_executed_and_clean(path):
    stored = read(path)
    nbformat.validate(stored)
    assert clean(copy.deepcopy(stored)) == stored
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", cell.id) for cell in stored.cells)
    assert path.read_text(encoding="utf-8") == nbformat.writes(stored) + "\n"


@EVERY
def test_its_links_lead_somewhere(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text) if "://" not in t]
    assert targets
    for target in targets:
        assert (path.parent / target).exists(), target


def notebook(*outputs, tags=()):
    metadata = {"tags": list(tags)} if tags else {}
    return new_notebook(
        cells=[new_code_cell("pass", id="cell", outputs=list(outputs), metadata=metadata)]
    )


def printed(text, stream="stdout"):
    return new_output("stream", name=stream, text=text)


def pictured(svg):
    return new_output("display_data", data={"image/svg+xml": svg, "text/plain": "a chart"})


def test_another_output_is_found():
    stored = notebook(printed("52 of 52\n"))
    assert not list(differences(stored, notebook(printed("52 of 52\n"))))
    (found,) = differences(stored, notebook(printed("51 of 52\n")))
    assert "'cell'" in found
    assert "51 of 52" in found
    assert list(differences(stored, notebook()))


def test_figures_may_vary_where_a_cell_says_so_and_words_may_not():
    stored = notebook(printed("at `block.3` to 8.7e-06:  50%, ▁▂▃\n"), tags=[VARIES])
    other = notebook(printed("at `block.0.sum` to 1.25e-05: 7%, ▁▇\n"), tags=[VARIES])
    assert not list(differences(stored, other))
    assert list(differences(stored, notebook(printed("at `block.3` to nan: 50%, ▁\n"))))
    assert list(differences(notebook(printed("8.7e-06")), notebook(printed("8.8e-06"))))


def test_a_picture_has_to_be_there():
    assert not list(differences(notebook(pictured("<svg/>")), notebook(pictured("<svg>1</svg>"))))
    without = notebook(new_output("display_data", data={"text/plain": "a chart"}))
    assert list(differences(notebook(pictured("<svg/>")), without))


def test_what_must_not_be_stored_is_refused(tmp_path):
    with pytest.raises(ValueError, match="stderr: oh"):
        clean(notebook(printed("oh", "stderr")))
    with pytest.raises(ValueError, match="names"):
        clean(notebook(printed(f"wrote {tmp_path}")))


def test_a_cell_that_raises_is_an_error_and_metadata_go(tmp_path):
    path = tmp_path / "small.ipynb"
    nbformat.write(notebook(), path)
    noisy = json.loads(path.read_text())
    noisy["metadata"] = {"widgets": {}}
    noisy["cells"][0]["metadata"] = {"execution": {"iopub.status.idle": "now"}}
    noisy["cells"][0]["source"] = "print(6 * 7)"
    path.write_text(json.dumps(noisy))
    done = execute(path, SECONDS)
    (cell,) = done.cells
    assert (cell.outputs[0].text, cell.metadata) == ("42\n", {})
    assert set(done.metadata) == {"kernelspec", "language_info"}
    noisy["cells"][0]["source"] = "raise ValueError('not so')"
    path.write_text(json.dumps(noisy))
    with pytest.raises(CellExecutionError, match="not so"):
        execute(path, SECONDS)
