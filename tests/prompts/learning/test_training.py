"""The shared part of learning, on a network of three lines: no framework."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mindport.migrate.errors import CheckpointError, DestinationError, MindportError
from mindport.prompts.learning import (
    LearningResult,
    LearningSettings,
    Training,
    measure_improvement,
    method_names,
    train,
)
from mindport.prompts.learning.data import LearningData, draw_batches
from mindport.prompts.learning.encoder import Encoder
from mindport.prompts.learning.evaluation import mean_loss
from mindport.prompts.learning.model import fill_slots
from mindport.prompts.learning.nearest import nearest_tokens
from mindport.prompts.learning.optimizer import Adam
from tests.prompts.learning.tiny import SIZES, Tiny, make_tiny_data


def settings(method="soft-prompt", **changes):
    return LearningSettings(method, **{"tokens": 3, "steps": 12, "batch_size": 8, **changes})


def data_for(method):
    return make_tiny_data(0 if method == "prefix-tuning" else 3)


def test_the_encoder_goes_back_as_it_came():
    rng = np.random.default_rng(0)
    parameters = Encoder.start(rng.normal(size=(4, 6)), 5, rng)
    parameters = {name: value + 0.3 * rng.normal(size=value.shape)
                  for name, value in parameters.items()}  # fmt: skip
    weights = rng.normal(size=(4, 6))
    found = Encoder.backward(parameters, weights)
    for name, value in parameters.items():
        way = rng.normal(size=value.shape)
        ends = [
            (Encoder.forward({**parameters, name: value + h * way}) * weights).sum()
            for h in (1e-5, -1e-5)
        ]
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx((found[name] * way).sum(), rel=1e-8)


def test_the_encoder_starts_close_to_its_vectors():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4, 6))
    assert np.abs(Encoder.forward(Encoder.start(vectors, 6, rng)) - vectors).max() < 0.05


def test_adam_is_that_of_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    ours = {"a": rng.normal(size=(3, 2)), "b": rng.normal(size=4)}
    theirs = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in ours.items()}
    adam, other = Adam(), torch.optim.Adam(theirs.values(), lr=0.03)
    for _ in range(7):
        gradients = {name: rng.normal(size=value.shape) for name, value in ours.items()}
        ours = adam.update(ours, gradients, 0.03)
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(gradients[name])
        other.step()
    for name, parameter in theirs.items():
        np.testing.assert_allclose(ours[name], parameter.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", ["soft", "prefix"])
def test_the_tiny_network_goes_back_as_it_came(name):
    model, data = Tiny(), make_tiny_data()
    batch = data.batch(data.train, np.arange(6))
    rng = np.random.default_rng(0)
    shape = {"soft": (3, 6), "prefix": (2, 2, 2, 3, 3)}[name]
    start, way = rng.normal(size=shape), rng.normal(size=shape)
    _, _, found = model.gradients(batch, {name: start.astype(np.float32)})

    def loss(step):
        moved = (start + step * way).astype(np.float32)
        return mean_loss(model.logits(batch, {name: moved}), batch.labels)

    slope = (loss(0.01) - loss(-0.01)) / 0.02
    assert slope == pytest.approx((found[name] * way).sum(), rel=2e-3)


@pytest.mark.parametrize("method", method_names())
def test_every_method_learns(method):
    data, model = data_for(method), Tiny()
    result = train(model, data, settings(method, steps=40, learning_rate=0.05))
    assert result.after.loss < result.before.loss
    assert len(result.records) == 40
    again = train(Tiny(), data, settings(method, steps=40, learning_rate=0.05))
    assert (again.losses == result.losses).all()
    assert [r.gradient_norm > 0 for r in result.records] == [True] * 40


def test_autoprompt_takes_a_token_only_if_the_loss_falls():
    result = train(Tiny(), make_tiny_data(), settings("autoprompt", candidates=4, steps=9))
    searches = [record.search for record in result.records]
    assert [s.position for s in searches] == [0, 1, 2] * 3
    for search in searches:
        losses = dict(zip(search.tokens, search.losses, strict=False))
        assert losses.get(search.chosen, search.present) <= min(search.present, *search.losses)
        assert search.chosen == search.standing or losses[search.chosen] < search.present
        assert list(search.scores) == sorted(search.scores, reverse=True)
    assert {s.chosen for s in searches} <= set(range(30))
    table = Tiny().embeddings()
    found = nearest_tokens(table, result.learned["soft"])
    assert found.tolist() == result.state["triggers"].tolist()


def test_the_promise_is_the_gradient_times_the_change():
    model, data = Tiny(), make_tiny_data()
    training = Training(model, data, settings("autoprompt", candidates=3, steps=1))
    standing = training.method.state()["triggers"]
    (record,) = training.run()
    batch = data.batch(data.train, next(draw_batches(20, 8, 0)))
    table = model.embeddings()
    _, _, gradients = model.gradients(batch, {"soft": table[standing]})
    token = record.search.tokens[0]
    change = table[token].astype(float) - table[standing[0]]
    assert record.search.scores[0] == pytest.approx(-(change @ gradients["soft"][0]), rel=1e-5)


def test_slots_hold_what_was_learned_and_plain_prompts_have_none():
    data = make_tiny_data()
    batch = data.batch(data.train, np.array([0, 1]))
    soft = np.full((3, SIZES.width), 9, np.float32)
    vectors = fill_slots(Tiny().embeddings(), batch, {"soft": soft})
    assert (vectors[:, :3] == 9).all()
    assert not (vectors[:, 3:] == 9).any()
    plain = data.train.plain()
    assert [len(a) - len(b) for a, b in zip(data.train.prompts, plain.prompts, strict=True)] == [
        3
    ] * 20
    assert (plain.rows == data.train.rows - 3).all()
    assert plain.slots.shape == (20, 0)


def test_batches_show_every_row_once_a_round():
    drawn = draw_batches(10, 4, 0)
    seen = np.concatenate([next(drawn) for _ in range(5)])
    assert sorted(seen[:10]) == list(range(10))
    assert sorted(seen[10:]) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()


def test_the_best_step_is_taken_and_training_stops():
    asked = settings(steps=60, learning_rate=2.0, validation=0.3, validate_every=5, patience=2)
    result = train(Tiny(), make_tiny_data(), asked)
    looks = {r.step: r.validation_loss for r in result.records if r.validation_loss is not None}
    assert result.best_step == min(looks, key=lambda step: (looks[step], step))
    assert len(result.records) < 60
    assert result.records[-1].step == result.best_step + 10


def test_too_few_rows_to_set_aside():
    with pytest.raises(MindportError, match="would be set aside"):
        train(Tiny(), make_tiny_data(), settings(validation=0.01))


def test_a_linear_schedule_ends_near_zero():
    asked = settings(steps=10, learning_rate=0.1, schedule="linear")
    assert asked.rate(1) == pytest.approx(0.1)
    assert asked.rate(10) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "soft"}, "Unknown method 'soft'"),
        ({"tokens": 0}, "tokens must be a whole number from 1 up, not 0"),
        ({"steps": 1.5}, "steps must be"),
        ({"learning_rate": float("nan")}, "learning_rate must be"),
        ({"validation": 1.0}, "validation must be"),
        ({"place": "end"}, "Unknown place"),
        ({"schedule": "cosine"}, "Unknown schedule"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(MindportError, match=message):
        LearningSettings(**{"method": "soft-prompt", **changes})


def test_a_training_that_runs_away_is_stopped():
    with pytest.raises(MindportError, match=r"NaN or infin"):
        train(Tiny(spoil=lambda g: {k: v * np.float32("nan") for k, v in g.items()}),
              make_tiny_data(), settings())  # fmt: skip


def test_data_survive_the_disk(tmp_path: Path):
    data = make_tiny_data()
    data.save(tmp_path / "data")
    assert LearningData.load(tmp_path / "data").digest == data.digest
    other = replace(data, start=data.start + 1)
    assert other.digest != data.digest


@pytest.mark.parametrize("method", ["autoprompt", "p-tuning"])
def test_a_result_survives_the_disk(tmp_path: Path, method):
    result = train(Tiny(), data_for(method), settings(method, validation=0.3, validate_every=4))
    result.save(tmp_path / "result")
    loaded = LearningResult.load(tmp_path / "result")
    assert loaded.to_dict() == result.to_dict()
    assert loaded.records == result.records
    for name, array in result.state.items():
        assert (loaded.state[name] == array).all()
        assert loaded.state[name].dtype == array.dtype
    assert (loaded.after.logits == result.after.logits).all()
    with pytest.raises(DestinationError, match="exists already"):
        result.save(tmp_path / "result")
    (tmp_path / "result" / "result.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="no learning result"):
        LearningResult.load(tmp_path / "result")


def test_a_result_that_cannot_be_written_leaves_nothing(tmp_path: Path):
    result = train(Tiny(), make_tiny_data(), settings(steps=1))
    (tmp_path / "file").write_text("")
    with pytest.raises(DestinationError):
        result.save(tmp_path / "file" / "result")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_improvement_is_paired():
    result = train(Tiny(), make_tiny_data(), settings(steps=40, learning_rate=0.05))
    found = measure_improvement(result)
    assert found.after - found.before == pytest.approx((found.gained - found.lost) / 10)
    assert 0 <= found.p_value <= 1
