"""Our networks against transformers', with the same weights and inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mindport.migrate.architecture import Tap, network_order
from mindport.migrate.architectures import load_architecture
from tests.migrate.twins import (
    HEADS,
    TINY,
    difference,
    inputs_of,
    mindspore_twin,
    torch_forward,
    torch_model,
)

pytestmark = [pytest.mark.mindspore, pytest.mark.torch]
mindspore = pytest.importorskip("mindspore")
torch = pytest.importorskip("torch")

MODES = {"eager": mindspore.PYNATIVE_MODE, "graph": mindspore.GRAPH_MODE}
FLOAT32 = 5e-6  # 4 layers, activations of about 5; seen 2e-6


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    mindspore.set_context(mode=MODES[request.param])
    yield request.param
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


@pytest.fixture
def graph() -> Iterator[None]:
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    yield
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


class SoftmaxWatch(torch.overrides.TorchFunctionMode):
    """Keeps what goes into and comes out of every softmax, in the order of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, Any]] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.nn.functional.softmax:
            self.seen.append((args[0], result))
        return result


def module_outputs(model: Any, name: str, head: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what the taps stand for: outputs and inputs of modules, or of their softmax."""
    described = load_architecture(name).heads[head]
    found: dict[str, Any] = {}
    softmax = SoftmaxWatch()

    def keep(tap: Tap) -> Any:
        def hook(_module: Any, inputs: Any, output: Any) -> None:
            if tap.end == "softmax-input":
                value = softmax.seen[-1][0]
            elif tap.end == "softmax-output":
                value = softmax.seen[-1][1]
            elif tap.end == "input":
                value = inputs[0]
            else:
                value = output[0] if isinstance(output, tuple) else output
            number, parts = tap.part
            found[tap.name] = value.chunk(parts, -1)[number]

        return hook

    layers = model.config.num_hidden_layers
    taps = network_order(described.taps, layers)
    for tap in taps:
        if tap.module:
            prefix = described.prefix if tap.in_body else ""
            model.get_submodule(prefix + tap.module).register_forward_hook(keep(tap))
    with softmax:
        output = torch_forward(model, inputs)
    assert len(softmax.seen) == layers  # one per block, so the last one seen is the module's own
    found.update({tap.name: output[tap.output] for tap in taps if tap.output})
    return {tap.name: found[tap.name] for tap in taps}


def tap_difference(tap: str, output: Any, expected: Any) -> float:
    """Return the greatest difference of a tap; of scores, only where a key is visible."""
    if not tap.endswith(".scores"):
        return difference(output, expected)
    found, wanted = output.asnumpy(), expected.numpy()
    assert found.shape == wanted.shape
    visible = wanted > -1e30
    assert np.array_equal(visible, found > -1e30)
    return float(np.abs(found[visible].astype(np.float64) - wanted[visible]).max())


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(("name", "head"), HEADS)
def test_every_output_and_tap_is_that_of_transformers(name: str, head: str) -> None:
    reference = torch_model(name, head)
    inputs = inputs_of(name)
    model = mindspore_twin(reference, name, head)
    expected = torch_forward(reference, inputs, output_hidden_states=True)
    output = model(**inputs, output_hidden_states=True, output_taps=True)
    for field in output.names:
        if field != "taps":
            assert difference(output[field], expected[field]) < FLOAT32, field
    taps = model.named_taps(output)
    upstream = module_outputs(reference, name, head, inputs)
    assert list(taps) == list(upstream) == model.tap_names()
    for tap, value in taps.items():
        assert tap_difference(tap, value, upstream[tap]) < FLOAT32, tap


@pytest.mark.parametrize(
    ("name", "head", "config"),
    [
        ("gpt2", "lm", {"tie_word_embeddings": False, "activation_function": "gelu"}),
        ("gpt2", "lm", {"scale_attn_weights": False, "n_inner": 96}),
        (
            "gpt2",
            "lm",
            {"scale_attn_by_inverse_layer_idx": True, "activation_function": "relu"},
        ),
        ("gpt2", "none", {"layer_norm_epsilon": 0.1}),
        ("bert", "mlm", {"tie_word_embeddings": False, "hidden_act": "gelu_new"}),
        ("bert", "mlm", {"hidden_act": "relu", "layer_norm_eps": 0.1}),
        ("roberta", "mlm", {"tie_word_embeddings": False, "hidden_act": "gelu_new"}),
        ("distilbert", "mlm", {"tie_word_embeddings": False, "activation": "relu"}),
    ],
)
def test_every_config_switch_has_its_effect(name: str, head: str, config: dict[str, Any]) -> None:
    reference = torch_model(name, head, **config)
    inputs = inputs_of(name)
    expected = torch_forward(reference, inputs)
    assert difference(mindspore_twin(reference, name, head)(**inputs)[0], expected[0]) < FLOAT32
    usual = torch_model(name, head)
    usual.load_state_dict(reference.state_dict(), strict=False, assign=False) if not set(config) & {
        "n_inner"
    } else None
    assert not torch.allclose(torch_forward(usual, inputs)[0], expected[0], atol=1e-3)


@pytest.mark.parametrize("name", TINY)
def test_explicit_positions_and_token_types(name: str) -> None:
    reference = torch_model(name, "none")
    inputs = inputs_of(name)
    inputs["position_ids"] = np.random.default_rng(2).integers(0, 32, (3, 9))
    if name != "distilbert":
        inputs["token_type_ids"] = np.random.default_rng(3).integers(0, 2, (3, 9))
    expected = torch_forward(reference, inputs)
    assert difference(mindspore_twin(reference, name, "none")(**inputs)[0], expected[0]) < FLOAT32


@pytest.mark.parametrize("name", TINY)
def test_without_a_mask_and_with_left_padding(name: str) -> None:
    reference = torch_model(name, "none")
    model = mindspore_twin(reference, name, "none")
    inputs = inputs_of(name)
    flipped = {key: value[:, ::-1].copy() for key, value in inputs.items()}
    for given in ({"input_ids": inputs["input_ids"]}, flipped):
        expected = torch_forward(reference, given)
        assert difference(model(**given)[0], expected[0]) < FLOAT32


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(("name", "head"), [("gpt2", "lm"), ("bert", "pretraining")])
def test_float16_computes_in_float16(name: str, head: str) -> None:
    reference = torch_model(name, head)
    inputs = inputs_of(name)
    truth = torch_forward(reference.half().double(), inputs)
    model = mindspore_twin(reference, name, head).cast_parameters(mindspore.float16)
    flipped = {key: value[:, ::-1].copy() for key, value in inputs.items()}  # rows without a key
    output = model(**inputs, output_taps=True)
    assert {tap.dtype for tap in (*output.taps, output[0])} == {mindspore.float16}
    assert difference(output[0], truth[0]) < 2e-2  # of about 8; torch's own error is 3e-3
    assert np.isfinite(model(**flipped)[0].asnumpy()).all()


def test_float16_survives_scores_that_would_overflow() -> None:
    reference = torch_model("gpt2", "none")
    with torch.no_grad():
        for block in reference.h:
            block.attn.c_attn.weight.mul_(12)
    inputs = {key: value[:, ::-1].copy() for key, value in inputs_of("gpt2").items()}
    model = mindspore_twin(reference, "gpt2", "none").cast_parameters(mindspore.float16)
    assert np.isfinite(model(**inputs)[0].asnumpy()).all()


LABELS = np.where(np.arange(27).reshape(3, 9) % 4 == 1, -100, np.arange(27).reshape(3, 9) % 3)
LOSSES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("gpt2", "lm", {"labels": LABELS}, {}),
    ("gpt2", "sequence-classification", {"labels": np.array([0, 2, 1])}, {}),
    ("gpt2", "sequence-classification", {"labels": np.float32([0.1, 2, -1])}, {"num_labels": 1}),
    ("bert", "mlm", {"labels": LABELS}, {}),
    ("bert", "nsp", {"labels": np.array([0, 1, 1])}, {}),
    ("bert", "pretraining", {"labels": LABELS, "next_sentence_label": np.array([0, 1, 1])}, {}),
    ("bert", "sequence-classification", {"labels": np.eye(3, dtype=np.float32)}, {}),
    (
        "bert",
        "sequence-classification",
        {"labels": np.float32(np.eye(3) * 2)},
        {"problem_type": "regression"},
    ),
    ("bert", "token-classification", {"labels": LABELS}, {}),
    (
        "bert",
        "question-answering",
        {"start_positions": np.array([0, 1, 12]), "end_positions": np.array([3, 20, 7])},
        {},
    ),
]


@pytest.mark.parametrize(("name", "head", "labels", "config"), LOSSES)
def test_every_loss_is_that_of_transformers(
    name: str, head: str, labels: dict[str, Any], config: dict[str, Any]
) -> None:
    reference = torch_model(name, head, **config)
    inputs = {**inputs_of(name), **labels}
    expected = torch_forward(reference, inputs)
    output = mindspore_twin(reference, name, head)(**inputs)
    assert output.keys()[0] == "loss"
    assert output.loss.shape == ()
    assert float(output.loss) == pytest.approx(float(expected.loss), abs=2e-6)


@pytest.mark.parametrize(("name", "head", "labels", "config"), [LOSSES[1], LOSSES[-1]])
def test_losses_in_a_graph(
    name: str, head: str, labels: dict[str, Any], config: dict[str, Any], graph: None
) -> None:
    test_every_loss_is_that_of_transformers(name, head, labels, config)


NO_DROPOUT = {
    "gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "bert": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
}


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(("name", "head"), [("gpt2", "lm"), ("bert", "mlm")])
def test_gradients_inside_another_cell(name: str, head: str) -> None:
    from mindport.migrate.dialect import MINDSPORE
    from tests.migrate.twins import described

    class Loss(mindspore.nn.Cell):
        def __init__(self, network: Any) -> None:
            super().__init__()
            self.network = network

        def construct(self, ids: Any, mask: Any, labels: Any) -> Any:
            return self.network(ids, mask, labels=labels)[0] * 2

    reference = torch_model(name, head, **NO_DROPOUT[name]).train()
    model = mindspore_twin(reference, name, head).set_train()
    inputs = {**inputs_of(name), "labels": LABELS}
    inputs.pop("token_type_ids", None)
    (reference(**{k: torch.tensor(v) for k, v in inputs.items()}).loss * 2).backward()
    step = mindspore.value_and_grad(Loss(model), None, model.trainable_params())
    _, gradients = step(*(mindspore.Tensor(v.astype(np.int32)) for v in inputs.values()))
    # Being an attribute of another cell has put its name in front of every parameter's.
    names = [p.name.removeprefix("network.") for p in model.trainable_params()]
    found = dict(zip(names, gradients, strict=True))
    upstream = dict(reference.named_parameters(remove_duplicate=False))
    for parameter, source, target in described(name, head, vars(model.config)):
        wanted = MINDSPORE.operation(parameter).apply(upstream[source].grad.numpy())
        assert np.abs(found[target].asnumpy() - wanted).max() < 5e-6, target


def test_dropout_acts_in_training_only() -> None:
    model = mindspore_twin(torch_model("bert", "none"), "bert", "none")
    inputs = inputs_of("bert")
    calm = model(**inputs)[0].asnumpy()
    assert np.array_equal(calm, model(**inputs)[0].asnumpy())
    model.set_train()
    assert not np.allclose(calm, model(**inputs)[0].asnumpy(), atol=1e-2)
    model.set_train(False)
    assert np.array_equal(calm, model(**inputs)[0].asnumpy())


@pytest.mark.parametrize("side", ["left", "right", "none", "all"])
def test_the_token_that_gpt2_classifies_by(side: str) -> None:
    reference = torch_model("gpt2", "sequence-classification")
    model = mindspore_twin(reference, "gpt2", "sequence-classification")
    ids = inputs_of("gpt2")["input_ids"]
    ids = {
        "left": ids[:, ::-1].copy(),
        "right": ids,
        "none": np.where(ids == 3, 7, ids),
        "all": np.full_like(ids, 3),
    }[side]
    if side == "none":
        ids[:, 2] = 3  # a pad token in the middle
    expected = torch_forward(reference, {"input_ids": ids})
    assert difference(model(ids).logits, expected.logits) < FLOAT32


def test_eager_mode_runs_operations_where_they_are_called(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(mindspore.runtime, "launch_blocking", lambda: asked.append(True))
    mindspore_twin(torch_model("gpt2", "none"), "gpt2", "none")
    assert asked == ([True] if mode == "eager" else [])
