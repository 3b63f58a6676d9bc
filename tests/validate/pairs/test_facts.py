"""The one pass against whole-array definitions, whatever the chunk, the mask and the odd values."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from dataclasses import asdict

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

from mindport.validate.metrics import rms
from mindport.validate.pairs import bits
from mindport.validate.pairs.facts import THREADS, compare_streams, first_nonfinite
from mindport.validate.pairs.stored import StoredTensor

NUMPY_TYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
ODD = st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0, 2.0**-24, 3e4])
ANY = st.floats(width=32) | ODD
FIGURES = ("max_abs", "mean_abs", "reference_rms", "difference_rms", "cosine")


def in_dtype(array, dtype):
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(array, np.float32).astype(NUMPY_TYPES[dtype]).astype(np.float32)


def near_pair(shape, seed=0, noise=1e-6):
    rng = np.random.default_rng(seed)
    r = rng.standard_normal(shape, dtype=np.float32)
    return r, r + np.float32(noise) * rng.standard_normal(shape, dtype=np.float32)


def cosine(x, y):
    norms = np.linalg.norm(x) * np.linalg.norm(y)
    if norms == 0:
        return 1.0 if not x.any() and not y.any() else 0.0
    return float(np.clip(x @ y / norms, -1, 1))


def by_definition(r, c, dtype, valid=None):
    """The facts of one pair, from expressions over whole arrays."""
    keep = np.ones(r.shape, bool)
    if valid is not None:
        keep &= valid.reshape(valid.shape + (1,) * (r.ndim - valid.ndim))
    a, b = r[keep].astype(np.float64), c[keep].astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    places = np.argwhere(keep)
    distance = bits.ulp_distance(r[keep], c[keep], dtype)
    same = (r[keep].view(np.int32) == c[keep].view(np.int32)) | (distance == 0)
    x, y = a[finite], b[finite]

    def first(found):
        return tuple(places[found.argmax()].tolist()) if found.any() else None

    def side(v):
        return {
            "nan": int(np.isnan(v).sum()),
            "positive_infinite": int((v == np.inf).sum()),
            "negative_infinite": int((v == -np.inf).sum()),
            "first_nan": first(np.isnan(v)),
            "first_infinite": first(np.isinf(v)),
        }

    some = x.size > 0
    return {
        "compared": a.size,
        "finite": x.size,
        "max_abs": np.abs(y - x).max() if some else None,
        "mean_abs": np.abs(y - x).mean() if some else None,
        "reference_rms": rms(x) if some else None,
        "difference_rms": rms(y - x) if some else None,
        "cosine": cosine(x, y) if some else None,
        "worst_index": tuple(places[finite][np.abs(y - x).argmax()].tolist()) if some else None,
        "equal": same.mean() if a.size else None,
        "max_ulp": int(distance.max()) if (distance >= 0).any() else None,
        "ulps": dict(zip(bits.LABELS, bits.count_distances(distance).tolist(), strict=True)),
        "first_index": first(~same),
        "reference": side(a),
        "candidate": side(b),
    }


def check(r, c, dtype="float32", valid=None, **options):
    facts = asdict(compare_streams(r, c, dtype=dtype, valid=valid, **options))
    json.dumps(facts, allow_nan=False)
    expected = by_definition(r, c, dtype, valid)
    first = expected.pop("first_index")
    assert (facts["first_difference"] or {"index": None})["index"] == first
    for name in FIGURES:
        value = expected.pop(name)
        if value is not None:
            value = pytest.approx(value, rel=1e-6, abs=1e-300 if name != "cosine" else 1e-6)
        assert facts[name] == value, name
    assert {name: facts[name] for name in expected} == expected


SHAPES = st.sampled_from([(1,), (7,), (2, 3), (2, 3, 5), (4, 1, 3)])


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_values_any_mask_any_chunk(dtype, data):
    shape = data.draw(SHAPES)
    r = in_dtype(data.draw(arrays.arrays(np.float32, shape, elements=ANY)), dtype)
    c = in_dtype(data.draw(arrays.arrays(np.float32, shape, elements=ANY)), dtype)
    swap = data.draw(arrays.arrays(bool, shape))
    c = np.where(swap, r, c)
    axes = data.draw(st.integers(0, len(shape)))
    valid = data.draw(arrays.arrays(bool, shape[:axes])) if axes else None
    options = {"chunk": data.draw(st.integers(1, 40)), "threads": data.draw(st.integers(1, 3))}
    check(r, c, dtype, valid, **options)


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
@pytest.mark.parametrize("noise", [0, 1e-6, 1e-2, 3])
def test_many_values(dtype, noise):
    r, c = (in_dtype(side, dtype) for side in near_pair((5, 40, 33), noise=noise))
    check(r, c, dtype, chunk=1024)
    valid = np.arange(40) < np.array([[40], [3], [0], [39], [20]])
    check(r, c, dtype, valid, chunk=1000)


def test_float16_subnormals():
    line = np.arange(0, 3000, dtype=np.uint16).view(np.float16).astype(np.float32)
    facts = compare_streams(line[:-3], line[3:], dtype="float16")
    assert facts.ulps["3-4"] == line.size - 3
    assert facts.max_ulp == 3


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18, 1e25, 1e38])
def test_squares_that_float32_cannot_hold(scale):
    r, c = near_pair((4096,))
    check(r * np.float32(scale / 8), c * np.float32(scale / 8), chunk=1024)


def test_candidate_of_another_magnitude():
    r, _ = near_pair((4096,))
    facts = compare_streams(r, r * np.float32(1e-12), chunk=1024)
    assert facts.cosine == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_cosine_near_one_is_right_to_the_last_digit(seed):
    r, c = near_pair((100_000,), seed)
    a, b = r.astype(np.float64), c.astype(np.float64)
    gap = np.sum((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2) / 2  # 1 - cosine
    assert abs(compare_streams(r, c, chunk=4096).cosine - (1 - gap)) <= 2**-53


@pytest.mark.parametrize("near", [0, 1])
def test_the_first_of_equal_differences_is_the_worst(near):
    r, c = np.float32([2, 2]), np.float32([3, 3])
    r[1 - near], c[1 - near] = -0.5, 0.5  # of opposite signs: not near
    assert compare_streams(r, c).worst_index == (0,)


def test_result_does_not_depend_on_chunk_or_threads():
    r, c = near_pair((3, 100, 16))
    c[1, 50, 3] = np.nan
    r[2, 99, 15] = np.inf
    whole = asdict(compare_streams(r, c, threads=1))
    for chunk in (1, 255, 256, 257, 1000, 4800):
        for threads in (1, 2, 5):
            facts = asdict(compare_streams(r, c, chunk=chunk, threads=threads))
            for name in FIGURES:
                assert facts.pop(name) == pytest.approx(whole[name], rel=1e-6)
            assert facts == {name: whole[name] for name in facts}


def test_masked_elements_enter_no_figure():
    r, c = near_pair((2, 3, 4))
    valid = np.array([[True, True, False], [True, False, False]])
    clean = compare_streams(r, c, valid=valid)
    r[~valid], c[~valid] = np.nan, 1e30
    assert compare_streams(r, c, valid=valid) == clean
    assert clean.compared == 12


@pytest.mark.parametrize("valid", [None, np.zeros((2, 3), bool)])
def test_nothing_compared_is_not_equality(valid):
    array = np.ones((2, 3, 4) if valid is not None else (2, 0), np.float32)
    facts = compare_streams(array, array, valid=valid)
    assert facts.compared == 0
    assert (facts.max_abs, facts.cosine, facts.equal, facts.max_ulp) == (None,) * 4
    assert facts.first_difference is None


def test_what_does_not_fit_is_refused():
    ones = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="shapes differ"):
        compare_streams(ones, ones.T)
    with pytest.raises(ValueError, match="mask"):
        compare_streams(ones, ones, valid=np.ones((3,), bool))
    with pytest.raises(ValueError, match="mask"):
        compare_streams(ones, ones, valid=np.ones((2,), np.int64))
    with pytest.raises(ValueError, match="float64"):
        compare_streams(ones.astype(np.float64), ones)
    with pytest.raises(ValueError, match="int8"):
        compare_streams(ones, ones, dtype="int8")


def test_arrays_of_any_strides():
    r, c = near_pair((30, 20))
    assert compare_streams(r.T, c.T) == compare_streams(r.T.copy(), c.T.copy())


class TestStored:
    def test_same_facts_as_in_memory(self, tmp_path):
        r, c = near_pair((3, 50, 64))
        save_file({"other": np.ones(3, np.float32), "tap": r}, tmp_path / "r")
        save_file({"tap": c}, tmp_path / "c")
        valid = np.arange(50) < np.array([[50], [17], [1]])
        for mask in (None, valid):
            stored = compare_streams(
                StoredTensor(tmp_path / "r", "tap"), StoredTensor(tmp_path / "c", "tap"),
                valid=mask, chunk=1000,
            )  # fmt: skip
            assert stored == compare_streams(r, c, valid=mask, chunk=1000)

    def test_a_file_that_has_become_shorter(self, tmp_path):
        r, c = near_pair((100,))
        save_file({"tap": r}, tmp_path / "r")
        stored = StoredTensor(tmp_path / "r", "tap")
        with (tmp_path / "r").open("r+b") as file:
            file.truncate((tmp_path / "r").stat().st_size - 1)
        with pytest.raises(ValueError, match="become shorter"):
            compare_streams(stored, c)

    def test_unaligned_data(self, tmp_path):
        r, _ = near_pair((100,))
        header = b'{"tap":{"dtype":"F32","shape":[100],"data_offsets":[0,400]}}'
        header += b" " * (1 - len(header) % 4 + 4)
        (tmp_path / "r").write_bytes(len(header).to_bytes(8, "little") + header + r.tobytes())
        facts = compare_streams(StoredTensor(tmp_path / "r", "tap"), r)
        assert (facts.equal, facts.compared) == (1, 100)

    def test_what_is_not_there_is_named(self, tmp_path):
        path = tmp_path / "file"
        save_file({"tap": np.ones(9, np.float32), "whole": np.ones(9, np.int32)}, path)
        with pytest.raises(KeyError, match="absent"):
            StoredTensor(path, "absent")
        with pytest.raises(ValueError, match="I32"):
            StoredTensor(path, "whole")
        save_file({"tap": np.ones(9, np.float32)}, path)
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(ValueError, match="does not hold all"):
            StoredTensor(path, "tap")
        path.write_bytes(b"\xff" * 8)
        with pytest.raises(ValueError, match="header"):
            StoredTensor(path, "tap")

    @pytest.mark.parametrize("chunk", [1 << 12, 1 << 16])
    def test_working_space_is_bounded_by_the_chunk(self, tmp_path, chunk):
        r, c = near_pair((1 << 22,))
        save_file({"tap": r}, tmp_path / "r")
        save_file({"tap": c}, tmp_path / "c")
        pair = StoredTensor(tmp_path / "r", "tap"), StoredTensor(tmp_path / "c", "tap")
        tracemalloc.start()
        compare_streams(*pair, chunk=chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < THREADS * 64 * chunk + (1 << 20)
        assert peak < r.nbytes / 1.5  # or the bound would prove nothing

    def test_resident_memory_does_not_hold_the_tensor(self, tmp_path):
        size = 1 << 29
        header = f'{{"tap":{{"dtype":"F32","shape":[{size // 4}],"data_offsets":[0,{size}]}}}}'
        for side in "rc":
            with (tmp_path / side).open("wb") as file:
                file.write(len(header).to_bytes(8, "little") + header.encode())
                file.truncate(8 + len(header) + size)  # zeros that need no disk
        done = subprocess.run(
            [sys.executable, "-c", GROWTH, str(tmp_path)],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert int(done.stdout) < size / 8


GROWTH = """
import re, sys
from pathlib import Path
from mindport.validate.pairs.facts import compare_streams
from mindport.validate.pairs.stored import StoredTensor
folder = Path(sys.argv[1])
def peak():
    # Not ru_maxrss: that starts at the parent's, and would hide any growth.
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
facts = compare_streams(StoredTensor(folder / "r", "tap"), StoredTensor(folder / "c", "tap"))
assert facts.equal == 1
print(peak() - before)
"""


def test_first_nonfinite_names_the_first_tap_of_each_side_and_kind():
    r, c = near_pair((2, 3))
    spoilt = c.copy()
    spoilt[1, 2], spoilt[0, 1] = np.nan, -np.inf
    worse = np.full((2, 3), np.nan, np.float32)
    taps = {
        "embeddings": compare_streams(r, c),
        "block.0": compare_streams(r, spoilt),
        "logits": compare_streams(worse, worse),
    }
    assert first_nonfinite(taps) == {
        "reference": {"nan": ("logits", (0, 0)), "infinite": None},
        "candidate": {"nan": ("block.0", (1, 2)), "infinite": ("block.0", (0, 1))},
    }
    assert taps["block.0"].candidate.first_nonfinite == (0, 1)
    assert taps["embeddings"].candidate.first_nonfinite is None
