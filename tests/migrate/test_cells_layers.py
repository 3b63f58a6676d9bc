"""Functions that the networks share, against float64."""

from __future__ import annotations

import numpy as np
import pytest

mindspore = pytest.importorskip("mindspore")

pytestmark = [pytest.mark.mindspore, pytest.mark.xdist_group("more-frameworks")]


@pytest.mark.parametrize("jit", [False, True])
def test_tanh_is_exact_where_the_kernel_is_not(jit):
    from mindport.migrate.cells.layers import tanh

    values = np.concatenate([np.linspace(-30, 30, 60_001), [0.0, 1e-8, -1e-8]]).astype(np.float32)
    exact = np.tanh(values.astype(np.float64))
    function = mindspore.jit(tanh) if jit else tanh
    found = function(mindspore.Tensor(values)).asnumpy()
    ulps = np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float32))
    assert ulps.max() < 4


def test_tanh_has_its_derivative_and_keeps_its_dtype():
    from mindport.migrate.cells.layers import tanh

    values = np.linspace(-8, 8, 4001).astype(np.float32)
    slope = mindspore.grad(tanh)(mindspore.Tensor(values)).asnumpy()
    assert np.abs(slope - (1 - np.tanh(values.astype(np.float64)) ** 2)).max() < 2e-6
    half = tanh(mindspore.Tensor(values.astype(np.float16))).asnumpy()
    assert half.dtype == np.float16
    assert np.abs(half - np.tanh(values)).max() < 1e-3
