"""Generation: greedy as transformers does it, sampling by its own rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mindport.migrate.errors import MindportError
from tests.migrate.twins import TINY, inputs_of, mindspore_twin, torch_model

pytestmark = pytest.mark.mindspore
mindspore = pytest.importorskip("mindspore")


@pytest.fixture
def graph_mode() -> Iterator[None]:
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    yield
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


@pytest.fixture(scope="module")
def model() -> Any:
    from mindport.migrate.cells import GPT2LMHeadModel

    mindspore.set_seed(1)
    return GPT2LMHeadModel({**TINY["gpt2"], "initializer_range": 0.3})


def left_padded() -> tuple[np.ndarray, np.ndarray]:
    inputs = inputs_of("gpt2", seq=6)
    return inputs["input_ids"][:, ::-1].copy(), inputs["attention_mask"][:, ::-1].copy()


def upstream(reference: Any, new: int, **options: Any) -> np.ndarray:
    import torch

    ids, mask = (torch.tensor(array) for array in left_padded())
    return reference.generate(
        ids, attention_mask=mask, max_new_tokens=new, do_sample=False, **options
    ).numpy()


@pytest.mark.torch
@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_is_that_of_transformers(use_cache: bool) -> None:
    reference = torch_model("gpt2", "lm", seed=4)
    twin = mindspore_twin(reference, "gpt2", "lm")
    found = twin.generate(*left_padded(), max_new_tokens=5, use_cache=use_cache)
    assert np.array_equal(found, upstream(reference, 5))


@pytest.mark.torch
@pytest.mark.usefixtures("graph_mode")
def test_greedy_in_a_graph_and_to_the_last_position() -> None:
    reference = torch_model("gpt2", "lm", seed=5)
    twin = mindspore_twin(reference, "gpt2", "lm")
    expected = upstream(reference, 27)  # 6 + 27 - 1 positions are all that there are
    assert np.array_equal(twin.generate(*left_padded(), max_new_tokens=27), expected)
    end = int(expected[0, 8])
    found = twin.generate(*left_padded(), max_new_tokens=27, eos_token_id=end)
    expected = upstream(reference, 27, eos_token_id=end, pad_token_id=3)
    assert np.array_equal(found, expected)
    with pytest.raises(MindportError, match="32 positions"):
        twin.generate(*left_padded(), max_new_tokens=28)


@pytest.mark.usefixtures("graph_mode")
def test_a_graph_is_compiled_for_the_prompt_and_the_step_only(model: Any) -> None:
    ids, mask = left_padded()
    model.generate(ids, mask, max_new_tokens=3)
    before = len(model.compile_cache)
    model.generate(ids[::-1].copy(), mask, max_new_tokens=20)
    assert len(model.compile_cache) == before


def test_a_cache_filled_in_pieces_gives_the_same(model: Any) -> None:
    ids = inputs_of("gpt2", batch=1, seq=7)["input_ids"]
    whole = model(ids).logits.asnumpy()
    cache, pieces = model.init_cache(1, 10), []
    for first, last in ((0, 3), (3, 4), (4, 7)):
        output = model(ids[:, first:last], past_key_values=cache, cache_position=first)
        cache = output.past_key_values
        pieces.append(output.logits.asnumpy())
    assert cache[0][0].shape == (1, 4, 10, 16)
    assert not cache[0][0].asnumpy()[:, :, 7:].any()
    assert np.abs(np.concatenate(pieces, 1) - whole).max() < 1e-5


def test_sampling_is_repeatable_and_stays_within_top_k(model: Any) -> None:
    ids = inputs_of("gpt2", batch=2, seq=3)["input_ids"]
    options: dict[str, Any] = {"max_new_tokens": 2, "do_sample": True, "temperature": 2.0}
    first = model.generate(ids, seed=1, **options)
    assert first.shape == (2, 5)
    assert np.array_equal(first, model.generate(ids, seed=1, **options))
    assert not np.array_equal(first, model.generate(ids, seed=2, **options))
    greedy = model.generate(ids, max_new_tokens=2)
    assert np.array_equal(greedy, model.generate(ids, seed=3, top_k=1, **options))


def test_filters_keep_what_they_should() -> None:
    from mindport.migrate.cells.generation import filtered_probabilities

    logits = np.log(np.array([[0.1, 0.4, 0.3, 0.2]]))
    keep = filtered_probabilities
    assert np.allclose(keep(logits), [[0.1, 0.4, 0.3, 0.2]])
    assert np.allclose(keep(logits, top_k=2), [[0, 4 / 7, 3 / 7, 0]])
    assert np.allclose(keep(logits, top_p=0.6), [[0, 4 / 7, 3 / 7, 0]])
    assert np.allclose(keep(logits, top_p=0.1), [[0, 1, 0, 0]])
    assert np.allclose(keep(logits, temperature=0.5), np.array([[1, 16, 9, 4]]) / 30)
    assert np.allclose(keep(logits, top_k=3, top_p=0.5), [[0, 4 / 7, 3 / 7, 0]])


@pytest.mark.torch
def test_filters_are_those_of_transformers() -> None:
    import torch
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    from mindport.migrate.cells.generation import filtered_probabilities

    logits = np.random.default_rng(0).standard_normal((50, 40)) * 3
    scores = torch.tensor(logits)
    for warper in (TemperatureLogitsWarper(0.7), TopKLogitsWarper(20), TopPLogitsWarper(0.9)):
        scores = warper(None, scores)
    found = filtered_probabilities(logits, 0.7, 20, 0.9)
    assert np.allclose(found, scores.softmax(-1).numpy())


def test_samples_follow_the_probabilities() -> None:
    from mindport.migrate.cells.generation import sample

    wanted = np.array([0.1, 0.4, 0.3, 0.2])
    tokens = sample(np.log(np.tile(wanted, (20000, 1))), np.random.default_rng(0))
    assert np.allclose(np.bincount(tokens) / 20000, wanted, atol=0.015)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attention_mask": [[1, 0]]}, "ends in padding"),
        ({"attention_mask": [[1]]}, "attention_mask has shape"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"temperature": 0}, "temperature > 0"),
        ({"top_p": 1.5}, "top_p"),
        ({"input_ids": [1, 2]}, r"not \(batch, seq\)"),
    ],
)
def test_impossible_arguments_are_named(model: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(MindportError, match=words):
        model.generate(**{"input_ids": [[1, 2]], **options})
