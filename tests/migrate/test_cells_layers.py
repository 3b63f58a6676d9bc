"""Functions that the networks share, against float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

mindspore = pytest.importorskip("mindspore")

pytestmark = [pytest.mark.mindspore, pytest.mark.xdist_group("more-frameworks")]


@pytest.mark.parametrize("jit", [False, True])
def test_tanh_is_exact_where_the_kernel_is_not(jit):
    from mindport.migrate.cells.activations import tanh

    values = np.concatenate([np.linspace(-30, 30, 60_001), [0.0, 1e-8, -1e-8]]).astype(np.float32)
    exact = np.tanh(values.astype(np.float64))
    function = mindspore.jit(tanh) if jit else tanh
    found = function(mindspore.Tensor(values)).asnumpy()
    ulps = np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float32))
    assert ulps.max() < 4


def test_tanh_has_its_derivative_and_keeps_its_dtype():
    from mindport.migrate.cells.activations import tanh

    values = np.linspace(-8, 8, 4001).astype(np.float32)
    slope = mindspore.grad(tanh)(mindspore.Tensor(values)).asnumpy()
    assert np.abs(slope - (1 - np.tanh(values.astype(np.float64)) ** 2)).max() < 2e-6
    half = tanh(mindspore.Tensor(values.astype(np.float16))).asnumpy()
    assert half.dtype == np.float16
    assert np.abs(half - np.tanh(values)).max() < 1e-3


EXACT = {
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / np.sqrt(2))),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("jit", [False, True])
def test_a_gelu_is_as_near_as_a_kernel(jit, name):
    from mindport.migrate.cells.activations import ACTIVATIONS

    values = np.linspace(-20, 20, 80_001).astype(np.float32)
    cell = ACTIVATIONS[name]()
    function = mindspore.jit(cell.construct) if jit else cell
    found = function(mindspore.Tensor(values)).asnumpy()
    exact = EXACT[name](values.astype(np.float64))
    assert (np.abs(found - exact) <= 2.0**-22 * np.maximum(np.abs(values), 1)).all()


@pytest.mark.parametrize("name", EXACT)
def test_a_gelu_has_its_derivative_and_keeps_its_dtype(name):
    from mindport.migrate.cells.activations import ACTIVATIONS

    gelu, cell = EXACT[name], ACTIVATIONS[name]()
    values = np.linspace(-10, 10, 4001).astype(np.float32)
    slope = mindspore.grad(cell)(mindspore.Tensor(values)).asnumpy()
    wide, step = values.astype(np.float64), 1e-5
    assert np.abs(slope - (gelu(wide + step) - gelu(wide - step)) / (2 * step)).max() < 1e-5
    half = cell(mindspore.Tensor(values.astype(np.float16))).asnumpy()
    assert half.dtype == np.float16
    assert np.abs(half - gelu(values.astype(np.float16).astype(np.float64))).max() < 5e-3
    exact = cell(mindspore.Tensor(wide)).asnumpy()
    assert exact.dtype == np.float64
    assert np.abs(exact - gelu(wide)).max() < 1e-6


@pytest.mark.parametrize("jit", [False, True])
def test_heads_are_split_out_of_a_fused_projection_and_merged(jit):
    from mindport.migrate.cells.layers import merge_heads, split_heads

    batch, seq, heads, head_dim, parts = 2, 5, 3, 4, 3
    values = np.arange(batch * seq * parts * heads * head_dim, dtype=np.float32)
    values = values.reshape(batch, seq, -1)

    def cycle(states, part):
        split = split_heads(states, heads, part, parts)
        return split, merge_heads(split)

    function = mindspore.jit(cycle) if jit else cycle
    for part, expected in enumerate(np.split(values, parts, -1)):
        split, merged = function(mindspore.Tensor(values), part)
        wanted = expected.reshape(batch, seq, heads, head_dim).transpose(0, 2, 1, 3)
        assert np.array_equal(split.asnumpy(), wanted)
        assert np.array_equal(merged.asnumpy(), expected)
