"""Names, shapes and dtypes of the parameters, and what the constructor accepts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mindport.migrate.architectures import load_architecture
from mindport.migrate.errors import ConfigError
from tests.migrate.twins import HEADS, TINY, described_shapes

pytestmark = pytest.mark.mindspore
mindspore = pytest.importorskip("mindspore")


def build(name: str, head: str, **config: Any) -> Any:
    from mindport.migrate import cells

    settings = {**TINY[name], **config}
    if head == "question-answering":
        settings["num_labels"] = 2
    return getattr(cells, load_architecture(name).heads[head].class_name)(settings)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("name", "head"), HEADS)
def test_parameters_are_those_of_the_architecture(name: str, head: str, tied: bool) -> None:
    model = build(name, head, tie_word_embeddings=tied)
    found = {parameter.name: tuple(parameter.shape) for parameter in model.get_parameters()}
    assert found == described_shapes(name, head, vars(model.config))


def test_every_head_has_a_class() -> None:
    from mindport.migrate import cells

    for name, head in HEADS:
        cell = getattr(cells, load_architecture(name).heads[head].class_name)
        assert (cell.architecture, cell.head) == (name, head)


def test_random_weights_have_the_spread_that_the_config_says() -> None:
    model = build("gpt2", "lm", initializer_range=0.5)
    values = {p.name: p.asnumpy() for p in model.get_parameters()}
    assert values["transformer.wte.embedding_table"].std() == pytest.approx(0.5, rel=0.05)
    assert values["transformer.h.0.attn.c_attn.weight"].std() == pytest.approx(0.5, rel=0.05)
    # GPT-2 scales what feeds the residual stream by the number of residuals.
    assert values["transformer.h.0.mlp.c_proj.weight"].std() == pytest.approx(
        0.5 / 8**0.5, rel=0.05
    )
    assert not values["transformer.h.0.attn.c_attn.bias"].any()
    assert (values["transformer.ln_f.gamma"] == 1).all()


def test_bert_gives_padding_no_embedding() -> None:
    table = build("bert", "none").embeddings.word_embeddings.embedding_table.asnumpy()
    assert not table[3].any()
    assert table[4].any()


def test_a_config_may_be_a_mapping_a_namespace_or_have_to_dict() -> None:
    from mindport.migrate.cells import GPT2Model

    class Config:
        def to_dict(self) -> dict[str, Any]:
            return TINY["gpt2"]

    first = GPT2Model(TINY["gpt2"])
    assert GPT2Model(first.config).config == first.config == GPT2Model(Config()).config
    assert first.config.n_inner == 256


def test_a_config_of_another_architecture_is_refused() -> None:
    from mindport.migrate.cells import GPT2Model

    with pytest.raises(ConfigError, match="bert"):
        GPT2Model({"model_type": "bert", **TINY["bert"]})


def test_question_answering_needs_two_labels() -> None:
    from mindport.migrate.cells import BertForQuestionAnswering

    with pytest.raises(ConfigError, match="2 labels"):
        BertForQuestionAnswering(TINY["bert"])


@pytest.mark.parametrize("mode", [mindspore.PYNATIVE_MODE, mindspore.GRAPH_MODE])
def test_casting_after_a_call_changes_the_computation(mode: int) -> None:
    mindspore.set_context(mode=mode)
    try:
        model = build("gpt2", "none")
        ids = np.ones((1, 4), int)
        assert model(ids)[0].dtype == mindspore.float32
        assert model.cast_parameters(mindspore.float16) is model
        assert model(ids)[0].dtype == mindspore.float16
    finally:
        mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
