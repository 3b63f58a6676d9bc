"""What a call checks before it computes, and what it returns."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from mindport.migrate.errors import MindportError
from tests.migrate.twins import TINY

pytestmark = pytest.mark.mindspore
mindspore = pytest.importorskip("mindspore")

IDS = np.arange(10).reshape(2, 5)


@pytest.fixture(scope="module")
def gpt2() -> Any:
    from mindport.migrate.cells import GPT2LMHeadModel

    return GPT2LMHeadModel(TINY["gpt2"])


@pytest.fixture(scope="module")
def bert() -> Any:
    from mindport.migrate.cells import BertForPreTraining

    return BertForPreTraining(TINY["bert"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_ids": IDS + 90}, r"input_ids holds 99, outside \[0, 97\)"),
        ({"input_ids": IDS - 1}, "input_ids holds -1"),
        ({"input_ids": IDS[0]}, r"not \(batch, seq\)"),
        ({"input_ids": IDS[:, :0]}, r"not \(batch, seq\)"),
        ({"input_ids": np.ones((1, 33), int)}, "33 tokens from position 0 .* 32 positions"),
        ({"attention_mask": np.ones((2, 4))}, r"attention_mask has shape \(2, 4\)"),
        ({"token_type_ids": IDS + 90}, "token_type_ids holds 99"),
        ({"position_ids": IDS + 30}, "position_ids holds 39"),
        ({"labels": IDS + 90}, "labels holds 99"),
        ({"past_key_values": ()}, "past_key_values"),
    ],
)
def test_impossible_inputs_are_named(gpt2: Any, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(MindportError, match=words):
        gpt2(**{"input_ids": IDS, **changes})


def test_bert_knows_two_segments(bert: Any) -> None:
    with pytest.raises(MindportError, match=r"token_type_ids holds 9, outside \[0, 2\)"):
        bert(IDS, token_type_ids=IDS)
    with pytest.raises(MindportError, match="next_sentence_label holds 2"):
        bert(IDS, labels=IDS, next_sentence_label=np.array([0, 2]))


def test_the_cache_has_an_end(gpt2: Any) -> None:
    cache = gpt2.init_cache(2, 6)
    with pytest.raises(MindportError, match="6 rows in the cache"):
        gpt2(IDS, past_key_values=cache, cache_position=2)
    with pytest.raises(MindportError, match="needs cache_position"):
        gpt2(IDS, past_key_values=cache)


def test_a_batch_without_a_pad_token_has_no_last_token() -> None:
    from mindport.migrate.cells import GPT2ForSequenceClassification

    model = GPT2ForSequenceClassification({**TINY["gpt2"], "pad_token_id": None})
    assert model(IDS[:1]).logits.shape == (1, 3)
    with pytest.raises(MindportError, match="pad_token_id"):
        model(IDS)


def test_an_output_has_names_and_places(bert: Any) -> None:
    output = bert(IDS.tolist())
    assert output.keys() == ("prediction_logits", "seq_relationship_logits")
    assert output[0] is output.prediction_logits is output["prediction_logits"]
    assert output.loss is None
    assert isinstance(output, tuple)
    assert len(output) == 2
    with pytest.raises(KeyError):
        output["loss"]
    with pytest.raises(AttributeError, match="logitz"):
        output.logitz  # noqa: B018
    assert "seq_relationship_logits=" in repr(output)
    assert copy.copy(output).keys() == output.keys()


def test_an_output_can_be_pickled() -> None:
    from mindport.migrate.cells import ModelOutput

    output = pickle.loads(pickle.dumps(ModelOutput(("loss", "logits"), (1, 2))))
    assert (output.loss, output.logits) == (1, 2)
    with pytest.raises(ValueError, match="cannot be named"):
        ModelOutput(("loss",), (1, 2))


def test_taps_must_be_asked_for(gpt2: Any) -> None:
    with pytest.raises(MindportError, match="output_taps=True"):
        gpt2.named_taps(gpt2(IDS))
    assert gpt2.tap_names()[:3] == ["embeddings", "block.0.norm_1", "block.0.query"]
    assert gpt2.tap_names()[-2:] == ["final_norm", "logits"]


def test_inside_jit_the_output_is_a_plain_tuple(gpt2: Any) -> None:
    @mindspore.jit
    def first(ids: Any) -> Any:
        return gpt2(ids)[0]

    ids = mindspore.Tensor(IDS.astype(np.int32))
    found, wanted = first(ids).asnumpy(), gpt2(ids).logits.asnumpy()
    assert np.abs(found - wanted).max() < 1e-6
