"""Attention in one kernel: what is handed to it, with a stand-in of its documented signature.

No Ascend was at hand. What is tested is the part that is ours: shapes, scale, the meaning of the
mask, and that a kernel which does what is documented gives what the plain formula gives.
"""

from __future__ import annotations

import inspect

import mindspore
import numpy as np
import pytest
from mindspore import ops

from mindport.migrate.cells.fused import FusedAttention
from mindport.migrate.cells.layers import Attention, causal_bias, padding_bias
from mindport.migrate.errors import EnvironmentUnavailableError
from tests.migrate.twins import HEADS, inputs_of, mindspore_twin, torch_model

pytestmark = [pytest.mark.mindspore, pytest.mark.torch]
pytest.importorskip("torch")
MODES = {"eager": mindspore.PYNATIVE_MODE, "graph": mindspore.GRAPH_MODE}
HIDDEN = -65504.0


def stand_in(
    query, key, value, head_num, real_shift=None, drop_mask=None, padding_mask=None,
    attn_mask=None, prefix=None, actual_seq_qlen=None, actual_seq_kvlen=None, keep_prob=1.0,
    scalar_value=1.0, pre_tokens=2147483647, next_tokens=2147483647, inner_precise=0,
    input_layout="BSH", sparse_mode=0,
):  # fmt: skip
    """Compute what ``ops.flash_attention_score`` documents, for what is used of it."""
    scores = ops.BatchMatMul(transpose_b=True)(query, key)
    scores = ops.cast(scores, mindspore.float32) * scalar_value
    if attn_mask is not None:  # 1 or True is left out
        scores = ops.where(attn_mask, ops.full_like(scores, HIDDEN), scores)
    weights = ops.cast(ops.softmax(scores, -1), value.dtype)
    return ops.BatchMatMul()(weights, value)


def strict(query, key, value, head_num, **options):
    """The same, and refuse what is documented to be refused."""
    batch, heads, length, size = query.shape
    keys = key.shape[2]
    assert query.dtype == key.dtype == value.dtype
    assert query.dtype in (mindspore.float16, mindspore.bfloat16)
    assert (key.shape, value.shape) == ((batch, heads, keys, size),) * 2
    assert (head_num, options["input_layout"], size % 16) == (heads, "BNSD", 0)
    assert isinstance(options["scalar_value"], float)
    if options["attn_mask"] is not None:
        assert options["attn_mask"].dtype == mindspore.bool_
        assert options["attn_mask"].shape == (batch, 1, length, keys)
    return stand_in(query, key, value, head_num, **options)


@pytest.fixture(params=MODES)
def mode(request):
    mindspore.set_context(mode=MODES[request.param])
    yield request.param
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


def test_the_stand_in_has_the_signature_of_the_kernel():
    assert inspect.signature(stand_in) == inspect.signature(ops.flash_attention_score)


@pytest.mark.parametrize("kind", ["causal", "padding", "none"])
def test_a_layer_of_it(kind):
    random = np.random.default_rng(0)
    arrays = (random.normal(size=(2, 3, 8, 16)).astype(np.float16) for _ in range(3))
    query, key, value = map(mindspore.Tensor, arrays)
    mask = mindspore.Tensor([[1] * 8, [1] * 5 + [0] * 3], mindspore.int32)
    rows = mindspore.Tensor(np.arange(8), mindspore.int32)
    bias = {
        "causal": causal_bias(rows, rows, mask, mindspore.float16),
        "padding": padding_bias(mask, mindspore.float16),
        "none": None,
    }[kind]
    plain, _, weights = Attention(0.25, 0.0).set_train(False)(query, key, value, bias)
    fused, *_ = FusedAttention(0.25, strict)(query, key, value, bias)
    np.testing.assert_allclose(fused.asnumpy(), plain.asnumpy(), atol=4e-3)
    # A mask that is taken the other way round would be seen.
    if bias is not None:
        turned, *_ = FusedAttention(0.25, strict)(query, key, value, -1 - bias)
        assert np.abs(turned.asnumpy() - plain.asnumpy()).max() > 0.1
        assert (weights.asnumpy() == 0).any()
    doubled, *_ = FusedAttention(0.5, strict)(query, key, value, bias)
    assert np.abs(doubled.asnumpy() - plain.asnumpy()).max() > 0.02


@pytest.mark.parametrize(("name", "head"), HEADS)
def test_every_network_computes_the_same_with_it(mode, name, head):
    reference = torch_model(name, head)
    inputs = inputs_of(name)
    plain, fused = (
        mindspore_twin(reference, name, head).cast_parameters(mindspore.float16) for _ in range(2)
    )
    # Inside a graph Python's assertions do not run.
    fused.fuse_attention(strict if mode == "eager" else stand_in)
    expected, found = (model(**inputs, output_taps=True) for model in (plain, fused))
    assert found.names == expected.names
    wanted, taps = plain.named_taps(expected), fused.named_taps(found)
    inside = [tap for tap in wanted if tap.endswith((".scores", ".weights"))]
    assert list(taps) == fused.tap_names() == [tap for tap in wanted if tap not in inside]
    assert len(inside) == 8
    real = inputs["attention_mask"] != 0
    for tap, value in taps.items():
        a, b = (array.asnumpy().astype(np.float64) for array in (value, wanted[tap]))
        if a.shape[:2] == real.shape:  # what stands at padding has no meaning
            a, b = a[real], b[real]
        assert np.isfinite(a).all(), tap
        assert np.abs(a - b).max() <= 0.01 * np.abs(b).max(), tap


def test_a_cache_and_a_prefix_go_through_it():
    reference = torch_model("gpt2", "lm")
    models = [
        mindspore_twin(reference, "gpt2", "lm").cast_parameters(mindspore.float16) for _ in range(2)
    ]
    models[1].fuse_attention(strict)
    ids = inputs_of("gpt2")["input_ids"]
    first, second = (m.generate(ids, max_new_tokens=5) for m in models)
    assert np.array_equal(first, second)
    random = np.random.default_rng(1)
    prefix = tuple(
        tuple(mindspore.Tensor(random.normal(size=(1, 4, 3, 16)), mindspore.float32)
              for _ in range(2))
        for _ in range(4)
    )  # fmt: skip
    with_prefix = [m(**inputs_of("gpt2"), prefix=prefix).logits.asnumpy() for m in models]
    real = inputs_of("gpt2")["attention_mask"] != 0
    a, b = (logits[real].astype(np.float64) for logits in with_prefix)
    assert np.abs(a - b).max() <= 0.01 * np.abs(b).max()


def test_what_the_kernel_does_not_take_is_refused():
    model = mindspore_twin(torch_model("gpt2", "lm"), "gpt2", "lm")
    with pytest.raises(EnvironmentUnavailableError, match="not in float32") as caught:
        model.fuse_attention()
    assert "--dtype float16" in caught.value.hint
    assert not model.fused
    small = mindspore_twin(torch_model("gpt2", "lm", n_head=8), "gpt2", "lm")
    with pytest.raises(EnvironmentUnavailableError, match="multiple of 16, at most 512; here it i"):
        small.cast_parameters(mindspore.float16).fuse_attention()
