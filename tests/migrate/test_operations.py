"""The operations of the mapping language: each undoes itself bit for bit, or says why it cannot."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindport.migrate.joints import Concatenate, Repeat, Split, TakePart, Tie
from mindport.migrate.operations import COPY, TRANSPOSE, Cast, Drop, NoInverseError
from mindport.migrate.vocabulary_rows import CutVocabulary, PadVocabulary, resize_vocabulary

DTYPES = (np.float32, np.float16, np.float64, ml_dtypes.bfloat16)
SIZES = st.integers(1, 5)


def draw(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def same(one, other):
    return (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())


@given(st.sampled_from([COPY, TRANSPOSE]), SIZES, SIZES, st.sampled_from(DTYPES))
def test_copy_and_transpose(operation, rows, columns, dtype):
    array = draw((rows, columns), dtype)
    changed = operation.apply(array)
    assert changed.shape == operation.shape(array.shape)
    assert same(operation.inverse().apply(changed), array)


@st.composite
def fusions(draw_from):
    """A fusion and arrays that it fits."""
    axis, parts = draw_from(st.integers(0, 1)), draw_from(st.integers(2, 4))
    heads = draw_from(st.integers(0, 3))
    shape = [draw_from(SIZES), draw_from(SIZES)]
    shape[axis] *= heads or 1
    if axis == 0 and draw_from(st.booleans()):
        shape.pop()  # a bias
    dtype = draw_from(st.sampled_from(DTYPES))
    arrays = [draw(tuple(shape), dtype, seed) for seed in range(parts)]
    return Concatenate(axis, parts, heads), arrays


@given(fusions())
@settings(deadline=None)
def test_fused_and_split_again(fusion):
    joint, arrays = fusion
    whole = joint.apply(arrays)
    assert whole.shape == joint.shape([array.shape for array in arrays])
    fork = joint.inverse()
    assert fork.shape(whole.shape) == tuple(array.shape for array in arrays)
    parts = fork.apply(whole)
    assert all(same(part, array) for part, array in zip(parts, arrays, strict=True))
    assert same(fork.inverse().apply(parts), whole)
    for number, array in enumerate(arrays):
        assert same(TakePart(fork, number).apply(whole), array)


@given(fusions())
@settings(deadline=None)
def test_operations_compose(fusion):
    """What the layout changes of the parts is undone behind the split, in reverse order."""
    joint, arrays = fusion
    if arrays[0].ndim != 2:
        return
    made = TRANSPOSE.apply(joint.apply([TRANSPOSE.apply(a).T for a in arrays]))
    parts = joint.inverse().apply(TRANSPOSE.inverse().apply(made))
    assert all(same(np.ascontiguousarray(p), a) for p, a in zip(parts, arrays, strict=True))


def test_the_order_of_heads():
    query, key = np.arange(4), np.arange(10, 14)
    assert Concatenate(0, 2).apply([query, key]).tolist() == [0, 1, 2, 3, 10, 11, 12, 13]
    by_head = Concatenate(0, 2, heads=2).apply([query, key])
    assert by_head.tolist() == [0, 1, 10, 11, 2, 3, 12, 13]


@given(st.integers(1, 4), SIZES, st.sampled_from(DTYPES))
def test_tied_and_repeated(parts, rows, dtype):
    array = draw((rows, 3), dtype)
    copies = Repeat(parts).apply(array)
    assert Repeat(parts).shape(array.shape) == tuple(c.shape for c in copies)
    assert same(Repeat(parts).inverse().apply(copies), array)
    assert Tie(parts).shape([array.shape] * parts) == array.shape


def test_what_differs_is_not_tied():
    zero = np.zeros(2, np.float32)
    for other in (np.float32([0, 1]), -zero, zero.astype(np.float64)):
        with pytest.raises(ValueError, match="different values"):
            Tie(2).apply([zero, other])


@given(SIZES, st.integers(1, 5), st.integers(0, 1), st.sampled_from(DTYPES))
def test_added_tokens_are_taken_off_again(before, more, axis, dtype):
    shape = (before, 3) if axis == 0 else (3, before)
    array, pad = draw(shape, dtype), resize_vocabulary(axis, before, before + more)
    padded = pad.apply(array)
    assert padded.shape == pad.shape(shape)
    assert padded.dtype == array.dtype
    assert same(pad.inverse().apply(padded), array)


@given(st.integers(2, 40), st.integers(1, 9), st.integers(0, 99))
def test_an_added_token_is_never_the_likeliest(before, more, seed):
    table, hidden = draw((before, 8), seed=seed), draw((5, 8), seed=seed + 1)
    logits = hidden @ PadVocabulary(0, before, before + more).apply(table).T
    real, added = logits[:, :before].max(-1), logits[:, before:].max(-1)
    assert (added <= real + 1e-5).all()


@given(st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_a_cast_back_is_exact_or_there_is_none(before, after):
    cast = Cast(np.dtype(before), np.dtype(after))
    array = draw((7, 3), before)
    try:
        back = cast.inverse()
    except NoInverseError:
        # Some number of the one dtype is none of the other.
        with np.errstate(over="ignore"):
            odd = np.array([1 + 2.0**-20, 1e30, 1 + 2.0**-9], before)
            assert not same(odd.astype(after).astype(before), odd)
    else:
        assert same(back.apply(cast.apply(array)), array)


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (CutVocabulary(0, 9, 7), "the last 2 tokens were left out"),
        (TakePart(Split(0, 3), 1), "the other parts"),
        (Cast(np.dtype(np.float32), np.dtype(np.float16)), "float16 rounds"),
        (Drop("the network builds it"), "the network builds it"),
    ],
)
def test_what_has_no_inverse_says_why(operation, why):
    with pytest.raises(NoInverseError, match=why):
        operation.inverse()


def test_what_is_dropped_is_nowhere():
    assert Drop("why").apply(np.ones(3)) == () == Drop("why").shape((3,))


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        (TRANSPOSE, np.ones(3)),
        (Split(0, 3), np.ones((4, 2))),
        (Split(0, 2, heads=2), np.ones((6, 2))),
        (Concatenate(0, 2), [np.ones(2)]),
        (Concatenate(0, 2), [np.ones(2), np.ones(3)]),
        (Concatenate(0, 2, heads=2), [np.ones(3), np.ones(3)]),
        (Tie(2), [np.ones(2), np.ones(3)]),
        (PadVocabulary(0, 3, 5), np.ones((4, 2))),
        (CutVocabulary(1, 3, 2), np.ones((4, 2))),
    ],
)
def test_what_does_not_fit_is_refused(operation, given):
    with pytest.raises(ValueError, match=r"\S"):
        operation.apply(given)
