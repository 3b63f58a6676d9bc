from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from mindport.migrate.errors import MindportError
from mindport.prompts.parity import measure_rows, row_errors
from mindport.prompts.parity import rows as rows_module

WORDS = [[[(0, 1), (1, 2)]], [[(0, 3), (2, 4)]]]


@pytest.fixture
def plan(stand_in):
    return stand_in.plan(WORDS, items=6, priors=2, calibration="contextual")


@pytest.fixture
def pair():
    rng = np.random.default_rng(1)
    reference = rng.normal(size=(8, 3, 30)).astype(np.float32)
    return reference, reference + rng.normal(scale=1e-3, size=reference.shape).astype(np.float32)


def test_figures_by_hand(stand_in):
    plan = stand_in.plan([[[(0, 1)]], [[(0, 2)]]], items=2)
    reference = np.zeros((2, 1, 8), np.float32)
    reference[:, 0, :6] = [6, 5, 4, 3, 2, 1]
    candidate = reference.copy()
    candidate[0, 0, [0, 7]] += 2, 1.5  # the eighth overtakes the sixth only
    candidate[1, 0, [1, 5]] = 4.5, 3.5  # the sixth comes among the five, and the fifth leaves
    facts = measure_rows(plan, reference, candidate)
    assert facts.peaks.tolist() == [[2], [2.5]]
    assert facts.means.tolist() == [[3.5 / 8], [3 / 8]]
    assert facts.errors.tolist() == [[0], [0.5]]
    assert facts.largest.tolist() == [8, 6]
    assert facts.overlaps.tolist() == [[1], [0.8]]
    assert facts.same_order.tolist() == [[True], [False]]
    first, second = reference[1, 0].astype(float), candidate[1, 0].astype(float)
    cosine = first @ second / np.sqrt(first @ first * (second @ second))
    assert facts.cosines[1, 0] == pytest.approx(cosine)


def test_rows_of_zeros_have_a_cosine(stand_in):
    plan = stand_in.plan([[[(0, 1)]], [[(0, 2)]]], items=2)
    rows = np.zeros((2, 1, 5))
    other = rows.copy()
    other[1] = 1
    assert measure_rows(plan, rows, other).cosines.tolist() == [[1], [0]]


def test_blocks_make_no_difference(plan, pair, monkeypatch, tmp_path):
    whole = measure_rows(plan, *pair)
    mapped = []
    for name, rows in zip("ab", pair, strict=True):
        np.save(tmp_path / f"{name}.npy", rows)
        mapped.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    monkeypatch.setattr(rows_module, "_BLOCK_BYTES", 3 * 8 * 3 * 30)  # three items
    blocks = measure_rows(plan, *mapped)
    for name in ("errors", "peaks", "means", "largest", "cosines", "overlaps", "same_order"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(blocks, name))


def test_each_row_is_read_once(plan, pair):
    class Counting(np.ndarray):
        reads = 0

        def __getitem__(self, index):
            Counting.reads += isinstance(index, slice)
            return super().__getitem__(index)

    measure_rows(plan, pair[0].view(Counting), pair[1])
    assert Counting.reads == 1  # one block


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_short_formats(plan, pair, dtype):
    short = pair[0].astype(dtype)
    errors = row_errors(plan, pair[0], short)
    assert errors.shape == (8, 3)
    difference = np.abs(pair[0] - short.astype(np.float32))
    assert errors[3, 0] == difference[3, 0, [1, 3]].max()
    assert errors[3, 1] == difference[3, 1].max()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_items_with_no_number_are_named(plan, pair, value):
    pair[0][2, 1, 5] = value
    pair[1][7, 0, 0] = value
    with pytest.raises(MindportError) as caught:
        row_errors(plan, *pair)
    assert "'item2' (reference)" in str(caught.value)
    assert "calibration input 'prior 1' (candidate)" in str(caught.value)
    assert "item3" not in str(caught.value)


def test_many_items_with_no_number(plan, pair):
    pair[1][:] = np.nan
    pair[0][:3] = np.nan
    with pytest.raises(MindportError, match="and 1 more"):
        row_errors(plan, *pair)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: (a[:-1], b), "reference have shape"),
        (lambda a, b: (a, b[:, 0]), "candidate have shape"),
        (lambda a, b: (a, b[..., :20]), "vocabulary of 30, the candidate one of 20"),
        (lambda a, b: (a[..., :4], b[..., :4]), "token 4, but the rows have 4 columns"),
    ],
)
def test_rows_that_do_not_fit(plan, pair, change, message):
    with pytest.raises(MindportError, match=message):
        row_errors(plan, *change(*pair))
