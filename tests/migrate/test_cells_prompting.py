"""What prompts need of our networks: rows of logits, embeddings as input, learned prefixes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mindport.migrate.errors import MindportError
from tests.migrate.twins import difference, inputs_of, mindspore_twin, torch_model

pytestmark = [pytest.mark.mindspore, pytest.mark.torch]
mindspore = pytest.importorskip("mindspore")
torch = pytest.importorskip("torch")

MODES = {"eager": mindspore.PYNATIVE_MODE, "graph": mindspore.GRAPH_MODE}
FLOAT32 = 5e-6  # as in test_cells_forward
AT = np.array([[0, 8, 8], [3, 1, 0], [6, 2, 5]])
HEADS = [
    ("gpt2", "lm"),
    ("bert", "mlm"),
    ("bert", "pretraining"),
    ("roberta", "mlm"),
    ("distilbert", "mlm"),
]
LENGTH = 3  # of a prefix
LAYERS = {
    "gpt2": {"n_layer": 2},
    "bert": {"num_hidden_layers": 2},
}  # of those that have more: graphs compile faster


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    mindspore.set_context(mode=MODES[request.param])
    yield request.param
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


@pytest.fixture(scope="module")
def twins() -> Any:
    """Return a transformers network and ours, of the same weights."""
    made: dict[tuple[str, str], tuple[Any, Any]] = {}

    def make(name: str, head: str) -> tuple[Any, Any]:
        if (name, head) not in made:
            reference = torch_model(name, head, seed=2, **LAYERS.get(name, {}))
            made[name, head] = reference, mindspore_twin(reference, name, head)
        return made[name, head]

    return make


def rows_of(logits: np.ndarray, at: np.ndarray = AT) -> np.ndarray:
    return np.take_along_axis(logits, at[..., None], 1)


def first_of(output: Any) -> np.ndarray:
    return output[0].asnumpy()


def random_prefix(batch: int, length: int = LENGTH) -> np.ndarray:
    """Return layers x (keys, values) x batch x heads x length x head_dim."""
    return np.random.default_rng(7).normal(size=(2, 2, batch, 4, length, 16)).astype(np.float32)


def as_tuple(prefix: Any) -> tuple[Any, ...]:
    return tuple((prefix[layer][0], prefix[layer][1]) for layer in range(2))


def torch_with_prefix(model: Any, inputs: dict[str, Any], prefix: Any) -> Any:
    """Run transformers with keys and values before those of the sequence."""
    ids = inputs["input_ids"]
    if model.config.model_type == "gpt2":
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(2):
            cache.update(*(p.expand(len(ids), -1, -1, -1) for p in prefix[layer]), layer)
        seen = torch.ones(len(ids), prefix.shape[-2], dtype=torch.int64)
        return model(
            ids,
            attention_mask=torch.cat([seen, inputs["attention_mask"]], 1),
            position_ids=torch.arange(ids.shape[1])[None],
            past_key_values=cache,
        ).logits
    # BERT takes no cache, so its attention gets the prefix behind its back.
    from transformers.masking_utils import AttentionMaskInterface, eager_mask
    from transformers.modeling_utils import AttentionInterface
    from transformers.models.bert import modeling_bert

    def attend(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        keys, values = (p.expand(len(key), -1, -1, -1) for p in module.prefix)
        return modeling_bert.eager_attention_forward(
            module,
            query,
            torch.cat([keys, key], 2),
            torch.cat([values, value], 2),
            None if mask is None else torch.nn.functional.pad(mask, (keys.shape[2], 0)),
            **options,
        )

    AttentionInterface.register("with_prefix", attend)
    AttentionMaskInterface.register("with_prefix", eager_mask)
    for layer, block in enumerate(model.bert.encoder.layer):
        block.attention.self.prefix = prefix[layer]
    model.set_attn_implementation("with_prefix")
    try:
        return model(**inputs)[0]
    finally:
        model.set_attn_implementation("eager")


def tensors(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: torch.tensor(array) for name, array in inputs.items()}


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(("name", "head"), HEADS)
def test_logits_at_are_rows_of_all_logits(twins: Any, name: str, head: str) -> None:
    _, twin = twins(name, head)
    inputs = inputs_of(name)
    whole = first_of(twin(**inputs))
    output = twin(**inputs, logits_at=AT, output_taps=True)
    assert output[0].shape == (3, 3, 97)
    assert np.abs(first_of(output) - rows_of(whole)).max() < FLOAT32
    assert np.abs(twin.named_taps(output)["logits"].asnumpy() - rows_of(whole)).max() < FLOAT32
    assert np.array_equal(first_of(twin(**inputs)), whole)  # the graph of before


@pytest.mark.usefixtures("mode")
def test_logits_at_with_a_cache(twins: Any) -> None:
    _, twin = twins("gpt2", "lm")
    ids = inputs_of("gpt2")["input_ids"]
    whole = first_of(twin(ids))
    cache = twin.init_cache(3, 12)
    first = twin(ids[:, :5], past_key_values=cache, cache_position=0, logits_at=AT[:, :1] % 5)
    at = np.array([[3, 0], [1, 2], [0, 0]])
    second = twin(ids[:, 5:], past_key_values=first.past_key_values, cache_position=5, logits_at=at)
    assert second.past_key_values[0][0].shape == (3, 4, 12, 16)
    assert np.abs(first_of(first) - rows_of(whole, AT[:, :1] % 5)).max() < FLOAT32
    assert np.abs(first_of(second) - rows_of(whole, at + 5)).max() < FLOAT32


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_float16(twins: Any, name: str) -> None:
    reference, _ = twins(name, HEADS[name == "bert"][1])
    twin = mindspore_twin(reference, name, HEADS[name == "bert"][1])
    inputs, prefix = inputs_of(name), random_prefix(1)
    table = reference.get_input_embeddings().weight.detach().numpy()
    whole = first_of(twin(**inputs, prefix=as_tuple(prefix)))
    twin.cast_parameters(mindspore.float16)
    del inputs["input_ids"]
    embeds = table[inputs_of(name)["input_ids"]]  # in float32, as what is learnt may be
    output = twin(**inputs, inputs_embeds=embeds, prefix=as_tuple(prefix), logits_at=AT)
    assert output[0].dtype == mindspore.float16
    assert np.abs(first_of(output).astype(np.float32) - rows_of(whole)).max() < 0.05


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(("name", "head"), [("gpt2", "none"), ("bert", "none"), *HEADS])
def test_embeddings_as_input(twins: Any, name: str, head: str) -> None:
    reference, twin = twins(name, head)
    inputs = inputs_of(name)
    ids = inputs.pop("input_ids")
    table = reference.get_input_embeddings().weight.detach().numpy()
    embeds = table[ids] + np.linspace(-1, 1, 64, dtype=np.float32)
    with torch.inference_mode():
        expected = reference(inputs_embeds=torch.tensor(embeds), **tensors(inputs))[0]
    assert difference(twin(**inputs, inputs_embeds=embeds)[0], expected) < FLOAT32
    # Positions that are counted by ids cannot tell padding from embeddings: it is left out.
    real = inputs["attention_mask"] != 0
    plain = first_of(twin(**inputs, input_ids=ids))[real]
    found = first_of(twin(**inputs, inputs_embeds=table[ids]))[real]
    assert np.abs(found - plain).max() < 1e-6


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(("name", "head", "batch"), [("gpt2", "lm", 3), ("bert", "mlm", 1)])
def test_a_prefix_is_attended_to(twins: Any, name: str, head: str, batch: int) -> None:
    reference, twin = twins(name, head)
    inputs, prefix = inputs_of(name), random_prefix(batch)
    with torch.inference_mode():
        expected = torch_with_prefix(reference, tensors(inputs), torch.tensor(prefix))
    found = twin(**inputs, prefix=as_tuple(prefix))
    assert difference(found[0], expected) < FLOAT32
    assert difference(found[0], reference(**tensors(inputs))[0]) > 0.1
    del inputs["attention_mask"]
    unmasked = {**tensors(inputs), "attention_mask": torch.ones(3, 9, dtype=torch.int64)}
    with torch.inference_mode():
        expected = torch_with_prefix(reference, unmasked, torch.tensor(prefix))
    assert difference(twin(**inputs, prefix=as_tuple(prefix))[0], expected) < FLOAT32


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_a_prefix_is_no_constant_of_the_graph(twins: Any, name: str) -> None:
    _, twin = twins(*HEADS[name == "bert"])
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    try:
        inputs, prefix = inputs_of(name), random_prefix(1, length=2)
        twin(**inputs, prefix=as_tuple(prefix))
        before = len(twin.compile_cache)
        twin(**inputs, prefix=as_tuple(prefix + 1))
        assert len(twin.compile_cache) == before
    finally:
        mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(("name", "head"), HEADS[:2])
def test_gradients_flow_to_prefix_and_embeddings(twins: Any, name: str, head: str) -> None:
    reference, twin = twins(name, head)
    inputs = inputs_of(name)
    ids = inputs.pop("input_ids")
    table = reference.get_input_embeddings().weight.detach()
    embeds, prefix = table[torch.tensor(ids)].numpy(), random_prefix(1)
    weights = np.random.default_rng(3).normal(size=(3, 3, 97)).astype(np.float32)

    theirs = torch.tensor(embeds, requires_grad=True), torch.tensor(prefix, requires_grad=True)
    # transformers sees the embeddings through a hook, so that one helper serves both.
    hook = reference.get_input_embeddings().register_forward_hook(lambda *_: theirs[0])
    fed = {**tensors(inputs), "input_ids": torch.tensor(ids)}
    logits = torch_with_prefix(reference, fed, theirs[1])
    hook.remove()
    rows = logits.gather(1, torch.tensor(AT)[..., None].expand(-1, -1, 97))
    expected = torch.autograd.grad((rows * torch.tensor(weights)).sum(), theirs)

    given = [mindspore.Tensor(inputs[n].astype(np.int32)) for n in sorted(inputs)]
    at, scale = mindspore.Tensor(AT.astype(np.int32)), mindspore.Tensor(weights)
    named = sorted(inputs)

    def loss(embeds: Any, prefix: Any) -> Any:
        keys_and_values = (
            (prefix[0][0], prefix[0][1]),
            (prefix[1][0], prefix[1][1]),
        )
        segments = given[1] if len(named) == 2 else None
        output = twin(
            None,
            given[0],
            segments,
            logits_at=at,
            inputs_embeds=embeds,
            prefix=keys_and_values,
        )
        return (output[0] * scale).sum()

    gradients = mindspore.grad(loss, (0, 1))(mindspore.Tensor(embeds), mindspore.Tensor(prefix))
    for found, wanted in zip(gradients, expected, strict=True):
        assert difference(found, wanted) < 2e-5 * float(wanted.abs().max())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_ids": None}, "neither input_ids nor inputs_embeds"),
        ({"inputs_embeds": np.zeros((3, 9, 64), np.float32)}, "both input_ids and inputs_embeds"),
        (
            {"input_ids": None, "inputs_embeds": np.zeros((3, 9, 65), np.float32)},
            r"inputs_embeds has shape \(3, 9, 65\), not \(batch, seq, 64\)",
        ),
        (
            {"input_ids": None, "inputs_embeds": np.zeros((3, 33, 64), np.float32)},
            "33 tokens from position 0",
        ),
        ({"logits_at": AT[0]}, r"logits_at has shape \(3,\), not \(3, k\)"),
        ({"logits_at": AT + 1}, r"logits_at holds 9, outside \[0, 9\)"),
        ({"logits_at": AT - 1}, "logits_at holds -1"),
        ({"logits_at": AT, "labels": AT}, "logits_at and labels exclude each other"),
        ({"prefix": as_tuple(random_prefix(1))[:1]}, "prefix has 1 pairs .* 2 layers"),
        ({"prefix": as_tuple(random_prefix(2))}, r"keys of prefix 0 have shape \(2, 4, 3, 16\)"),
        ({"prefix": (random_prefix(1)[0, 0],) * 2}, "prefix 0 is not a pair"),
    ],
)
@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_impossible_inputs_are_named(
    twins: Any, name: str, changes: dict[str, Any], words: str
) -> None:
    _, twin = twins(*HEADS[name == "bert"])
    with pytest.raises(MindportError, match=words):
        twin(**{**inputs_of(name), **changes})


def test_what_gpt2_alone_knows_is_refused_too(twins: Any) -> None:
    _, twin = twins("gpt2", "lm")
    ids = inputs_of("gpt2")["input_ids"]
    with pytest.raises(MindportError, match="takes no prefix"):
        twin(
            ids,
            past_key_values=twin.init_cache(3, 9),
            cache_position=0,
            prefix=as_tuple(random_prefix(1)),
        )
    with pytest.raises(MindportError, match="logits_to_keep exclude"):
        twin(ids, logits_at=AT, logits_to_keep=1)
