"""A tap from the start, and from its own inputs: where an error shows, and where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from mindport.validate.formula.operations import evaluate
from mindport.validate.formula.recompute import recompute
from mindport.validate.formula.rounding import PRECISIONS
from mindport.validate.metrics import rms


@pytest.fixture(scope="module")
def net(small):
    return small("gpt2", "lm", batch=4, length=16)


def views(net, *, copies=4, seed=0, **sides):
    """Return both views of every tap; a side is a dict of taps."""
    items = recompute(
        net.network.steps, net.network.setting,
        {side: taps.get for side, taps in sides.items()}, PRECISIONS[net.dtype],
        copies=copies, seed=seed,
    )  # fmt: skip
    return {item.step.tap: item for item in items}


def sizes(found, taps, which):
    """Return by tap the error in predicted deviations (rms)."""
    result = {}
    for name, item in found.items():
        view = item.accumulated if which == "accumulated" else item.isolated.get("c")
        if view is not None and name in taps:
            scaled = (taps[name] - view.expected) / view.deviation
            result[name] = rms(scaled[item.valid])
    return result


@pytest.mark.parametrize("architecture", ["gpt2", "bert"])
def test_hidden_keys_tell_nothing_of_the_weights_beside_them(small, architecture):
    net = small(architecture, {"gpt2": "lm", "bert": "mlm"}[architecture], batch=4, length=16)
    item = views(net, c=net.run())["block.0.weights"]
    value, seen = item.accumulated.expected, item.accumulated.expected > 1e-6
    relative = {
        which: (view.deviation / np.where(seen, value, 1.0))[seen & item.valid[..., None]]
        for which, view in (("whole", item.accumulated), ("alone", item.isolated["c"]))
    }
    assert (seen < 1).any()
    assert relative["whole"].max() < 4 * relative["alone"].max() < 1e-4


def bent(step, inputs, setting):
    return evaluate(step, inputs, setting) * 1.01


def test_the_exact_network_is_what_is_accumulated(net):
    exact = net.exact()
    found = views(net, r=net.run(), c=net.run(seed=1))
    assert tuple(found) == net.case.taps
    for name, item in found.items():
        assert np.array_equal(item.accumulated.expected, exact[name])
        assert not item.accumulated.direct
        assert all(view.direct for view in item.isolated.values())
        for view in (item.accumulated, *item.isolated.values()):
            assert view.deviation.shape == exact[name].shape
            assert np.isfinite(view.deviation).all()
            assert (view.deviation[item.valid] > 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("architecture", "head"), [("gpt2", "lm"), ("bert", "pretraining")])
def test_a_correct_run_is_as_far_off_as_predicted(small, architecture, head, dtype):
    net = small(architecture, head, dtype=dtype, batch=4, length=16)
    taps = net.run(noise=1.0, seed=5)
    found = views(net, c=taps, seed=6)
    alone, whole = (sizes(found, taps, which) for which in ("isolated", "accumulated"))
    assert set(alone) == set(whole) == set(net.case.taps)
    for name, size in alone.items():
        # The result with its errors is rounded once more, which counts where that is all.
        # Weights of hidden keys are zero and have no errors.
        least = 0.6 if name.endswith("weights") else 0.8
        assert least < size < (1.5 if dtype == "float32" else 1.7), (name, size)
    for name, size in whole.items():
        assert 0.4 < size < 2.0, (name, size)


def test_a_fault_shows_at_its_own_step_alone_in_the_isolated_view(net):
    taps = net.run({"block.1.up": bent})
    found = views(net, r=net.run(seed=1), c=taps)
    alone, whole = (sizes(found, taps, which) for which in ("isolated", "accumulated"))
    assert {name for name, size in alone.items() if size > 2} == {"block.1.up"}
    assert alone["block.1.up"] > 1000
    order = list(net.case.taps)
    after = order[order.index("block.1.up") :]
    assert {name for name, size in whole.items() if size > 4} <= set(after)
    for name in ("block.1.up", "block.1.activation", "block.1", "block.2", "final_norm", "logits"):
        assert whole[name] > 100, name


def test_of_two_faults_both_show(net):
    taps = net.run({"block.0.value": bent, "block.2.norm_2": bent})
    alone = sizes(views(net, c=taps), taps, "isolated")
    assert {name for name, size in alone.items() if size > 2} == {"block.0.value", "block.2.norm_2"}


class TestLackingTaps:
    LACKING = ("block.1.scores", "block.1.weights", "block.1.context")

    def lacking(self, taps, *names):
        return {name: a for name, a in taps.items() if name not in (names or self.LACKING)}

    def test_they_have_no_isolated_view_and_what_follows_is_carried(self, net):
        taps = self.lacking(net.run())
        found = views(net, r=net.run(seed=1), c=taps)
        for name in self.LACKING:
            assert set(found[name].isolated) == {"r"}
        after = found["block.1.attention"].isolated
        assert (after["r"].direct, after["c"].direct) == (True, False)
        others = {n for n, item in found.items() if n in taps and not item.isolated["c"].direct}
        assert others == {"block.1.attention"}

    def test_a_correct_run_without_them_is_still_as_predicted(self, net):
        taps = self.lacking(net.run(noise=1.0))
        alone = sizes(views(net, c=taps), taps, "isolated")
        assert 0.3 < alone.pop("block.1.attention") < 2
        assert all(0.6 < size < 1.5 for size in alone.values())

    def test_a_fault_in_one_shows_at_the_next_that_is_there(self, net):
        taps = self.lacking(net.run({"block.1.scores": bent}))
        alone = sizes(views(net, c=taps), taps, "isolated")
        assert {name for name, size in alone.items() if size > 3} == {"block.1.attention"}

    def test_a_side_that_lacks_all_but_the_last(self, net):
        taps = net.run(noise=1.0)
        last = {"logits": taps["logits"]}
        found = views(net, c=last)
        assert {name for name, item in found.items() if item.isolated} == {"logits"}
        assert 0.3 < sizes(found, last, "isolated")["logits"] < 2
        carried, whole = found["logits"].isolated["c"], found["logits"].accumulated
        np.testing.assert_allclose(carried.expected, whole.expected, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("how", ["nan", "shape"])
    def test_what_cannot_be_computed_with_is_carried_too(self, net, how):
        taps = net.run()
        up = taps["block.1.up"].copy()
        if how == "nan":
            up[0, 0, 0] = np.nan
        taps = {**taps, "block.1.up": up if how == "nan" else up[:, :-1]}
        found = views(net, c=taps)
        assert not found["block.1.activation"].isolated["c"].direct
        assert np.isfinite(found["block.1.activation"].isolated["c"].expected).all()
        assert sizes(found, {"block.1.activation": taps["block.1.activation"]}, "isolated")[
            "block.1.activation"] < 2  # fmt: skip
        assert found["block.1.mlp"].isolated["c"].direct

    def test_the_other_side_is_untouched(self, net):
        """What one side lacks must not be taken from the other, or a fault would hide."""
        wrong, right = net.run({"block.1.weights": bent}), net.run(seed=1)
        found = views(net, r=right, c=self.lacking(wrong))
        assert sizes(found, self.lacking(wrong), "isolated")["block.1.attention"] > 10
        view = found["block.1.attention"].isolated["r"]
        scaled = (right["block.1.attention"] - view.expected) / view.deviation
        assert rms(scaled[found["block.1.attention"].valid]) < 1


def test_the_same_seed_gives_the_same_deviations(net):
    first, again, other = (
        views(net, c=net.run(), seed=seed)["logits"].accumulated.deviation for seed in (3, 3, 4)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert rms(other) == pytest.approx(rms(first), rel=0.3)


def test_more_copies_tell_the_same(net):
    few, many = (rms(views(net, c={}, copies=n)["logits"].accumulated.deviation) for n in (2, 16))
    assert few == pytest.approx(many, rel=0.3)
