"""Correct sides pass, and broken ones do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mindport.migrate.errors import MindportError
from mindport.prompts.learning import (
    LearningSettings,
    compare_results,
    method_names,
    train,
    training,
)
from mindport.prompts.learning.method import Search
from mindport.prompts.learning.result import StepRecord
from mindport.prompts.learning.triggers import first_divergence
from mindport.prompts.learning.variants import Disturbed, Reordered
from tests.prompts.learning.tiny import Tiny, make_tiny_data

NOISE = 1e-7


def settings(method="soft-prompt", **changes):
    return LearningSettings(method, **{"tokens": 3, "steps": 20, "batch_size": 8, **changes})


def data_for(method):
    return make_tiny_data(0 if method == "prefix-tuning" else 3)


def sides(method, candidate, asked=None):
    """Return the parity of the candidate, trained on what the reference is trained on."""
    asked = asked or settings(method)
    data = data_for(method)
    reference = train(Tiny(NOISE, seed=1), data, asked)
    floors = [
        ("reordered", train(Reordered(Tiny(NOISE, seed=2)), data, asked)),
        ("disturbed", train(Disturbed(Tiny(NOISE, seed=3), 0), data, asked)),
        ("exact", train(Tiny(), data, asked)),
    ]
    return compare_results(reference, candidate(data, asked), floors)


@pytest.mark.parametrize("method", method_names())
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_another_rounding_passes(method, seed):
    parity = sides(method, lambda data, asked: train(Tiny(2 * NOISE, seed=seed), data, asked))
    assert parity.ok, parity.problem
    assert parity.informative
    assert parity.agreement == 1
    assert parity.cosine == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("method", ["soft-prompt", "p-tuning", "prefix-tuning"])
def test_a_learning_rate_that_is_a_little_off_is_caught(method):
    def candidate(data, asked):
        wrong = replace(asked, learning_rate=1.01 * asked.rate(1))
        return replace(train(Tiny(NOISE), data, wrong), settings=asked.to_dict())

    parity = sides(method, candidate)
    assert not parity.ok
    # The first step is the same: what is wrong comes after the gradient.
    assert parity.measures[0].ok
    assert "loss curve" in parity.problem


@pytest.mark.parametrize("method", method_names())
def test_another_order_of_the_rows_is_caught(method, monkeypatch):
    real = training.draw_batches

    def candidate(data, asked):
        monkeypatch.setattr(training, "draw_batches", lambda n, size, seed: real(n, size, seed + 1))
        return train(Tiny(NOISE), data, asked)

    assert not sides(method, candidate).ok


def test_vectors_in_the_wrong_place_are_caught():
    def shift(batch, learned):
        return replace(batch, slots=batch.slots + 1), learned

    parity = sides("soft-prompt", lambda data, asked: train(Tiny(change=shift), data, asked))
    assert parity.problem.startswith("the first gradient differs")


def test_a_layer_whose_prefix_is_not_learned_is_caught():
    def detach(gradients):
        return {name: g * np.arange(2, dtype=np.float32)[:, None, None, None, None]
                for name, g in gradients.items()}  # fmt: skip

    parity = sides("prefix-tuning", lambda data, asked: train(Tiny(spoil=detach), data, asked))
    assert parity.problem.startswith("the first gradient differs")


def test_a_side_that_answers_otherwise_after_learning_is_caught():
    def candidate(data, asked):
        result = train(Tiny(NOISE), data, asked)
        return replace(result, after=replace(result.after, logits=-result.after.logits))

    parity = sides("soft-prompt", candidate)
    assert not parity.ok
    assert parity.agreement == 0
    assert not any(flip.explained for flip in parity.flips)


def test_a_flip_of_a_tie_is_explained():
    data, asked = data_for("soft-prompt"), settings()
    reference = train(Tiny(NOISE, seed=1), data, asked)
    logits = reference.after.logits.copy()
    logits[0] = [1.0, 1.0 + 1e-7]
    reference = replace(reference, after=replace(reference.after, logits=logits))
    other = logits.copy()
    other[0] = [1.0 + 1e-7, 1.0]
    candidate = replace(reference, after=replace(reference.after, logits=other))
    parity = compare_results(reference, candidate, [("same", reference)])
    assert parity.ok
    (flip,) = parity.flips
    assert flip.explained


def test_a_floor_that_drowns_the_curve_is_said():
    data, asked = data_for("soft-prompt"), settings()
    reference = train(Tiny(NOISE, seed=1), data, asked)
    span = float(np.ptp(reference.losses))
    records = tuple(
        replace(record, loss=record.loss + (span if record.step >= 5 else 0.0))
        for record in reference.records
    )
    chaotic = replace(reference, records=records)
    parity = compare_results(reference, reference, [("chaotic", chaotic)])
    assert parity.ok
    assert parity.blurred_from == 5
    assert not parity.informative


def test_what_cannot_be_compared_is_refused():
    result = train(Tiny(), make_tiny_data(), settings(steps=2))
    with pytest.raises(MindportError, match="no floor"):
        compare_results(result, result, [])
    other = train(Tiny(), make_tiny_data(), settings(steps=3))
    with pytest.raises(MindportError, match="not given the same"):
        compare_results(result, other, [("x", result)])


def step(chosen, losses=(0.5, 0.6), tokens=(7, 8, 9), scores=(3.0, 2.0, 1.0), present=0.9):
    search = Search(0, 1, tokens, scores, len(losses), losses, present, chosen)
    return StepRecord(4, 1.0, 1.0, 0.1, 0.0, None, search)


@pytest.mark.parametrize(
    ("reference", "candidate", "explained"),
    [
        (step(7), step(8), False),  # far apart
        (step(7, (0.5, 0.5 + 1e-7)), step(8, (0.5 + 1e-7, 0.5)), True),  # a tie
        (step(7, (0.5, 0.6), present=0.5 + 1e-7), step(1, (0.5, 0.6), present=0.5), True),
        (step(7), step(8, (0.7, 0.6)), False),  # a loss is wrong
        # The candidate tried 9 in place of 8, which promised as much.
        (
            step(7, scores=(3.0, 2.0, 2.0 - 1e-7)),
            step(9, (0.5, 0.4), (7, 9, 8), (3.0, 2.0, 2.0 - 1e-7)),
            True,
        ),
        (step(7), step(9, (0.5, 0.4), (7, 9, 8), (3.0, 2.0, 1.0)), True),  # scores swapped: below
        (step(7), step(5, (0.5, 0.4), (7, 5, 8), (3.0, 2.0, 1.0)), False),  # unheard of
    ],
    ids=["far", "tie", "tie-with-standing", "wrong-loss", "promise", "promises-differ", "unknown"],
)
def test_where_trigger_tokens_part(reference, candidate, explained):
    assert first_divergence(reference, candidate, allowed=1e-6).explained is explained
