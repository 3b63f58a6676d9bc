"""Task files: what is understood, what is refused, and where the error is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindport.migrate.errors import MindportError
from mindport.validate.acceptance import templates
from mindport.validate.acceptance.reading import read_task

TEMPLATES = sorted(Path(templates.__file__).parent.glob("*.toml"))
GOOD = """schema = 1
name = "A task"
[model]
architecture = "bert"
heads = ["mlm", "nsp"]
[case]
batch = 2
[run]
backends = ["mindspore"]
devices = ["cpu", "npu:1"]
modes = ["eager", "graph"]
dtypes = ["float32"]
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "task.toml"
        path.write_text(text)
        return read_task(path)

    return read_text


def test_every_combination_is_a_cell(read):
    cells = read(GOOD).cells()
    assert len(cells) == 2 * 2 * 2
    assert {cell.device for cell in cells} == {"CPU", "Ascend:1"}
    assert cells[0].name == "mlm-mindspore-CPU-eager-float32"


def test_prompts_are_asked_of_heads_that_answer(read):
    cells = read(GOOD + '[prompts]\ntasks = ["sentiment", "topic"]\n').cells()
    assert [cell.prompts for cell in cells if cell.head == "nsp"] == [""] * 4
    assert [c.prompts for c in cells if c.head == "mlm"] == ["sentiment", "topic"] * 4


def test_a_cell_asks_what_the_command_asks(read, tmp_path):
    (tmp_path / "weights").mkdir()
    text = GOOD.replace('architecture = "bert"', 'architecture = "bert"\ncheckpoint = "weights"')
    task = read(text + "[tolerance]\natol = 1e-4\nrtol = 0\n[gradients]\ncheck = true\n")
    request = task.request(task.cells()[1])
    assert (request.batch, request.mode, request.atol, request.gradients) == (
        2,
        "graph",
        1e-4,
        True,
    )
    assert request.checkpoint == str(tmp_path / "weights")
    assert task.request(task.cells()[1], resolved=False).checkpoint == "weights"


def test_rules_hold_for_their_cells_alone(read):
    cells = read(
        GOOD + '[[cell]]\ndevice = "ascend:1"\nmay_be_absent = true\n'
        '[[cell]]\nhead = "nsp"\nmode = "graph"\nleave_out = "no need"\n'
    ).cells()
    assert {c.device for c in cells if c.may_be_absent} == {"Ascend:1"}
    assert all((c.head, c.mode) == ("nsp", "graph") for c in cells if c.left_out)
    assert sum(bool(c.left_out) for c in cells) == 2


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_templates_are_tasks(path):
    assert read_task(path).cells()


REFUSED = [
    ('name = "A task"', 'nam = "A task"', "line 2: nam is unknown. Did you mean 'name'?"),
    ("schema = 1", "schema = 7", "line 1: schema = 7; this mindport reads schema 1"),
    ('"bert"', '"brt"', "line 4: [model] architecture is 'brt'. Did you mean 'bert'?"),
    ('"nsp"', '"npp"', "line 5: [model] heads: 'npp'. Did you mean 'nsp'?"),
    ("batch = 2", "batch = 0", "line 7: [case] batch must be a whole number from 1 on"),
    ("batch = 2", "bath = 2", "line 7: [case] bath is unknown. Did you mean 'batch'?"),
    ("batch = 2", "batch = true", "line 7: [case] batch must be"),
    ("[case]", "[csae]", "line 6: [csae] is unknown. Did you mean 'case'?"),
    ('"mindspore"', '"mindspor"', "line 9: [run] backends[0] is 'mindspor'. Did you mean"),
    ('"npu:1"', '"npx"', "line 10: [run] devices[1] is 'npx' which is not a device."),
    ('"graph"', '"eager"', "line 11: [run] modes[1] is there twice"),
    ('["float32"]', '"float32"', "line 12: [run] dtypes must be a list"),
    ('dtypes = ["float32"]\n', "", "[run] dtypes is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("there", "instead", "said"), REFUSED, ids=lambda text: text[:30])
def test_errors_say_the_line_and_what_was_meant(read, there, instead, said):
    assert there in GOOD
    with pytest.raises(MindportError) as caught:
        read(GOOD.replace(there, instead, 1))
    assert said in str(caught.value)


ADDED = [
    ('[prompts]\ntasks = ["sentimnt"]', "line 14: [prompts] tasks: 'sentimnt'. Did you mean"),
    ("[prompts]\nlimit = 3", "line 13: [prompts] tasks is missing"),
    ("[performance]\nrounds = 5", "line 13: [performance] max_ratio is missing"),
    ("[performance]\nmax_ratio = inf", "line 14: [performance] max_ratio must be a number above 0"),
    ("[cell]\nmode = 'graph'", "line 13: write [[cell]]"),
    ("[[cell]]\nmay_be_absent = true", "line 13: [[cell]] does not say which cells"),
    ("[[cell]]\nmode = 'graph'", "line 13: [[cell]] says nothing of its cells"),
    ("[[cell]]\nmode = 'graph'\nmay_be_absnt = true", "[[cell]] may_be_absnt is unknown. Did"),
    ("[[cell]]\ndevice = 'GPU'\nmay_be_absent = true", "line 13: [[cell]] with device = 'GPU' is"),
    ("[[cell]]\nmode = 'graph'\nperformance = true", "performance = true, and there is no floor"),
    ("[tolerance]\npolicy = 'derived'\natol = 1.0", "line 14: [tolerance] has a policy, and atol"),
    ("[[run]]\nmodes = ['eager']", "task.toml is no TOML"),
    ("[performance]\nmax_ratio = 3\nclock = 'processor'", "clock does not see what Ascend:1 does"),
    ("[show]\nevery_tap = 1", "line 14: [show] every_tap must be true or false"),
]  # fmt: skip


@pytest.mark.parametrize(("added", "said"), ADDED, ids=lambda text: text[:30])
def test_what_is_added_is_checked_too(read, added, said):
    with pytest.raises(MindportError) as caught:
        read(GOOD + added + "\n")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("backend", "said"),
    [("mindnlp", "the backend mindnlp has no graph mode"), ("own", "own has no graph mode")],
)
def test_impossible_cells_are_refused_and_may_be_left_out(read, backend, said):
    text = GOOD.replace('"mindspore"', f'"mindspore", "{backend}"')
    text += '[own]\nfactory = "p.py:build"\n'
    with pytest.raises(MindportError, match=said):
        read(text)
    rule = f'[[cell]]\nbackend = "{backend}"\nmode = "graph"\nleave_out = "hooks"\n'
    assert len([c for c in read(text + rule).cells() if c.backend == backend]) == 8


def test_all_problems_are_said_at_once(read):
    with pytest.raises(MindportError) as caught:
        read(GOOD.replace("batch", "bath").replace('"eager"', '"egaer"'))
    assert {"bath", "'egaer'"} <= set(str(caught.value).replace(".", " ").split())


@pytest.mark.parametrize(
    "text", ['name = "x', "a = [", "\x00", "model = 3\nschema = 1", "[model]\nheads = 3"]
)
def test_no_text_gives_a_traceback(read, text):
    with pytest.raises(MindportError):
        read(text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MindportError, match="There is no"):
        read_task(tmp_path / "none.toml")
    with pytest.raises(MindportError, match="is a folder"):
        read_task(tmp_path)
