"""The gradients of our networks against torch's autograd, for every head, in both modes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindport.migrate.dialect import MINDSPORE
from mindport.migrate.errors import MindportError
from mindport.migrate.porting import port, prepare
from mindport.validate.backends.mindspore import MindSporeSession, open_session
from mindport.validate.case import Run, SettledCase
from tests.migrate.twins import HEADS, described, inputs_of, torch_model

pytestmark = [pytest.mark.mindspore, pytest.mark.torch]
mindspore = pytest.importorskip("mindspore")
torch = pytest.importorskip("torch")

RELATIVE = 1e-5  # of a gradient's largest element; seen 4e-6
ROUNDING = 1e-7  # of the network's largest gradient, where the true one is zero; seen 2e-8
LABELS = np.where(np.arange(27).reshape(3, 9) % 4 == 1, -100, np.arange(27).reshape(3, 9) % 3)
LAST_SHIFTS = (
    "bert.encoder.layer.3.output.LayerNorm.beta",
    "roberta.encoder.layer.1.output.LayerNorm.beta",
    "distilbert.transformer.layer.1.output_layer_norm.beta",
)
PAIRS = np.array([0, 1, 1])
TARGETS: dict[str, dict[str, np.ndarray]] = {
    "none": {"cotangent": np.random.default_rng(5).normal(size=(3, 9, 64)).astype(np.float32)},
    "lm": {"labels": LABELS},
    "mlm": {"labels": LABELS},
    "nsp": {"labels": PAIRS},
    "pretraining": {"labels": LABELS, "next_sentence_label": PAIRS},
    # Not each class once: what the rows ask of a bias would all but cancel, and leave rounding.
    "sequence-classification": {"labels": np.array([2, 2, 0])},
    "token-classification": {"labels": LABELS},
    "question-answering": {
        "start_positions": np.array([0, 1, 4]),
        "end_positions": np.array([3, 2, 7]),
    },
}


@pytest.fixture(autouse=True)
def eager_afterwards() -> Any:
    yield
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)


def session_of(
    reference: Any, name: str, head: str, folder: Path, mode: str, taps: tuple[str, ...] = ()
) -> MindSporeSession:
    """Port a network, and open the port."""
    reference.save_pretrained(folder / "torch")
    ported = port(prepare(folder / "torch", name, head=head), folder / "mindspore")
    case = SettledCase(name, head, 0, taps, {}, False)
    return open_session(Run("mindspore", str(ported), "CPU", "float32", mode, ""), case)


def torch_gradients(
    model: Any, inputs: dict[str, np.ndarray], targets: dict[str, np.ndarray]
) -> tuple[float, dict[str, np.ndarray]]:
    """Return the loss and the gradients by torch's names; zeros for what it does not reach."""
    given = {key: torch.tensor(value) for key, value in {**inputs, **targets}.items()}
    cotangent = given.pop("cotangent", None)
    output = model(**given)
    loss = output.loss if cotangent is None else (output.last_hidden_state * cotangent).sum()
    loss.backward()
    return float(loss.detach()), {
        key: np.zeros(value.shape, np.float32) if value.grad is None else value.grad.numpy()
        for key, value in model.named_parameters(remove_duplicate=False)
    }


def shifts_a_softmax(target: str, head: str) -> bool:
    """Return whether a parameter adds the same number to all that goes into a softmax.

    Then the loss does not depend on it. Its gradient is zero, and what is computed is rounding.
    """
    if head == "question-answering" and target.endswith(("qa_outputs.bias", *LAST_SHIFTS)):
        return True
    return target.endswith(("self.key.bias", "attention.k_lin.bias"))


def check_gradients(reference: Any, name: str, head: str, folder: Path, mode: str) -> None:
    inputs = inputs_of(name)
    session = session_of(reference, name, head, folder, mode)
    wanted_loss, upstream = torch_gradients(reference, inputs, TARGETS[head])
    loss, gradients = session.gradients(inputs, TARGETS[head])
    assert loss == pytest.approx(wanted_loss, rel=2e-6)
    largest = max(np.abs(gradient).max() for gradient in upstream.values())
    stored = described(name, head, reference.config.to_dict())
    assert sorted(gradients) == sorted(target for _, _, target in stored)
    for parameter, source, target in stored:
        wanted = MINDSPORE.operation(parameter).apply(upstream[source])
        found = gradients[target]
        assert (found.dtype, found.shape) == (np.float32, wanted.shape), target
        if shifts_a_softmax(target, head):
            assert max(np.abs(found).max(), np.abs(wanted).max()) < ROUNDING * largest, target
        else:
            assert np.abs(found - wanted).max() <= RELATIVE * np.abs(wanted).max(), target


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize(("name", "head"), HEADS)
def test_every_gradient_is_that_of_torch(name: str, head: str, mode: str, tmp_path: Path) -> None:
    check_gradients(torch_model(name, head), name, head, tmp_path, mode)


@pytest.mark.parametrize(
    ("name", "head", "config"),
    [
        ("gpt2", "lm", {"tie_word_embeddings": False, "activation_function": "gelu"}),
        ("bert", "mlm", {"tie_word_embeddings": False, "hidden_act": "gelu_new"}),
    ],
)
def test_untied_matrices_and_the_other_activations(
    name: str, head: str, config: dict[str, Any], tmp_path: Path
) -> None:
    check_gradients(torch_model(name, head, **config), name, head, tmp_path, "eager")


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_what_the_loss_does_not_reach_has_no_gradient(mode: str, tmp_path: Path) -> None:
    session = session_of(torch_model("bert", "none"), "bert", "none", tmp_path, mode)
    inputs = inputs_of("bert")
    assert (inputs["input_ids"] == 3).any()
    _, gradients = session.gradients(inputs, TARGETS["none"])
    assert not gradients["pooler.dense.weight"].any()
    words = gradients["embeddings.word_embeddings.embedding_table"]
    assert not words[3].any()  # padding
    assert words[inputs["input_ids"][0, 0]].any()


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_gradients_leave_no_trace(mode: str, tmp_path: Path) -> None:
    reference = torch_model("bert", "mlm")
    taps = ("block.1.scores", "logits")
    session = session_of(reference, "bert", "mlm", tmp_path, mode, taps)
    inputs = inputs_of("bert")
    before = session.forward(inputs)
    assert tuple(before) == taps
    assert before["block.1.scores"].shape == (3, 4, 9, 9)
    loss, gradients = session.gradients(inputs, TARGETS["mlm"])
    # Both at once: dropout would differ from run to run, and a taught network in its outputs.
    again_loss, again = session.gradients(inputs, TARGETS["mlm"])
    after = session.forward(inputs)
    assert loss == again_loss
    assert all(np.array_equal(gradients[key], again[key]) for key in gradients)
    assert all(np.array_equal(before[key], after[key]) for key in taps)


def test_targets_that_do_not_fit(tmp_path: Path) -> None:
    session = session_of(torch_model("bert", "nsp"), "bert", "nsp", tmp_path, "graph")
    with pytest.raises(MindportError, match="needs labels, but got cotangent"):
        session.gradients(inputs_of("bert"), TARGETS["none"])
    with pytest.raises(MindportError, match="labels holds 2, outside"):
        session.gradients(inputs_of("bert"), {"labels": np.array([0, 2, 1])})


def test_a_tap_that_the_network_lacks(tmp_path: Path) -> None:
    with pytest.raises(MindportError, match=r"GPT2LMHeadModel has no tap 'block\.9\.norm_1'"):
        session_of(torch_model("gpt2", "lm"), "gpt2", "lm", tmp_path, "eager", ("block.9.norm_1",))
